"""The company's private Go proxy: the GOPROXY protocol in front of a real `go mod download` from the mirror."""

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.sandbox.discovery import CloneUrls
from tests.sandbox.gofetch import Fetched, Fetcher, FetchFailedError
from tests.sandbox.goproxy_paths import Asked, BadPathError, Kind, escape, is_pseudo, order, parse
from tests.sandbox.recording import Recorder, same_secret
from tests.sandbox.serve import LoopbackServer

Answer = tuple[int, str, bytes]
"""Status, content type, body."""

_KINDS: tuple[Kind, ...] = ("info", "mod", "zip")
_TEXT = "text/plain; charset=utf-8"
_TYPES: Mapping[str, str] = {"info": "application/json", "latest": "application/json", "zip": "application/zip"}
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_WORKERS = 4


class Store:
    """Fetched files in the layout of the protocol, below `root`: kept for ever, never replaced."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, module: str, version: str, kind: Kind) -> bytes | None:
        path = self._path(module, version, kind)
        return path.read_bytes() if path.exists() else None

    def has(self, module: str, version: str) -> bool:
        return all(self._path(module, version, kind).exists() for kind in _KINDS)

    def keep(self, module: str, fetched: Fetched) -> None:
        """Store all three files, each whole or not at all."""
        for kind in _KINDS:
            path = self._path(module, fetched.version, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"{path.name}.{threading.get_ident()}.new")
            unfinished.write_bytes(fetched.files[kind])
            unfinished.replace(path)

    def versions(self, module: str) -> list[str]:
        names = self._path(module, "v", "info").parent.glob("*.info")
        return [version for version in (name.stem for name in names) if not is_pseudo(version)]

    def _path(self, module: str, version: str, kind: Kind) -> Path:
        return self._root / escape(module) / "@v" / f"{escape(version)}.{kind}"


class GoProxy:
    """A proxy that keeps its files below `root` and finds repositories through `clone_urls`.

    `credentials`: URL prefix to Authorization header, for git. Can be set at any time: `mode` ("async" answers 404 and
    fetches behind the scenes), `delay_seconds` before each answer, `upstream_list` (whether `list` and `@latest` ask
    the mirror too), `fail_next`, `serve_other_content`, `answer_agent`, `token` (then nobody is answered without this
    Bearer token). `requests` lists what was asked, `fetches` each run of `go mod download` by its query, `failures` what
    `go` said about the failed ones.
    """

    def __init__(
        self, root: Path, clone_urls: CloneUrls, *, credentials: Mapping[str, str] | None = None, port: int = 0
    ) -> None:
        self.mode: Literal["sync", "async"] = "sync"
        self.delay_seconds = 0.0
        self.upstream_list = True
        self.token = ""
        self.fetches: list[str] = []
        self.failures: dict[str, str] = {}
        self._store = Store(root / "store")
        self._fetcher = Fetcher(root / "fetch", clone_urls, credentials or {})
        self._workers = ThreadPoolExecutor(_WORKERS, "go-fetch")
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, str], Future[Fetched | None]] = {}
        self._faults: list[int] = []
        self._others: dict[tuple[str, str, Kind], bytes] = {}
        self._agents: dict[str, tuple[int, str]] = {}
        self._stopping = threading.Event()
        recorder = Recorder(self)
        self.requests = recorder.requests
        self._server = LoopbackServer(recorder, port, on_cut=self._abandon)

    @property
    def url(self) -> str:
        """What GOPROXY is set to."""
        return self._server.url

    def start(self) -> None:
        self._stopping.clear()
        self._fetcher.start()
        self._server.start()

    def stop(self) -> None:
        """Go down: connections are refused, fetches end. What is stored stays; `start()` brings the proxy back."""
        self._server.stop()

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._workers.shutdown(cancel_futures=True)
        self._fetcher.close()
        self._server.close()

    def settle(self, timeout: float = 60.0) -> None:
        """Wait until the fetches that are under way have ended, well or not; raises TimeoutError."""
        with self._lock:
            fetching = list(self._under_way.values())
        if wait(fetching, timeout).not_done:
            raise TimeoutError("fetches still run")

    def fail_next(self, count: int, status: int = 503) -> None:
        """Answer the next `count` requests with `status`, whatever they ask for."""
        with self._lock:
            self._faults = [status] * count

    def serve_other_content(self, module: str, version: str, content: bytes | None, kind: Kind = "zip") -> None:
        """Serve `content` in place of a version's file, as a tampered or mixed-up store would; None ends it."""
        with self._lock:
            self._others.pop((module, version, kind), None)
            if content is not None:
                self._others[module, version, kind] = content

    def answer_agent(self, agent: str, status: int | None, body: str = "") -> None:
        """Answer whoever names itself so (its User-Agent's beginning) in this way only; None ends it.

        `{authorization}` in `body` becomes the header that was sent: what a careless server says back.
        """
        with self._lock:
            self._agents.pop(agent, None)
            if status is not None:
                self._agents[agent] = (status, body)

    def _abandon(self) -> None:
        """End what requests wait for; the clients are cut off already, so none of them sees an answer."""
        self._stopping.set()
        self._fetcher.stop()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, content_type, body = self._turned_away(environ) or self._answer(
            str(environ["REQUEST_METHOD"]), str(environ["PATH_INFO"])
        )
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        start_response(f"{status} {_REASONS.get(status, 'Error')}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _turned_away(self, environ: WSGIEnvironment) -> Answer | None:
        sent, agent = str(environ.get("HTTP_AUTHORIZATION", "")), str(environ.get("HTTP_USER_AGENT", ""))
        if self.token and not same_secret(sent, f"Bearer {self.token}"):
            return _text(401, "who are you?")
        with self._lock:
            found = next((said for name, said in self._agents.items() if agent.startswith(name)), None)
        return _text(found[0], found[1].replace("{authorization}", sent)) if found else None

    def _answer(self, method: str, path: str) -> Answer:
        self._stopping.wait(self.delay_seconds)
        if fault := self._next_fault():
            return _text(fault, "fault injected")
        if method not in ("GET", "HEAD"):
            return _text(405, "method not allowed")
        try:
            asked = parse(path)
        except BadPathError as error:
            return _text(400, str(error))
        return self._serve(asked) if asked else _text(200 if path == "/healthz" else 404, "")

    def _next_fault(self) -> int:
        with self._lock:
            return self._faults.pop() if self._faults else 0

    def _serve(self, asked: Asked) -> Answer:
        if asked.kind == "list":
            body = self._list(asked.module)
        elif asked.kind == "latest":
            body = self._latest(asked.module)
        else:
            body = self._file(asked)
        if body is None:
            return _text(404, f"not found: {asked.module}")
        return 200, _TYPES.get(asked.kind, _TEXT), body

    def _file(self, asked: Asked) -> bytes | None:
        with self._lock:
            other = self._others.get((asked.module, asked.version, asked.kind))
        if other is not None:
            return other
        stored = self._store.read(asked.module, asked.version, asked.kind)
        return stored if stored is not None else self._missed(asked)

    def _missed(self, asked: Asked) -> bytes | None:
        fetching = self._fetch_once(asked.module, asked.version)
        if self.mode == "async":
            return None
        fetched = fetching.result()
        return fetched.files[asked.kind] if fetched else None

    def _fetch_once(self, module: str, version: str) -> "Future[Fetched | None]":
        """The fetch of this version that is under way, or else a new one."""
        with self._lock:
            fetching = self._under_way.get((module, version))
            if fetching is None:
                fetching = self._workers.submit(self._fetch, module, version)
                self._under_way[module, version] = fetching
            return fetching

    def _fetch(self, module: str, version: str) -> Fetched | None:
        """Run in a worker. None when `go` fails, and then nothing is kept: the next request tries again."""
        try:
            if self._store.has(module, version):  # by the fetch that ended just before this one began
                return self._stored(module, version)
            fetched = self._fetch_from_mirror(f"{module}@{version}")
            self._store.keep(module, fetched)
            return fetched
        except FetchFailedError as error:
            self.failures[f"{module}@{version}"] = str(error)
            return None
        finally:
            with self._lock:
                del self._under_way[module, version]

    def _fetch_from_mirror(self, query: str) -> Fetched:
        self.fetches.append(query)
        return self._fetcher.download(query)

    def _stored(self, module: str, version: str) -> Fetched:
        return Fetched(version, {kind: self._store.read(module, version, kind) or b"" for kind in _KINDS})

    def _list(self, module: str) -> bytes | None:
        versions = set(self._store.versions(module))
        try:
            versions |= set(self._fetcher.versions(module) if self.upstream_list else ())
        except FetchFailedError:
            if not versions:
                return None
        return "".join(f"{version}\n" for version in sorted(versions, key=order)).encode()

    def _latest(self, module: str) -> bytes | None:
        """The mirror's latest version, else the latest stored one."""
        try:
            if self.upstream_list:
                return self._fetcher.latest(module)
        except FetchFailedError as error:
            self.failures[f"{module}@latest"] = str(error)
        stored = max(self._store.versions(module), key=order, default=None)
        return self._store.read(module, stored, "info") if stored else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _text(status: int, text: str) -> Answer:
    return status, _TEXT, f"{text}\n".encode()
