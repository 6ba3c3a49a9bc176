"""Causes that let `go` carry on, or fail later: plain http, TLS of another age, netrc, slowness. A real `go` shows the harm."""

import base64
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.integration.doctor_world import MODULE, QUERY, TREE, Machine, needs_namespaces
from tests.sandbox.bad_servers import Authority, Handler, Listener, Pages, module_pages, text, tls_front
from tests.sandbox.serve import LoopbackServer

NAME = "goproxy.corp.example"
PASSWORD = "hunter2-of-dev"
DATABASE = {"/sumdb/sum.golang.org/supported": text(""), "/sumdb/sum.golang.org/latest": text(TREE)}


@dataclass
class Guarded:
    """A proxy that wants dev's password; `refused` counts requests without it."""

    pages: Pages
    refused: list[str] = field(default_factory=list)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        wanted = "Basic " + base64.b64encode(f"dev:{PASSWORD}".encode()).decode()
        if environ.get("HTTP_AUTHORIZATION") == wanted:
            return self.pages(environ, start_response)
        self.refused.append(str(environ["PATH_INFO"]))
        start_response("401 Unauthorized", [("Content-Length", "0"), ("WWW-Authenticate", 'Basic realm="go"')])
        return [b""]


@dataclass
class World:
    root: Path
    up: ExitStack
    authority: Authority
    pages: Pages

    def serve(self, application: object) -> LoopbackServer:
        return self.up.enter_context(LoopbackServer(application))  # type: ignore[arg-type]

    def listen(self, handler: Handler) -> Listener:
        return self.up.enter_context(Listener(handler))

    def tls(self, application: object, newest: ssl.TLSVersion | None = None) -> int:
        """The port of `application` behind TLS, with a good certificate for localhost."""
        pem = self.authority.issue("localhost")
        return self.listen(tls_front(pem, self.serve(application).port, newest=newest)).port

    def machine(self, goproxy: str, **settings: str) -> Machine:
        ca = str(self.authority.ca_file)
        return Machine.of(self.root / "machine", **{"GOPROXY": goproxy, "SSL_CERT_FILE": ca, **settings})


def alerting(alert: int) -> Handler:
    """Answer the TLS greeting with this fatal alert (RFC 8446, 6.2), then close."""

    def handle(connection: socket.socket, stopping: Event) -> None:
        connection.recv(65536)
        connection.sendall(bytes((21, 3, 3, 0, 2, 2, alert)))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)

    return handle


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    pages = Pages({**module_pages(MODULE, "v1.0.0"), **DATABASE})
    with ExitStack() as up:
        yield World(tmp_path, up, Authority(tmp_path / "ca"), pages)


def write_netrc(machine: Machine, content: str, mode: int = 0o600) -> Path:
    path = Path(machine.environment["HOME"]) / ".netrc"
    path.write_text(content)
    path.chmod(mode)
    return path


@needs_namespaces
def test_over_plain_http_somebody_on_the_way_changes_a_module_and_go_builds_with_it(world: World) -> None:
    """goproxy-plain-http: with TLS in the same place go refuses."""
    changed = world.serve(Pages({**module_pages(MODULE, "v1.0.0", source="package changed\n"), **DATABASE}))
    machine = world.machine(f"http://{NAME}:{changed.port}")
    machine.hosts = f"127.0.0.1 {NAME}"
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert "changed" in (machine.root / f"gopath/pkg/mod/{MODULE}@v1.0.0/misc.go").read_text()
    status, found = machine.doctor("--module", QUERY)
    assert (status, [finding["code"] for finding in found["findings"]]) == (1, ["goproxy-plain-http"])
    foreign = Authority(world.root / "foreign", "Somebody on the way").issue(NAME)
    machine.environment["GOPROXY"] = f"https://{NAME}:{world.listen(tls_front(foreign, changed.port)).port}"
    assert "certificate signed by unknown authority" in machine.download()


@needs_namespaces
def test_over_plain_http_go_keeps_its_credentials_and_is_refused(world: World) -> None:
    """goproxy-plain-http and needs-credentials: netrc has them, and go sends netrc's over TLS only."""
    guarded = Guarded(world.pages)
    port = world.serve(guarded).port
    machine = world.machine(f"http://{NAME}:{port}")
    machine.hosts = f"127.0.0.1 {NAME}"
    write_netrc(machine, f"machine {NAME}:{port} login dev password {PASSWORD}\n")
    assert "401 Unauthorized" in machine.download()
    assert guarded.refused
    assert machine.codes("--module", QUERY) == ["goproxy-plain-http", "needs-credentials"]
    front = world.listen(tls_front(world.authority.issue(NAME), port)).port
    write_netrc(machine, f"machine {NAME}:{front} login dev password {PASSWORD}\n")
    machine.environment["GOPROXY"] = f"https://{NAME}:{front}"
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_of_another_age_is_refused(world: World) -> None:
    """tls-failed: the server knows TLS 1.1 and nothing newer."""
    port = world.tls(world.pages, newest=ssl.TLSVersion.TLSv1_1)
    machine = world.machine(f"https://localhost:{port}")
    output = machine.download()
    assert "protocol version not supported" in output
    assert machine.codes("--module", QUERY) == ["tls-failed"]
    assert machine.explained(output) == ["tls-failed"]


