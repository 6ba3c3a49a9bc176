"""The module platform, a "source": real git over HTTP, and webhooks when something is released."""

import base64
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.modules import Release
from tests.sandbox.recording import Recorder, same_secret
from tests.sandbox.repositories import Repositories
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.webhook import Delivered, Scheme, send


class Platform(Repositories):
    """Repositories below `root`, which others may read at `url`; whoever holds this object changes them at will.

    With a `token` (it may be set, changed and cleared at any time) reading needs it: as the password of any user, or
    as a bearer token; anything else is answered 401. `requests` lists what was asked.
    """

    def __init__(self, root: Path, *, token: str | None = None, port: int = 0) -> None:
        super().__init__(root / "repositories")
        self.token = token
        self._git_http = GitHttpBackend(self.directory)
        self._recorder = Recorder(self._answer)
        self.requests = self._recorder.requests
        self._server = LoopbackServer(self._recorder, port)

    @property
    def url(self) -> str:
        return self._server.url

    def clone_url(self, repository: str) -> str:
        return f"{self.url}/{repository}.git"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """Refuse connections; `start()` brings it back at the same address."""
        self._server.stop()

    def close(self) -> None:
        """Stop for good."""
        self._server.close()

    def webhook(
        self,
        url: str,
        secret: str,
        release: Release,
        *,
        scheme: Scheme = "article",
        forge: bool = False,
        **fields: Any,
    ) -> Delivered:
        """POST the release to `url` in the article's form, signed; `fields` replace the body's, None leaves one out."""
        return send(url, secret, self.payload(release, **fields), scheme=scheme, forge=forge)

    def payload(self, release: Release, **fields: Any) -> dict[str, Any]:
        """The article's body for a release: `ref` is its full tag name, `subdir` is left out when empty."""
        body = {
            "ref": f"refs/tags/{release.tag}",
            "commit_id": release.commit,
            "module_path": release.module_path,
            "version": release.version,
            "repo_url": self.clone_url(release.repository),
            "subdir": release.subdir or None,
        }
        return {name: value for name, value in (body | fields).items() if value is not None}

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.token is None or _carries(str(environ.get("HTTP_AUTHORIZATION", "")), self.token):
            return self._git_http(environ, start_response)
        refusal = b"HTTP Basic: Access denied\n"
        headers = [("WWW-Authenticate", 'Basic realm="Platform"'), ("Content-Length", str(len(refusal)))]
        start_response("401 Unauthorized", headers)
        return [refusal]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def basic(token: str, user: str = "git") -> str:
    """The Authorization header's value that carries a token as a password."""
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def _carries(authorization: str, token: str) -> bool:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return same_secret(value, token)
    try:
        decoded = base64.b64decode(value, validate=True).decode()
    except ValueError:
        return False
    return kind.lower() == "basic" and same_secret(decoded.partition(":")[2], token)
