"""Web proxies of every kind that go takes: a real `go` comes or fails through them, and the doctor says the same."""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.doctor_world import MODULE, QUERY, Machine, needs_namespaces
from tests.integration.test_doctor_network import World, network
from tests.sandbox.bad_servers import Authority, Handler, Listener, cutting, hanging, text, tls_front
from tests.sandbox.web_proxies import Socks, egress

NAME = "goproxy.corp.example"
SECRET = "hunter2-of-dev"
LOGIN = f"dev:{SECRET}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with network(tmp_path) as made:
        yield made


def at(world: World, scheme: str, handler: Handler, login: str = "") -> str:
    """The URL of a web proxy: `https` puts TLS before the handler, with a good certificate."""
    port = world.listen(handler).port
    where = f"localhost:{world.tls('localhost', backend=port)}" if scheme == "https" else f"127.0.0.1:{port}"
    return f"{scheme}://{login and login + '@'}{where}"


def behind(world: World, proxy: str, goproxy: str = f"https://{NAME}", *, trusts: bool = True) -> Machine:
    return world.machine(goproxy, trusts=trusts, HTTPS_PROXY=proxy, HTTP_PROXY=proxy)


@pytest.mark.parametrize("login", ["", LOGIN], ids=["open", "with a login"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_is_found_behind_one_that_speaks_http(world: World, scheme: str, login: str) -> None:
    asked: list[str] = []
    door = egress(to=world.tls(NAME), asked=asked, login=login)
    machine = behind(world, at(world, scheme, door, login))
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []
    assert set(asked) == {f"CONNECT {NAME}:443 HTTP/1.1"}


@pytest.mark.parametrize("login", [None, ("dev", SECRET)], ids=["open", "with a login"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize(("host", "kind"), [(NAME, 3), ("192.0.2.7", 1), ("2001:db8::7", 4)])
def test_nothing_is_found_behind_socks(
    world: World, scheme: str, login: tuple[str, str] | None, host: str, kind: int
) -> None:
    """Names go to the proxy as names, under both schemes."""
    door = Socks(to=world.tls(host), login=login)
    goproxy = f"https://[{host}]:8443" if ":" in host else f"https://{host}:8443"
    machine = behind(world, at(world, scheme, door, ":".join(login or ())), goproxy)
    assert machine.go("mod", "download", QUERY).returncode == 0
    by_go = set(door.asked)
    assert machine.codes("--module", QUERY) == []
    assert set(door.asked) == by_go == {(kind, host, 8443)}


def test_a_login_that_is_offered_and_not_wanted(world: World) -> None:
    machine = behind(world, at(world, "socks5", Socks(to=world.tls(NAME)), LOGIN))
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


@pytest.mark.parametrize("scheme", ["https", "socks5"])
def test_plain_http_is_asked_of_an_http_proxy_whole_and_through_socks_of_the_server(world: World, scheme: str) -> None:
    socks = scheme == "socks5"
    door = at(world, "socks5", Socks(to=world.port)) if socks else f"https://{LOGIN}@localhost:{world.tls('localhost')}"
    machine = behind(world, door, f"http://{NAME}")
    assert machine.go("mod", "download", QUERY).returncode == 0
    by_go = set(world.good.asked)
    assert f"{'' if socks else f'http://{NAME}'}/{MODULE}/@v/v1.0.0.info" in by_go
    sent = len(world.good.asked)
    assert machine.codes("--module", QUERY) == ["goproxy-plain-http"]
    assert set(world.good.asked[sent:]) & by_go
    assert {"PROXY_AUTHORIZATION" in each for each in world.good.headers} == {not socks}


@pytest.mark.parametrize(("scheme", "code"), [("https", "egress-refused"), ("socks5", "forbidden")])
def test_who_it_is_that_forbids(world: World, scheme: str, code: str) -> None:
    """A plain request is an HTTP proxy's to refuse; through SOCKS nobody but the server can."""
    refusing = int(world.serve(other=text("no\n", status=403)).rpartition(":")[2])
    tls = f"https://localhost:{world.tls('localhost', backend=refusing)}"
    machine = behind(world, tls if scheme == "https" else at(world, scheme, Socks(to=refusing)), f"http://{NAME}")
    assert "/v1.0.0.info: 403" in machine.download()
    assert machine.codes("--module", QUERY) == ["goproxy-plain-http", code]


def unknown_authority(world: World) -> Machine:
    return behind(world, at(world, "https", egress(403)), trusts=False)


def another_name(world: World) -> Machine:
    return behind(world, at(world, "https", egress(403)).replace("localhost", "127.0.0.1"))


def another_host(world: World) -> Machine:
    return behind(world, f"https://localhost:{world.tls('login.corp.example')}")


def expired(world: World) -> Machine:
    return behind(world, f"https://localhost:{world.tls('localhost', starts=-10, ends=-2)}")


def client_certificate(world: World) -> Machine:
    return behind(world, f"https://localhost:{world.tls('localhost', client_ca=world.authority.ca_file)}")


def old_tls(world: World) -> Machine:
    return behind(world, f"https://localhost:{world.tls('localhost', newest=ssl.TLSVersion.TLSv1_1)}")


def proxy(scheme: str, handler: Handler, login: str = "") -> Callable[[World], Machine]:
    return lambda world: behind(world, at(world, scheme, handler, login))


def bare(scheme: str, handler: Handler) -> Callable[[World], Machine]:
    """Where the scheme says TLS and there is none."""
    return lambda world: behind(world, f"{scheme}://127.0.0.1:{world.listen(handler).port}")


def down(scheme: str) -> Callable[[World], Machine]:
    def made(world: World) -> Machine:
        with Listener(hanging) as gone:
            url = gone.url
        return behind(world, url.replace("http", scheme, 1))

    return made


GUARDED = Socks(login=("dev", SECRET))
CASES: dict[str, tuple[Callable[[World], Machine], str, str]] = {
    "unknown authority": (unknown_authority, "tls-unknown-authority", "tls-unknown-authority"),
    "without the address": (another_name, "tls-wrong-name", "tls-wrong-name"),
    "for another host": (another_host, "tls-wrong-name", "tls-wrong-name"),
    "expired": (expired, "tls-expired", "tls-expired"),
    "client certificate": (client_certificate, "client-certificate", "client-certificate"),
    "old TLS": (old_tls, "tls-failed", "tls-failed"),
    "TLS where there is none": (bare("https", egress()), "egress-scheme", "egress-scheme"),
    "SOCKS where there is HTTP": (bare("socks5", egress()), "egress-scheme", "egress-scheme"),
    "down, https": (down("https"), "egress-down", "egress-down"),
    "down, socks5": (down("socks5"), "egress-down", "egress-down"),
    "cut, http": (bare("http", cutting), "egress-down", "connection-cut"),  # go says only EOF
    "cut, https": (bare("https", cutting), "egress-down", "egress-down"),
    "cut, socks5": (bare("socks5", cutting), "egress-down", "egress-down"),
    "refused, https": (proxy("https", egress(403)), "egress-refused", "egress-refused"),
    "not allowed by ruleset": (proxy("socks5", Socks(reply=2)), "egress-refused", "egress-refused"),
    "network unreachable": (proxy("socks5", Socks(reply=3)), "egress-refused", "egress-refused"),
    "host unreachable": (proxy("socks5h", Socks(reply=4)), "egress-refused", "egress-refused"),
    "connection refused": (proxy("socks5", Socks(reply=5)), "egress-refused", "egress-refused"),
    "general failure": (proxy("socks5", Socks(reply=1)), "egress-refused", "egress-refused"),
    "a reply of its own": (proxy("socks5", Socks(reply=99)), "egress-refused", "egress-refused"),
    "no login, https": (proxy("https", egress(login=LOGIN)), "egress-credentials", "egress-credentials"),
    "no login, socks5": (proxy("socks5", GUARDED), "egress-credentials", "egress-credentials"),
    "another login, https": (proxy("https", egress(login="a:b"), LOGIN), "egress-credentials", "egress-credentials"),
    "another login, socks5": (
        proxy("socks5", Socks(login=("a", "b")), LOGIN), "egress-credentials", "egress-credentials",
    ),
    "a token for a user": (proxy("socks5", GUARDED, f":{SECRET}"), "egress-credentials", "egress-credentials"),
    "another scheme is http to go": (bare("socks4", egress(403)), "egress-refused", "egress-refused"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("broken", "code", "explained"), CASES.values(), ids=CASES)
def test_a_cause(world: World, broken: Callable[[World], Machine], code: str, explained: str) -> None:
    machine = broken(world)
    output = machine.download()
    _, found = machine.doctor("--module", QUERY)
    (finding,) = found["findings"]
    assert finding["code"] == code, output
    assert machine.environment["HTTPS_PROXY"].rpartition("@")[2].rpartition("/")[2] in finding["seen"]
    assert SECRET not in str(found)
    assert machine.explained(output) == [explained], output


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_client_certificate_wanted_by_tls_1_2(world: World) -> None:
    def wanting(name: str) -> int:
        return world.tls(name, client_ca=world.authority.ca_file, newest=ssl.TLSVersion.TLSv1_2)

    machine = behind(world, f"https://localhost:{wanting('localhost')}")
    assert "proxyconnect tcp: remote error: tls: handshake failure" in machine.download()
    _, found = machine.doctor("--module", QUERY)
    assert [finding["code"] for finding in found["findings"]] == ["client-certificate"]
    assert "export HTTPS_PROXY=http://127.0.0.1:" in found["findings"][0]["fix"]
    machine = behind(world, at(world, "https", egress(to=wanting(NAME))))  # by the server, within TLS
    assert "remote error: tls: handshake failure" in machine.download()
    _, found = machine.doctor("--module", QUERY)
    assert [finding["code"] for finding in found["findings"]] == ["client-certificate"]
    assert "docs/nginx.md" in found["findings"][0]["fix"]


def test_the_printed_address_of_the_right_kind_mends_it(world: World) -> None:
    door = world.listen(egress(to=world.tls(NAME)))
    machine = behind(world, f"https://127.0.0.1:{door.port}")
    assert "first record does not look like a TLS handshake" in machine.download()
    _, found = machine.doctor("--module", QUERY)
    assert found["findings"][0]["fix"].startswith(f"export HTTPS_PROXY={door.url}   #")
    machine.environment["HTTPS_PROXY"] = door.url
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_inspected_tls_behind_one_and_the_command_that_shows_whose_it_is(world: World, scheme: str) -> None:
    """tls-unknown-authority: the web proxy itself is trusted."""
    pem = Authority(world.root / "inspection", "Inspection").issue(NAME)
    there = world.listen(tls_front(pem, world.port)).port
    machine = behind(world, at(world, scheme, Socks(to=there) if scheme == "socks5" else egress(to=there)))
    assert "x509: certificate signed by unknown authority" in machine.download()
    _, found = machine.doctor("--module", QUERY)
    (finding,) = found["findings"]
    assert finding["code"] == "tls-unknown-authority"
    assert finding["seen"].endswith("the certificate is by CN=Inspection")
    command = finding["fix"].splitlines()[1]
    done = subprocess.run(["sh", "-c", command], env=machine.environment, capture_output=True, text=True, check=False)
    certificate = pem.with_suffix(".crt").read_text().split("-----")[2].strip()
    assert certificate in done.stdout


@needs_namespaces
@pytest.mark.parametrize("password", ["hunter#2", "hunter/2", "hunter?2", "hunter 2"])
def test_a_password_that_makes_go_take_http_for_the_host(world: World, password: str) -> None:
    """egress-down: with the password written as the fix says it works."""
    door = world.listen(egress(to=world.tls(NAME), login=f"dev:{password}"))
    machine = behind(world, f"http://dev:{password}@127.0.0.1:{door.port}")
    machine.hosts = "127.0.0.1 other.corp.example"
    output = machine.download()
    assert "proxyconnect tcp: dial tcp: lookup http" in output
    _, found = machine.doctor("--module", QUERY)
    (finding,) = found["findings"]
    assert finding["code"] == "egress-down"
    assert "%XX" in finding["fix"]
    assert "hunter" not in str(found)
    assert machine.explained(output) == ["egress-down"]
    machine.environment["HTTPS_PROXY"] = f"http://dev:hunter%{ord(password[6]):02x}2@127.0.0.1:{door.port}"
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_one_that_never_answers(world: World, scheme: str) -> None:
    machine = behind(world, at(world, scheme, hanging))
    with pytest.raises(subprocess.TimeoutExpired):
        machine.go("mod", "download", QUERY, timeout=3)
    assert machine.codes("--module", QUERY, "--timeout", "0.5") == ["egress-down"]
