"""Each cause on the way to a proxy, made with real servers: a real `go` fails on it, and the doctor names it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from subprocess import TimeoutExpired
from threading import Event
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.integration.doctor_world import MODULE, QUERY, TREE, Machine, needs_namespaces
from tests.sandbox.bad_servers import (
    LOGIN,
    Authority,
    Listener,
    Page,
    Pages,
    answering,
    cutting,
    hanging,
    module_pages,
    redirect,
    text,
    tls_front,
)
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.web_proxies import egress

Files = dict[str, Page]
ZIP = f"/{MODULE}/@v/v1.0.0.zip"
DATABASE: Files = {"/sumdb/sum.golang.org/supported": text(""), "/sumdb/sum.golang.org/latest": text(TREE)}


@dataclass
class World:
    """`good`: a healthy proxy's pages, on the port `port`; `up` enters servers that end with the test."""

    root: Path
    good: Pages
    port: int
    up: ExitStack
    authority: Authority

    def listen(self, handler: Callable[..., None]) -> Listener:
        return self.up.enter_context(Listener(handler))

    def serve(self, pages: Files | None = None, other: Page | None = None) -> str:
        """The URL of a server with these pages."""
        application = Pages(pages or {}, other or text("not found\n", status=404))
        return self.up.enter_context(LoopbackServer(application)).url

    def tls(self, *names: str, backend: int = 0, starts: int = -1, ends: int = 5, **more: Any) -> int:
        """The port of TLS with a certificate for the names before the healthy proxy (or another backend)."""
        pem = self.authority.issue(*names, starts=timedelta(days=starts), ends=timedelta(days=ends))
        return self.listen(tls_front(pem, backend or self.port, **more)).port

    def machine(self, goproxy: str, *, trusts: bool = True, **settings: str) -> Machine:
        ca = str(self.authority.ca_file) if trusts else str(self.other_ca)
        return Machine.of(self.root / "machine", **{"GOPROXY": goproxy, "SSL_CERT_FILE": ca, **settings})

    @property
    def other_ca(self) -> Path:
        return Authority(self.root / "other", "Some other CA").ca_file


@contextmanager
def network(root: Path) -> Iterator[World]:
    """A world with a healthy proxy."""
    with ExitStack() as up:
        good = Pages({**module_pages(MODULE, "v1.0.0"), **DATABASE})
        server = up.enter_context(LoopbackServer(good))
        yield World(root, good, server.port, up, Authority(root / "ca"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with network(tmp_path) as made:
        yield made


def test_nothing_is_found_where_go_works(world: World) -> None:
    machine = world.machine(f"https://localhost:{world.tls('localhost')}")
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def test_nothing_is_found_behind_a_web_proxy_that_lets_through(world: World) -> None:
    asked: list[str] = []
    door = world.listen(egress(to=world.tls("goproxy.corp.example"), asked=asked))
    machine = world.machine("https://goproxy.corp.example", HTTPS_PROXY=door.url)
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []
    assert set(asked) == {"CONNECT goproxy.corp.example:443 HTTP/1.1"}


def test_a_version_that_no_proxy_has(world: World) -> None:
    proxy = f"https://localhost:{world.tls('localhost')}"
    machine = world.machine(proxy)
    assert machine.explained(machine.download(f"{MODULE}@v1.9.0")) == ["not-found"]
    assert machine.codes("--module", f"{MODULE}@v1.9.0") == ["not-found"]
    empty = world.tls("localhost", backend=int(world.serve().rpartition(":")[2]))
    machine.environment["GOPROXY"] = f"{proxy},https://localhost:{empty}"
    assert machine.codes("--module", f"{MODULE}@v1.9.0") == ["not-found"]
    # What a go.mod requires may be replaced, so nothing is said of it.
    (machine.root / "empty").mkdir(exist_ok=True)
    (machine.root / "empty/go.mod").write_text(f"module x.example/y\n\nrequire {MODULE} v1.9.0\n")
    assert machine.codes() == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (text("<html></html>", kind="text/html"), "private-not-served"),
        (text("nothing here", status=404), "private-not-served"),
        (text(f'<html><meta name="go-import" content="{MODULE} git https://git.invalid/x">', kind="text/html"), ""),
    ],
    ids=["a page", "a miss", "go-import"],
)
def test_a_module_whose_repository_nobody_names(world: World, answer: Page, code: str) -> None:
    tls = world.tls("go.corp.example", backend=int(world.serve(other=answer).rpartition(":")[2]))
    machine = world.machine("direct", HTTPS_PROXY=world.listen(egress(to=tls)).url, GOSUMDB="off")
    output = machine.download()
    assert ("unrecognized import path" in output) is bool(code)
    assert machine.codes("--module", QUERY) == ["gosumdb-off", *([code] if code else [])]


