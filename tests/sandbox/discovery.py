"""Go's module discovery, as the web proxy of a `go` that fetches from the mirror."""

import html
from collections.abc import Callable, Iterable, Mapping
from wsgiref.types import StartResponse, WSGIEnvironment

CloneUrls = Callable[[str], tuple[str, str] | None]
"""Asked with a module or package path, answers the module root above it and its repository's clone URL."""


class Discovery:
    """Answers `GET http://HOST/PATH?go-get=1` with the root and clone URL that `clone_urls` names, else 404.

    CONNECT is refused: `go` then gives up https for a host that GOINSECURE names, without looking its name up.
    """

    def __init__(self, clone_urls: CloneUrls) -> None:
        self._clone_urls = clone_urls

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        known = None
        if environ["REQUEST_METHOD"] == "GET" and "go-get=1" in environ.get("QUERY_STRING", ""):
            known = self._clone_urls(f"{environ.get('HTTP_HOST', '')}{environ['PATH_INFO']}".rstrip("/"))
        page = _page(*known) if known else b"not found\n"
        headers = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
        start_response("200 OK" if known else "404 Not Found", headers)
        return [page]


def by_root(clone_urls: Mapping[str, str]) -> CloneUrls:
    """From module roots and their clone URLs; the mapping is read at each question, so it may grow."""

    def find(path: str) -> tuple[str, str] | None:
        above = [root for root in clone_urls if f"{path}/".startswith(f"{root}/")]
        root = max(above, key=len, default=None)
        return (root, clone_urls[root]) if root else None

    return find


def _page(root: str, clone_url: str) -> bytes:
    content = html.escape(f"{root} git {clone_url}")
    return f'<!DOCTYPE html><html><head><meta name="go-import" content="{content}"></head></html>\n'.encode()
