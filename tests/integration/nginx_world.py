"""A real nginx with the shipped configuration, between two recording upstreams; only places and ports are replaced."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests.integration.doctor_world import TREE, Machine
from tests.sandbox.bad_servers import Authority, Listener, Pages, module_pages, text, tls_front
from tests.sandbox.processes import end_group
from tests.sandbox.serve import LoopbackServer

SHIPPED = Path(__file__).parents[2] / "deploy/nginx"
PRIVATE, PUBLIC = "go.corp.example/secret", "github.com/Public/lib"
NAME = "goproxy.corp.example"
_SECONDS = 10.0
_MAIN = """{user}
worker_processes 1;
daemon off;
pid {root}/pid;
error_log {root}/error.log warn;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    include goproxy.conf;
}}
"""

_STATIC = """
access_log off;
server {{
    listen 127.0.0.1:{port};
    root {files};
    default_type application/octet-stream;
    error_page 404 @missing;
    location @missing {{ default_type text/plain; return 404 "not found"; }}
}}
"""

# Debian keeps it where an ordinary user's PATH does not look.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cache(self) -> str:
        return self.headers.get("x-cache", "")


@dataclass
class Front:
    """nginx at https://localhost:`port`. `private`, `public`, `sumdb`: what the upstreams serve and were asked."""

    root: Path
    authority: Authority
    port: int
    private: Pages
    public: Pages
    sumdb: Pages
    servers: dict[str, LoopbackServer] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def log(self) -> Path:
        return self.root / "access.log"

    def get(
        self,
        path: str,
        method: str = "GET",
        *,
        certificate: Path | None = None,
        source: str = "127.0.0.1",
        body: bytes | None = None,
        **headers: str,
    ) -> Reply:
        """One request with exactly this path, from the address `source`; underscores in header names stand for hyphens."""
        trust = ssl.create_default_context(cafile=self.authority.ca_file)
        if certificate:
            trust.load_cert_chain(certificate)
        place = (source, 0)
        connection = HTTPSConnection("localhost", self.port, context=trust, timeout=_SECONDS, source_address=place)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, headers=named)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        finally:
            connection.close()

    def machine(self, **settings: str) -> Machine:
        ca = str(self.authority.ca_file)
        return Machine.of(self.root / "machine", **{"GOPROXY": self.url, "SSL_CERT_FILE": ca, **settings})


@contextmanager
def nginx(root: Path, **replaced: str) -> Iterator[Front]:
    """The front with its upstreams; `replaced` maps a file of deploy/nginx/goproxy (without .conf) to another text."""
    with ExitStack() as up:
        authority = Authority(root / "ca")
        pages = {
            "private": Pages(dict(module_pages(PRIVATE, "v1.0.0"))),
            "public": Pages(dict(module_pages(PUBLIC, "v1.0.0"))),
            "sumdb": Pages({"/latest": text(TREE)}),
        }
        servers = {name: up.enter_context(LoopbackServer(application)) for name, application in pages.items()}
        ports = {"private": servers["private"].port}
        for name, host in (("public", "proxy.golang.org"), ("sumdb", "sum.golang.org")):
            ports[name] = up.enter_context(Listener(tls_front(authority.issue(host), servers[name].port))).port
        reserved = up.enter_context(_reserved())
        port = reserved.getsockname()[1]
        _configure(root, authority, port, ports, replaced)
        up.enter_context(_running(root, port))
        yield Front(root, authority, port, servers=servers, **pages)


@contextmanager
def static_nginx(root: Path, files: Path) -> Iterator[str]:
    """The URL of an nginx that serves files and does nothing else; its misses are text, as go's users should see them."""
    with plain_nginx(root, lambda port: _STATIC.format(port=port, files=files)) as url:
        yield url


@contextmanager
def plain_nginx(root: Path, configuration: Callable[[int], str]) -> Iterator[str]:
    """The URL of an nginx that has, for its port, this in its http context."""
    with _reserved() as reserved:
        port = reserved.getsockname()[1]
        (root / "conf").mkdir(parents=True)
        (root / "conf/goproxy.conf").write_text(configuration(port))
        (root / "conf/nginx.conf").write_text(_MAIN.format(user=_user(), root=root))
        with _running(root, port):
            yield f"http://127.0.0.1:{port}"


def _user() -> str:
    """Root's workers could not read below pytest's directory otherwise."""
    return "user root;" if os.geteuid() == 0 else ""


def _configure(root: Path, authority: Authority, port: int, ports: dict[str, int], replaced: dict[str, str]) -> None:
    conf = root / "conf"
    shutil.copytree(SHIPPED, conf)
    for name, content in replaced.items():
        (conf / f"goproxy/{name}.conf").write_text(content)
    pem = authority.issue("localhost")
    swap = {
        "server 127.0.0.1:3000": f"server 127.0.0.1:{ports['private']}",
        "server proxy.golang.org:443": f"server 127.0.0.1:{ports['public']}",
        "server sum.golang.org:443": f"server 127.0.0.1:{ports['sumdb']}",
        "/etc/ssl/certs/ca-certificates.crt": str(authority.ca_file),
        "/etc/nginx/tls/clients-ca.crt": str(authority.ca_file),
        "/etc/nginx/tls/goproxy.crt": str(pem),
        "/etc/nginx/tls/goproxy.key": str(pem),
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "listen [::]:443 ssl;": "",
        "/var/cache/nginx/goproxy": f"{root}/cache",
        "/var/log/nginx/goproxy.log": f"{root}/access.log",
    }
    for path in (conf / "goproxy.conf", *(conf / "goproxy").iterdir()):
        content = path.read_text()
        for old, new in swap.items():
            content = content.replace(old, new)
        path.write_text(content)
    (conf / "nginx.conf").write_text(_MAIN.format(user=_user(), root=root))


@contextmanager
def _running(root: Path, port: int) -> Iterator[None]:
    command = [str(NGINX), "-p", str(root), "-c", str(root / "conf/nginx.conf"), "-e", str(root / "start.log")]
    with (root / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            _wait(process, root, port)
            yield
        finally:
            end_group(process)


def _wait(process: subprocess.Popen[bytes], root: Path, port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("nginx did not start: " + (root / "start.log").read_text() + (root / "out").read_text())


@contextmanager
def _reserved() -> Iterator[socket.socket]:
    """A bound socket that does not listen: the port is ours, and nginx may listen on it."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield bound


def wait_for(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Until it holds; the test fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