def test_a_module_behind_a_single_sign_on(world: World) -> None:
    pages = {"/misc": redirect("https://go.corp.example/sso")}
    tls = world.tls("go.corp.example", backend=int(world.serve(pages, LOGIN).rpartition(":")[2]))
    machine = world.machine("direct", HTTPS_PROXY=world.listen(egress(to=tls)).url, GOSUMDB="off")
    assert "unrecognized import path" in machine.download()
    assert machine.codes("--module", QUERY) == ["gosumdb-off", "login-page"]


def test_inspected_tls_without_the_companys_ca(world: World) -> None:
    door = world.listen(egress(to=world.tls("goproxy.corp.example")))
    machine = world.machine("https://goproxy.corp.example", trusts=False, HTTPS_PROXY=door.url)
    output = machine.download()
    _, found = machine.doctor("--module", QUERY)
    assert [finding["code"] for finding in found["findings"]] == ["tls-unknown-authority"]
    assert "CN=Corp TLS Inspection CA" in found["findings"][0]["seen"]
    assert f"openssl s_client -proxy 127.0.0.1:{door.port}" in found["findings"][0]["fix"]
    assert machine.explained(output) == ["tls-unknown-authority"]


def netrc(machine: Machine, content: str, mode: int = 0o600) -> None:
    path = Path(machine.environment["HOME"]) / ".netrc"
    path.write_text(content)
    path.chmod(mode)


def certificate_for_another_name(world: World) -> Machine:
    return world.machine(f"https://localhost:{world.tls('login.corp.example')}")


def certificate_without_the_address(world: World) -> Machine:
    return world.machine(f"https://127.0.0.1:{world.tls('localhost')}")


def expired_certificate(world: World) -> Machine:
    return world.machine(f"https://localhost:{world.tls('localhost', starts=-10, ends=-2)}")


def no_tls_there(world: World) -> Machine:
    return world.machine(f"https://127.0.0.1:{world.port}")


def client_certificate_wanted(world: World) -> Machine:
    port = world.tls("localhost", client_ca=world.authority.ca_file)
    return world.machine(f"https://localhost:{port}")


def web_proxy_refuses(world: World) -> Machine:
    return world.machine("https://goproxy.corp.example", HTTPS_PROXY=world.listen(egress(403)).url)


def web_proxy_wants_a_password(world: World) -> Machine:
    return world.machine("https://goproxy.corp.example", HTTPS_PROXY=world.listen(egress(407)).url)


def web_proxy_is_down(world: World) -> Machine:
    with Listener(hanging) as gone:
        url = gone.url
    return world.machine("https://goproxy.corp.example", HTTPS_PROXY=url)


def proxy_is_down(world: World) -> Machine:
    with Listener(hanging) as gone:
        url = gone.url
    return world.machine(url)


def proxy_cuts(world: World) -> Machine:
    return world.machine(world.listen(cutting).url)


def redirected_to_a_login_page(world: World) -> Machine:
    login = world.serve(other=LOGIN)
    return world.machine(world.serve(other=redirect(f"{login}/auth?from=go")))


def web_page(world: World) -> Machine:
    return world.machine(world.serve(other=LOGIN))


def web_page_for_a_zip(world: World) -> Machine:
    return world.machine(world.serve({**world.good.pages, ZIP: LOGIN}))