def test_a_server_that_breaks_tls_off(world: World) -> None:
    """tls-failed: an alert, as a front sends that has no site of that name, or shares no cipher."""
    unrecognized_name, internal_error, handshake_failure = 112, 80, 40
    for alert in (unrecognized_name, internal_error, handshake_failure):
        machine = world.machine(f"https://localhost:{world.listen(alerting(alert)).port}")
        output = machine.download()
        assert "remote error: tls: " in output
        assert machine.codes("--module", QUERY) == ["tls-failed"]
        assert machine.explained(output) == ["tls-failed"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_client_certificate_wanted_by_tls_1_2(world: World) -> None:
    """client-certificate: there the server says only `handshake failure`; the doctor sees that it came after the greeting."""
    wanting = tls_front(
        world.authority.issue("localhost"), 9, client_ca=world.authority.ca_file, newest=ssl.TLSVersion.TLSv1_2
    )
    machine = world.machine(f"https://localhost:{world.listen(wanting).port}")
    assert "remote error: tls: handshake failure" in machine.download()
    assert machine.codes("--module", QUERY) == ["client-certificate"]


def test_a_netrc_without_a_password_is_worth_nothing(world: World) -> None:
    """netrc-broken: go sends no credentials and is refused; with the password added it works."""
    guarded = Guarded(world.pages)
    port = world.tls(guarded)
    machine = world.machine(f"https://localhost:{port}")
    write_netrc(machine, f"machine localhost:{port} login dev\n")
    output = machine.download()
    assert "401 Unauthorized" in output
    assert machine.codes("--module", QUERY) == ["netrc-broken", "needs-credentials"]
    assert machine.explained(output) == ["needs-credentials"]
    write_netrc(machine, f"machine localhost:{port} login dev password {PASSWORD}\n")
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def test_a_netrc_that_others_may_read_gives_them_the_password_go_uses(world: World) -> None:
    """netrc-permissions: go itself says nothing and uses it; the doctor's own command takes it from the others."""
    port = world.tls(Guarded(world.pages))
    machine = world.machine(f"https://localhost:{port}")
    with tempfile.TemporaryDirectory() as shared:  # pytest's own directories are closed to others already
        Path(shared).chmod(0o755)
        path = Path(shared) / "netrc"
        path.write_text(f"machine localhost:{port} login dev password {PASSWORD}\n")
        path.chmod(0o644)
        machine.environment["NETRC"] = str(path)
        assert machine.go("mod", "download", QUERY).returncode == 0
        assert others_may_read(path)
        status, found = machine.doctor("--module", QUERY)
        (finding,) = found["findings"]
        assert (status, finding["code"]) == (1, "netrc-permissions")
        assert PASSWORD not in str(found)
        subprocess.run(["sh", "-c", finding["fix"]], check=True)
        assert not others_may_read(path)
        assert machine.codes("--module", QUERY) == []
        assert machine.go("mod", "download", QUERY).returncode == 0


def others_may_read(path: Path) -> bool:
    """Tried as nobody where this user may become nobody (root), else read from the mode."""
    nobody = 65534
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-c", f"print(open({str(path)!r}).read())"],
            user=nobody, group=nobody, extra_groups=[], cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip
    except PermissionError:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o044)
    return PASSWORD in done.stdout


def test_a_slow_proxy_makes_a_build_run_out_of_time(world: World) -> None:
    """slow: each answer takes its time, go asks one after the other, and a job with a time limit is ended in between."""
    seconds, asked, never = 2.0, list[str](), Event()

    def late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked.append(str(environ["PATH_INFO"]))
        never.wait(seconds)
        return world.pages(environ, start_response)

    url = world.serve(late).url
    machine = world.machine(url)
    started = time.monotonic()
    assert machine.go("mod", "download", QUERY).returncode == 0
    took = time.monotonic() - started
    assert took >= 3 * seconds, f"info, mod and zip one after the other: {asked}"
    with pytest.raises(subprocess.TimeoutExpired):
        machine.go("mod", "download", QUERY, timeout=2 * seconds)
    assert machine.codes("--module", MODULE, "--timeout", "3") == ["slow"]
