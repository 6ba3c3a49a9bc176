"""The private Go module proxy: implements ports.GoProxy (GOPROXY protocol, https://go.dev/ref/mod#goproxy-protocol).

A proxy may answer slowly (Athens in sync mode fetches while we wait), never (a login page instead), or half: each has its
own code, so that the run says what to do.
"""

from __future__ import annotations

import base64
import errno
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal
from urllib.parse import quote

import requests
import urllib3
from pydantic import SecretStr

from app.adapters.cache_budget import check_room
from app.adapters.go_proxy_answers import is_html, parse_info, parse_list, shown
from app.adapters.http_pinned import Addresses
from app.adapters.http_session import (
    SLOW_LINE,
    PinnedSession,
    Transport,
    proxy_secrets,
    reason,
    shown_url,
    wait_seconds,
)
from app.adapters.redact import redact
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.proxies import KINDS
from app.services.measuring import Tally
from app.services.ports import Checkpoint, ProxyInfo

_TUNNEL_DENIED = re.compile(r"Tunnel connection failed: 40[137]")
MIB = 1024 * 1024
_BLOCK = 256 * 1024
_SNIFFED = 200  # bytes that are looked at
_ERROR_BODY = 4096
_CODES: Mapping[int, str] = {
    401: "proxy_denied",
    403: "proxy_denied",
    404: "not_cached_yet",
    407: "proxy_denied",
    408: "proxy_unreachable",  # of a load balancer in front, as 425
    410: "not_cached_yet",
    425: "proxy_unreachable",
    429: "proxy_unreachable",
}
_OUTCOMES: Mapping[str, str] = {"not_cached_yet": "missing", "proxy_unreachable": "unavailable"}


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """One proxy. `url` is the GOPROXY base URL; `username` with `password` is Basic, `token` alone is a Bearer.

    `timeout_seconds` bounds each wait for bytes (a proxy may fetch before its first one), `total_seconds` (None: four times
    that) a whole answer, but for what comes at `slowest` bytes a second or more: a zip may be large. Sizes in bytes; go itself
    refuses more than 16 MiB of go.mod and 500 MiB of zip.
    """

    name: str
    url: str
    kind: Literal["athens", "artifactory", "goproxy", "gitlab", "static", "any"] = "any"
    token: SecretStr | None = None
    username: str = ""
    password: SecretStr | None = None
    timeout_seconds: float = 60.0
    total_seconds: float | None = None
    slowest: float = SLOW_LINE
    ca_file: str | None = None
    http_proxy: str | None = field(default=None, repr=False)
    max_info: int = MIB
    max_mod: int = 16 * MIB
    max_zip: int = 512 * MIB
    min_free: int = 0  # bytes that a zip's download leaves free on its disk; 0: any
    addresses: Addresses | None = None  # as Transport's: where the host may be

    def authorization(self) -> str | None:
        """The Authorization header's value, None without credentials."""
        if self.token is not None:
            return f"Bearer {self.token.get_secret_value().strip()}"
        if self.password is None:
            return None
        pair = f"{self.username}:{self.password.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


@dataclass(frozen=True, slots=True)
class _File:
    """One file of a module, as the protocol names it; `kind` is info, mod, zip, list or latest, `limit` in bytes.

    `version` is None for list and latest.
    """

    module: ModulePath
    version: Version | None
    kind: str
    limit: int

    def path(self) -> str:
        """The path below the proxy's base URL."""
        if self.version is None:
            return f"{self.module.escaped}/{'@latest' if self.kind == 'latest' else '@v/list'}"
        return f"{self.module.escaped}/@v/{quote(self.version.escaped, safe='!+')}.{self.kind}"

    def __str__(self) -> str:
        return f".{self.kind} of {self.module}@{self.version}" if self.version else f"{self.kind} of {self.module}"