def status(code: int) -> Callable[[World], Machine]:
    return lambda world: world.machine(world.serve(other=text("no\n", status=code)))


def wrong_password(world: World) -> Machine:
    refusing = world.up.enter_context(LoopbackServer(Pages(other=text("no\n", status=401))))
    machine = world.machine(f"https://localhost:{world.tls('localhost', backend=refusing.port)}")
    netrc(machine, f"machine {machine.environment['GOPROXY'][8:]} login dev password wrong\n")
    return machine


def password_in_the_url(world: World) -> Machine:
    return world.machine(f"http://dev:secret@127.0.0.1:{world.port}")


def redirected_from_tls_to_plain_http(world: World) -> Machine:
    """To an answer that would do: a captive portal, or a front that ends TLS and forgets to say so."""
    answer = world.serve(other=text("v1.0.0\n"))
    plain = world.serve(other=redirect(f"{answer}/{MODULE}/@v/list"))
    return world.machine(f"https://localhost:{world.tls('localhost', backend=int(plain.rpartition(':')[2]))}")


def redirected_for_ever(world: World) -> Machine:
    return world.machine(world.serve(other=redirect("/again")))


CASES: list[tuple[Callable[[World], Machine], list[str], list[str]]] = [
    (certificate_for_another_name, ["tls-wrong-name"], ["tls-wrong-name"]),
    (certificate_without_the_address, ["tls-wrong-name"], ["tls-wrong-name"]),
    (expired_certificate, ["tls-expired"], ["tls-expired"]),
    (no_tls_there, ["tls-not-tls"], ["tls-not-tls"]),
    (client_certificate_wanted, ["client-certificate"], ["client-certificate"]),
    (web_proxy_refuses, ["egress-refused"], ["egress-refused"]),
    (web_proxy_wants_a_password, ["egress-credentials"], ["egress-credentials"]),
    (web_proxy_is_down, ["egress-down"], ["egress-down"]),
    (proxy_is_down, ["connection-refused"], ["connection-refused"]),
    (proxy_cuts, ["connection-cut"], ["connection-cut"]),
    (redirected_to_a_login_page, ["login-page"], ["login-page"]),
    (redirected_from_tls_to_plain_http, ["redirect-refused"], ["redirect-refused"]),
    (redirected_for_ever, ["redirect-refused"], ["redirect-refused"]),
    (web_page, ["html-answer"], ["login-page"]),
    (web_page_for_a_zip, ["html-zip"], ["html-zip"]),
    (status(401), ["needs-credentials"], ["needs-credentials"]),
    (status(403), ["forbidden"], ["forbidden"]),
    (status(429), ["rate-limited"], ["rate-limited"]),
    (status(503), ["server-error"], ["server-error"]),
    (status(418), ["unexpected-status"], ["unexpected-status"]),
    (wrong_password, ["credentials-refused"], ["needs-credentials"]),
    (password_in_the_url, ["goproxy-password"], ["goproxy-password"]),
]


