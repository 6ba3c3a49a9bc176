"""Servers between a Go developer and the proxy that do what company networks do: intercept, refuse, hang, cut, redirect."""

import io
import select
import socket
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.sandbox.goproxy_paths import escape

Handler = Callable[[socket.socket, threading.Event], None]
"""Serves one connection; the event is set when the server stops."""

Page = tuple[int, Mapping[str, str], bytes]
"""Status, headers, body."""

_CHUNK = 65536
_STAMP = "%Y%m%d%H%M%SZ"
_CA_CONFIG = """
[ca]
default_ca = this
[this]
dir = {root}
new_certs_dir = {root}
database = {root}/index
serial = {root}/serial
certificate = {root}/ca.pem
private_key = {root}/ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


class Authority:
    """A throw-away certification authority below `root`; `ca_file` is what a client must trust."""

    def __init__(self, root: Path, name: str = "Corp TLS Inspection CA") -> None:
        self._root = root
        root.mkdir(parents=True)
        self.ca_file = root / "ca.pem"
        (root / "index").touch()
        (root / "serial").write_text("01\n")
        (root / "ca.cnf").write_text(_CA_CONFIG.format(root=root))
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"),
            *("-subj", f"/CN={name}", "-keyout", str(root / "ca.key"), "-out", str(self.ca_file)),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def issue(self, *names: str, starts: timedelta = timedelta(days=-1), ends: timedelta = timedelta(days=5)) -> Path:
        """A PEM file with key and certificate for the names (`DNS:` or `IP:` added); validity relative to now."""
        pem = self._root / f"{names[0].replace('*', '_')}-{starts.days}.pem"
        key, request, certificate = (pem.with_suffix(suffix) for suffix in (".key", ".csr", ".crt"))
        alternatives = ",".join(f"IP:{name}" if name[0].isdigit() else f"DNS:{name}" for name in names)
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={names[0]}"),
            *("-addext", f"subjectAltName={alternatives}", "-keyout", str(key), "-out", str(request)),
        )
        now = datetime.now(UTC)
        _openssl(
            *("ca", "-batch", "-notext", "-config", str(self._root / "ca.cnf"), "-in", str(request)),
            *("-startdate", f"{now + starts:{_STAMP}}", "-enddate", f"{now + ends:{_STAMP}}", "-out", str(certificate)),
        )
        pem.write_text(key.read_text() + certificate.read_text())
        return pem


class Listener:
    """Accepts connections on a free port of 127.0.0.1 and gives each to `handler` in a thread. A context manager."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopping.set()
        for each in (self._socket, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            with suppress(OSError):
                connection, _ = self._socket.accept()
                self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self._handler(connection, self._stopping)
        self._open.discard(connection)


def hanging(connection: socket.socket, stopping: threading.Event) -> None:
    """Accept and never answer."""
    stopping.wait()


def cutting(connection: socket.socket, stopping: threading.Event) -> None:
    """Read the greeting or request, then close without an answer."""
    connection.recv(_CHUNK)


def trickling(at_once: str, bytewise: str, pause: float = 0.02) -> Handler:
    """Answer any request, each byte of `bytewise` after a pause: never silent, and done after minutes."""

    def handle(connection: socket.socket, stopping: threading.Event) -> None:
        head_of(connection)
        connection.sendall(at_once.encode())
        for byte in bytewise.encode():
            if stopping.wait(pause):
                return
            connection.sendall(bytes([byte]))

    return handle


def answering(answer: str) -> Handler:
    """Answer any request with this text, head and all."""

    def handle(connection: socket.socket, stopping: threading.Event) -> None:
        head_of(connection)
        connection.sendall(answer.encode())

    return handle


def in_place_of(path: str, answer: bytes, backend: int) -> Handler:
    """Answers requests for `path` with these bytes, head and all, and closes; the rest comes from the port `backend`."""

    def handle(connection: socket.socket, stopping: threading.Event) -> None:
        head = head_of(connection)
        if head.split()[1] == path:
            connection.sendall(answer)
            return
        with socket.create_connection(("127.0.0.1", backend)) as plain:
            plain.sendall(head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode())
            pipe(connection, plain)

    return handle


def tls_front(
    pem: Path, backend: int, *, client_ca: Path | None = None, newest: ssl.TLSVersion | None = None
) -> Handler:
    """TLS with the certificate in `pem` before the plain server on the port `backend`; may want a client certificate.

    `newest`: the last version of TLS that it knows; one before 1.2 takes the old signatures, too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if newest:
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)

    def handle(connection: socket.socket, stopping: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secure:
            if _greeted(secure):
                with socket.create_connection(("127.0.0.1", backend)) as plain:
                    pipe(secure, plain)

    return handle


def mutual_forwarder(pem: Path, ca_file: Path, host: str, port: int) -> Handler:
    """What a client that cannot show a certificate puts before itself: plain in, TLS with the certificate in `pem` out."""
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(pem)

    def handle(connection: socket.socket, stopping: threading.Event) -> None:
        with (
            socket.create_connection((host, port)) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            pipe(connection, secure)

    return handle


@dataclass
class Pages:
    """A WSGI application of fixed answers by path; `other` answers what is not there. `asked` lists the raw paths."""

    pages: dict[str, Page] = field(default_factory=dict)
    other: Page = (404, {"Content-Type": "text/plain"}, b"not found\n")
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked.append(str(environ["REQUEST_URI"]))
        self.headers.append({name[5:]: str(value) for name, value in environ.items() if name.startswith("HTTP_")})
        status, headers, body = self.pages.get(str(environ["PATH_INFO"]), self.other)
        start_response(f"{status} Status", [*headers.items(), ("Content-Length", str(len(body)))])
        return [body]


def text(body: str, status: int = 200, kind: str = "text/plain; charset=utf-8", **headers: str) -> Page:
    """A page; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": kind, **named}, body.encode()


LOGIN = text("<!DOCTYPE html><html><body><form>Sign in to Corp</form></body></html>\n", kind="text/html")


def redirect(location: str) -> Page:
    return text("", status=302, Location=location)


def module_pages(path: str, *versions: str, source: str = "package misc\n") -> dict[str, Page]:
    """What a proxy answers for a module with these versions: list, latest, info, mod, zip."""
    base = f"/{escape(path)}"
    pages = {f"{base}/@v/list": text("".join(f"{version}\n" for version in versions))}
    for version in versions:
        info = text(f'{{"Version":"{version}","Time":"2026-01-02T15:04:05Z"}}', kind="application/json")
        pages[f"{base}/@latest"] = info
        pages[f"{base}/@v/{escape(version)}.info"] = info
        pages[f"{base}/@v/{escape(version)}.mod"] = text(f"module {path}\n")
        archive = module_zip(path, version, {"go.mod": f"module {path}\n", "misc.go": source})
        pages[f"{base}/@v/{escape(version)}.zip"] = (200, {"Content-Type": "application/zip"}, archive)
    return pages


def module_zip(path: str, version: str, files: Mapping[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{path}@{version}/{name}"), content)
    return target.getvalue()


def head_of(connection: socket.socket) -> str:
    """A request's head, and nothing of what comes after it."""
    data = b""
    while b"\r\n\r\n" not in data and (chunk := connection.recv(1)):
        data += chunk
    return data.decode()


def _greeted(secure: ssl.SSLSocket) -> bool:
    """Whether TLS came about. If not, the client's last bytes are read: a reset would overtake the alert that says why."""
    try:
        secure.do_handshake()
    except ssl.SSLError:
        secure.shutdown(socket.SHUT_WR)
        while socket.socket.recv(secure, _CHUNK):
            pass
        return False
    return True


def pipe(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until either side ends; in one thread, for a TLS socket stands no second one."""
    ways = {one: other, other: one}
    for each in ways:
        each.setblocking(False)
    with suppress(OSError):
        while all(_copy(source, target) for source, target in ways.items()):
            if not any(isinstance(each, ssl.SSLSocket) and each.pending() for each in ways):
                select.select([*ways], [], [])


def _copy(source: socket.socket, target: socket.socket) -> bool:
    """Copy what is there; False at the end."""
    try:
        chunk = source.recv(_CHUNK)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    left = memoryview(chunk)
    while left:
        try:
            left = left[target.send(left) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            select.select([], [target], [])
    return bool(chunk)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