class GoProxyClient:
    """ports.GoProxy over HTTP; one object serves all threads. Zips go to `directory` (None: the system's) and are removed.

    Errors: `not_cached_yet`, `proxy_denied`, `proxy_not_goproxy`, `proxy_unreachable` (with `retry_after` where the
    proxy says it), `zip_not_a_module` (too large), `disk_full`, and those of the options' `addresses`.
    """

    def __init__(self, options: ProxyOptions, directory: Path | None = None, tally: Tally | None = None) -> None:
        self._options, self._directory, self._tally = options, directory, tally or Tally()
        self._transport = Transport(
            options.timeout_seconds, ca_file=options.ca_file, http_proxy=options.http_proxy,
            total_seconds=options.total_seconds, slowest=options.slowest, addresses=options.addresses,
        )  # fmt: skip
        known = [secret.get_secret_value().strip() for secret in (options.token, options.password) if secret]
        self._secrets = (*known, *proxy_secrets(self._transport))
        self._local = threading.local()

    def info(self, module: ModulePath, version: Version) -> ProxyInfo:
        """See ports.GoProxy: JSON with `Version`, and where present `Time` and `Origin.Hash`; other fields are ignored."""
        file = self._file(module, version, "info")
        body = self._body(file)
        parsed = parse_info(body)
        if isinstance(parsed, str):
            raise self._error("proxy_not_goproxy", file, f"{parsed}: {shown(body, self._secrets)}")
        return parsed

    def mod(self, module: ModulePath, version: Version) -> bytes:
        """See ports.GoProxy."""
        file = self._file(module, version, "mod")
        body = self._body(file)
        if is_html(body):
            raise self._error("proxy_not_goproxy", file, "an HTML page instead (a login page?)")
        return body

    @contextmanager
    def zip(self, module: ModulePath, version: Version, checkpoint: Checkpoint = lambda: None) -> Iterator[BinaryIO]:
        """See ports.GoProxy. The file is gone when the context ends, however it ends."""
        file = self._file(module, version, "zip")
        with tempfile.TemporaryFile(dir=self._directory, prefix="modsync-zip-") as target:
            self._download(file, target, checkpoint)
            yield target

    def list(self, module: ModulePath) -> Sequence[str] | None:
        """See ports.GoProxy."""
        file = _File(module, None, "list", self._options.max_mod)
        body = self._body_if_any(file)
        if is_html(body or b""):
            raise self._error("proxy_not_goproxy", file, "an HTML page instead (a login page?)")
        return None if body is None else parse_list(body)

    def latest(self, module: ModulePath) -> ProxyInfo | None:
        """See ports.GoProxy."""
        file = _File(module, None, "latest", self._options.max_info)
        body = self._body_if_any(file)
        parsed = parse_info(body) if body is not None else None
        if isinstance(parsed, str):
            raise self._error("proxy_not_goproxy", file, f"{parsed}: {shown(body or b'', self._secrets)}")
        return parsed

    def close(self) -> None:
        """Close this thread's connections."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            self._local.session = None

    def _file(self, module: ModulePath, version: Version, kind: Literal["info", "mod", "zip"]) -> _File:
        limits = {"info": self._options.max_info, "mod": self._options.max_mod, "zip": self._options.max_zip}
        return _File(module, version, kind, limits[kind])

    def _body_if_any(self, file: _File) -> bytes | None:
        try:
            return self._body(file)
        except SyncError as error:
            if error.code != "not_cached_yet":
                raise
            return None

    def _body(self, file: _File) -> bytes:
        return b"".join(self._blocks(file))

    def _download(self, file: _File, target: BinaryIO, checkpoint: Checkpoint) -> None:
        """Write the file to `target` and go back to its start."""
        self._check_room()
        for block in self._blocks(file):
            checkpoint()
            self._check_room()
            if not _written(target, block):
                raise self._error("disk_full", file, "no space left for the download")
        target.seek(0)
        if is_html(target.read(_SNIFFED)):
            raise self._error("proxy_not_goproxy", file, "an HTML page instead (a login page?)")
        target.seek(0)

    def _check_room(self) -> None:
        if self._directory:
            check_room(self._directory, self._options.min_free)

    def _blocks(self, file: _File) -> Iterator[bytes]:
        """As _received(), timed."""
        began, outcome = time.perf_counter(), "ok"
        try:
            yield from self._received(file)
        except SyncError as error:
            outcome = _OUTCOMES.get(error.code, "refused")
            raise
        finally:
            self._tally.call(began, "proxy", self._options.name, file.kind, outcome)

    def _received(self, file: _File) -> Iterator[bytes]:
        """The body of a 200, block by block. The library's own errors stay here: they hold the request's headers."""
        url, size = f"{self._options.url.rstrip('/')}/{file.path()}", 0
        try:
            with self._session().get(url, stream=True) as response:
                self._check(response, file)
                for block in response.iter_content(_BLOCK):
                    size += len(block)
                    self._check_size(size, file)
                    yield block
                return
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            failure = self._unreachable(file, error)
        raise failure

    def _session(self) -> PinnedSession:
        """This thread's session; a forked process must not share its parent's connections."""
        session: PinnedSession | None = getattr(self._local, "session", None)
        if session is None or self._local.pid != os.getpid():
            session = PinnedSession(self._options.url, self._transport)
            session.headers["Accept-Encoding"] = "identity"  # lengths and hashes are of the bytes as they are
            if authorization := self._options.authorization():
                session.headers["Authorization"] = authorization
            self._local.session, self._local.pid = session, os.getpid()
        return session

    def _check(self, response: requests.Response, file: _File) -> None:
        """Raise what a status other than 200 stands for."""
        status = response.status_code
        if status == 200:
            return
        if 300 <= status < 400:
            place = shown_url(response.headers.get("Location", ""))
            raise self._error(
                "proxy_not_goproxy",
                file,
                f"{status}, redirected to {place}, which modsync does not follow (a login page, or a storage host?)",
            )
        code = "proxy_unreachable" if status >= 500 else _CODES.get(status, "proxy_not_goproxy")
        wait = wait_seconds(response.headers, datetime.now(UTC)) if status in (429, 503) else None
        said = shown(response.raw.read(_ERROR_BODY, decode_content=True), self._secrets)
        if code == "not_cached_yet":
            said = f"{said}; {KINDS[self._options.kind].miss}"
        raise self._error(code, file, f"{status}, {said}", wait)

    def _check_size(self, size: int, file: _File) -> None:
        if size > file.limit:
            code = "zip_not_a_module" if file.kind == "zip" else "proxy_not_goproxy"
            raise self._error(code, file, f"more than {file.limit} bytes")

    def _unreachable(self, file: _File, error: BaseException) -> SyncError:
        """A company's HTTP proxy that wants a login says so in the error of the tunnel."""
        said = reason(error)
        denied = isinstance(error, requests.exceptions.ProxyError) and _TUNNEL_DENIED.search(said)
        return self._error("proxy_denied" if denied else "proxy_unreachable", file, said)

    def _error(self, code: str, file: _File, said: str, wait: float | None = None) -> SyncError:
        return SyncError(code, redact(f"proxy {self._options.name}, {file}: {said}", self._secrets), retry_after=wait)


def _written(target: BinaryIO, block: bytes) -> bool:
    """False when the disk is full (or its quota)."""
    try:
        target.write(block)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True