@pytest.mark.parametrize(("broken", "wanted", "explained"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a_cause(world: World, broken: Callable[[World], Machine], wanted: list[str], explained: list[str]) -> None:
    machine = broken(world)
    output = machine.download()
    assert machine.codes("--module", QUERY) == wanted, output
    assert machine.explained(output) == explained, output


@pytest.mark.parametrize("arguments", [("--module", MODULE), ()])
def test_a_web_page_for_zips_alone_is_found_without_a_version(world: World, arguments: tuple[str, ...]) -> None:
    """By the list, for the module that is named or the one that is always asked for."""
    sample = "golang.org/x/mod"
    pages = {f"/{sample}/@v/list": text("v0.9.0\nv0.10.0-pre\nodd line\n"), f"/{sample}/@v/v0.9.0.zip": LOGIN}
    machine = world.machine(world.serve({**world.good.pages, ZIP: LOGIN, **pages}))
    assert machine.codes(*arguments) == ["html-zip"]


def test_a_proxy_that_hangs(world: World) -> None:
    machine = world.machine(world.listen(hanging).url)
    with pytest.raises(TimeoutExpired):
        machine.go("mod", "download", QUERY, timeout=3)
    assert machine.codes("--module", QUERY, "--timeout", "0.5") == ["timeout"]


def test_a_slow_proxy(world: World) -> None:
    never = Event()

    def late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        never.wait(0.6)
        return world.good(environ, start_response)

    server = world.up.enter_context(LoopbackServer(late))
    machine = world.machine(server.url)
    assert machine.codes("--module", MODULE, "--timeout", "1") == ["slow"]
    assert machine.codes("--module", MODULE, "--timeout", "60") == []


def test_a_wrong_clock_is_told_from_an_expired_certificate(world: World) -> None:
    """Relative to the server, whose certificate begins tomorrow and whose clock says so, this machine's clock is behind."""
    ahead = format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)
    backend = world.listen(answering(f"HTTP/1.1 200 OK\r\nDate: {ahead}\r\nContent-Length: 0\r\n\r\n"))
    machine = world.machine(f"https://localhost:{world.tls('localhost', backend=backend.port, starts=1)}")
    output = machine.download()
    assert "is not yet valid" in output
    assert machine.codes("--module", QUERY) == ["clock-wrong"]
    assert machine.explained(output) == ["tls-expired"]


@needs_namespaces
def test_a_name_that_does_not_resolve(world: World) -> None:
    machine = world.machine("https://goproxy.corp.example")
    machine.hosts = "127.0.0.1 other.corp.example"
    output = machine.download()
    assert machine.codes("--module", QUERY) == ["dns-no-such-host"]
    assert machine.explained(output) == ["dns-no-such-host"]


@needs_namespaces
def test_a_hijacked_name(world: World) -> None:
    port = world.tls("login.corp.example")
    machine = world.machine(f"https://proxy.golang.org:{port}", trusts=False, GONOSUMDB="")
    machine.hosts = "127.0.0.1 proxy.golang.org"
    output = machine.download()
    assert machine.codes("--module", QUERY) == ["dns-hijack", "tls-unknown-authority"]
    assert machine.explained(output) == ["tls-wrong-name"]  # go looks at the name first, and there is another one


@needs_namespaces
def test_a_company_name_inside_is_no_hijack(world: World) -> None:
    port = world.tls("goproxy.corp.example")
    machine = world.machine(f"https://goproxy.corp.example:{port}")
    machine.hosts = "127.0.0.1 goproxy.corp.example"
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def test_a_blocked_checksum_database(world: World) -> None:
    """The proxy does not pass it on, and the web proxy refuses it: a public module cannot be verified."""
    pages = module_pages(MODULE, "v1.0.0")
    machine = world.machine(world.serve(pages), GONOSUMDB="", HTTPS_PROXY=world.listen(egress(403)).url)
    output = machine.download()
    _, found = machine.doctor("--module", QUERY)
    assert [finding["code"] for finding in found["findings"]] == ["sumdb-blocked"]
    assert "[egress-refused]" in found["findings"][0]["seen"]
    assert machine.explained(output) == ["sumdb-blocked"]


def test_a_proxy_that_refuses_the_question_for_the_database(world: World) -> None:
    refusing = {**world.good.pages, "/sumdb/sum.golang.org/supported": text("no", status=403)}
    machine = world.machine(world.serve(refusing), GONOSUMDB="")
    output = machine.download()
    assert machine.codes("--module", QUERY) == ["sumdb-proxy-error"]
    assert machine.explained(output) == ["sumdb-proxy-error"]


def test_a_proxy_that_claims_the_database_and_refuses_it(world: World) -> None:
    pinned = {**module_pages(MODULE, "v1.0.0"), "/sumdb/sum.golang.org/supported": text("")}
    machine = world.machine(world.serve(pinned, other=text("no", status=403)), GONOSUMDB="")
    output = machine.download()
    assert machine.codes("--module", QUERY) == ["sumdb-pinned"]
    assert machine.explained(output) == ["sumdb-pinned"]
