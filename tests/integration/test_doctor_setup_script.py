"""The set-up script: clean under shellcheck, and after it a real `go` works and the doctor finds nothing."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.doctor.advice import netrc_line
from app.doctor.probe_machine import parse_netrc
from app.doctor.setup_script import Setup, setup_script
from tests.integration.doctor_world import MODULE, QUERY, TREE, Machine
from tests.integration.test_doctor_harm import PASSWORD, Guarded
from tests.sandbox.bad_servers import Authority, Listener, Pages, module_pages, text, tls_front
from tests.sandbox.processes import run
from tests.sandbox.serve import LoopbackServer

PRIVATE = ("go.corp.example", "github.com/corp")
PEM = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
SETUPS = [
    Setup("https://goproxy.corp.example", PRIVATE),
    Setup("https://goproxy.corp.example:8443/base", (), PEM, password=True),
]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[str, Authority]]:
    """A healthy proxy behind TLS of the company's own CA."""
    authority = Authority(tmp_path / "ca", "Company CA")
    database = {"/sumdb/sum.golang.org/supported": text(""), "/sumdb/sum.golang.org/latest": text(TREE)}
    with ExitStack() as up:
        server = up.enter_context(LoopbackServer(Pages(module_pages(MODULE, "v1.0.0") | database)))
        port = up.enter_context(Listener(tls_front(authority.issue("localhost"), server.port))).port
        yield f"https://localhost:{port}", authority


def fresh(root: Path) -> Machine:
    """A machine on which nothing was set up; go's own settings are kept below `root`."""
    machine = Machine.of(root, GOENV=str(root / "goenv"), MODSYNC_NO_SYSTEM_CA="1")
    for name in ("GOPROXY", "GONOSUMDB", "GOAUTH"):
        machine.environment.pop(name, None)
    return machine


def sh(machine: Machine, script: str, *arguments: str) -> tuple[int, str, str]:
    path = machine.root / "setup.sh"
    path.write_text(script)
    done = run(["sh", str(path), *arguments], env=machine.environment)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("setup", SETUPS, ids=["plain", "all"])
def test_shellcheck_finds_nothing(tmp_path: Path, setup: Setup) -> None:
    path = tmp_path / "setup.sh"
    path.write_text(setup_script(setup))
    done = run(["shellcheck", "--shell=sh", "--severity=style", str(path)], env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stdout.decode()


def test_after_it_go_works_and_the_doctor_finds_nothing(tmp_path: Path, proxy: tuple[str, Authority]) -> None:
    url, authority = proxy
    machine = fresh(tmp_path / "machine")
    assert machine.go("env", "-w", "GOPRIVATE=go.corp.example", "GOSUMDB=off", "GOINSECURE=*").returncode == 0
    status, output, errors = sh(machine, setup_script(Setup(url, PRIVATE, authority.ca_file.read_text())))
    assert (status, errors) == (0, "")
    (advice,) = [line for line in output.splitlines() if "export SSL_CERT_DIR=" in line]
    machine.environment["SSL_CERT_DIR"] = f"{machine.environment['HOME']}/.config/modsync"
    assert machine.environment["SSL_CERT_DIR"] in advice
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def test_run_twice_it_changes_nothing_more(tmp_path: Path) -> None:
    machine = fresh(tmp_path / "machine")
    machine.environment |= {"GOPROXY_USER": "dev", "GOPROXY_TOKEN": "s3cr$t'x"}
    first = sh(machine, setup_script(SETUPS[1]))
    settings, netrc = tmp_path / "machine/goenv", Path(machine.environment["HOME"]) / ".netrc"
    before = settings.read_text(), netrc.read_text()
    assert sh(machine, setup_script(SETUPS[1])) == first
    assert (settings.read_text(), netrc.read_text()) == before
    assert before[1] == "machine goproxy.corp.example:8443 login dev password s3cr$t'x\n"
    assert netrc.stat().st_mode & 0o777 == 0o600
    assert "s3cr" not in first[1] + first[2]


ENTRY = "machine goproxy.corp.example:8443 login dev password T0KEN\n"
OTHER = "has another user or token for goproxy.corp.example:8443"
NETRCS = {
    "empty": ("", ENTRY, ""),
    "another's": ("machine a.example login b password c\n", f"machine a.example login b password c\n{ENTRY}", ""),
    "no end of line": ("machine a.example login b password c", f"machine a.example login b password c\n{ENTRY}", ""),
    "a longer name": ("machine goproxy.corp.example:84430 login b password c\n", None, ""),
    "in lines": (ENTRY.replace(" login", "\n  login"), ENTRY.replace(" login", "\n  login"), ""),
    "old token": (old := ENTRY.replace("T0KEN", "old"), old, OTHER),
    "old token first": (old + ENTRY, old + ENTRY, OTHER),
    "old token behind": (ENTRY + old, ENTRY + old, ""),
    "another user": (ENTRY.replace("dev", "me"), ENTRY.replace("dev", "me"), OTHER),
}


@pytest.mark.parametrize("case", NETRCS)
def test_what_netrc_has_already(tmp_path: Path, case: str) -> None:
    """What is there stays; what is added is a line of its own; an entry that would win over the new token is named."""
    before, after, said = NETRCS[case]
    machine = fresh(tmp_path / "machine")
    machine.environment |= {"GOPROXY_USER": "dev", "GOPROXY_TOKEN": "T0KEN"}
    netrc = Path(machine.environment["HOME"]) / ".netrc"
    netrc.write_text(before)
    status, _, errors = sh(machine, setup_script(SETUPS[1]))
    assert (status, netrc.read_text()) == (0, before + ENTRY if after is None else after)
    assert said in errors if said else errors == ""
    assert netrc.stat().st_mode & 0o777 == 0o600


def test_a_token_that_netrc_cannot_hold_is_refused(tmp_path: Path) -> None:
    machine = fresh(tmp_path / "machine")
    machine.environment |= {"GOPROXY_USER": "dev", "GOPROXY_TOKEN": "a b"}
    status, _, errors = sh(machine, setup_script(SETUPS[1]))
    assert (status, "may hold no blanks" in errors) == (1, True)


def test_goauth_off_is_taken_back_where_the_proxy_wants_a_password(tmp_path: Path) -> None:
    machine = fresh(tmp_path / "machine")
    assert machine.go("env", "-w", "GOAUTH=off").returncode == 0
    assert sh(machine, setup_script(SETUPS[0]))[0] == 0
    assert machine.go("env", "GOAUTH").stdout == b"off\n"
    assert sh(machine, setup_script(SETUPS[1]))[0] == 0
    assert machine.go("env", "GOAUTH").stdout == b"netrc\n"
    machine.environment["GOAUTH"] = "off"
    assert "GOAUTH=netrc" in sh(machine, setup_script(SETUPS[1]), "--ci")[1].splitlines()
    status, _, errors = sh(machine, setup_script(SETUPS[1]))
    assert (status, "GOAUTH=off is exported" in errors) == (1, True)


def test_the_line_that_the_doctor_prints_is_a_line_of_its_own(tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine a.example login b password c")
    run(["sh", "-c", netrc_line("go.example:8443")], env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, check=True)
    assert parse_netrc(netrc.read_text()) == {"a.example": ("b", "c"), "go.example:8443": ("USER", "TOKEN")}


def test_without_a_password_it_says_what_to_add(tmp_path: Path) -> None:
    _, _, errors = sh(fresh(tmp_path / "machine"), setup_script(SETUPS[1]))
    assert "machine goproxy.corp.example:8443 login USER password TOKEN" in errors


def test_an_exported_variable_stops_it(tmp_path: Path) -> None:
    machine = fresh(tmp_path / "machine")
    machine.environment["GOPROXY"] = "https://elsewhere.example"
    status, _, errors = sh(machine, setup_script(SETUPS[0]))
    assert status == 1
    assert "GOPROXY=https://elsewhere.example is exported" in errors
    assert not (tmp_path / "machine/goenv").exists()


def test_variables_for_ci_leave_the_machine_alone_and_are_healthy(tmp_path: Path, proxy: tuple[str, Authority]) -> None:
    url, authority = proxy
    machine = fresh(tmp_path / "machine")
    status, output, _ = sh(machine, setup_script(Setup(url, PRIVATE)), "--ci")
    assert status == 0
    assert not (tmp_path / "machine/goenv").exists()
    machine.environment |= dict(line.split("=", 1) for line in output.splitlines())
    machine.environment["SSL_CERT_FILE"] = str(authority.ca_file)
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, Authority]]:
    """The same behind a password."""
    authority = Authority(tmp_path / "guarded-ca", "Company CA")
    database = {"/sumdb/sum.golang.org/supported": text(""), "/sumdb/sum.golang.org/latest": text(TREE)}
    pages = Guarded(Pages(module_pages(MODULE, "v1.0.0") | database))
    with ExitStack() as up:
        server = up.enter_context(LoopbackServer(pages))
        port = up.enter_context(Listener(tls_front(authority.issue("localhost"), server.port))).port
        yield f"https://localhost:{port}", authority


@pytest.mark.parametrize("arguments", [(), ("--ci",)], ids=["account", "ci"])
def test_with_ca_and_password_go_works_and_the_doctor_finds_nothing(
    tmp_path: Path, guarded: tuple[str, Authority], arguments: tuple[str, ...]
) -> None:
    url, authority = guarded
    machine = fresh(tmp_path / "machine")
    machine.environment |= {"GOPROXY_USER": "dev", "GOPROXY_TOKEN": PASSWORD, "GOAUTH": "netrc"}
    setup = Setup(url, PRIVATE, authority.ca_file.read_text(), password=True)
    status, output, errors = sh(machine, setup_script(setup), *arguments)
    assert (status, errors) == (0, "")
    lines = [line.strip().removeprefix("export ") for line in output.splitlines()]
    machine.environment |= dict(line.split("=", 1) for line in lines if arguments or line.startswith("SSL_CERT_DIR="))
    assert (tmp_path / "machine/goenv").exists() is not bool(arguments)
    done = machine.go("mod", "download", QUERY)
    assert done.returncode == 0, done.stderr.decode()
    assert machine.codes("--module", QUERY) == []


@pytest.mark.parametrize(
    ("url", "private", "ca"),
    [
        ("https://u:p@goproxy.example", (), ""),
        ("ftp://goproxy.example", (), ""),
        ("https://goproxy.example,direct", (), ""),
        ("https://a b", (), ""),
        ("https://goproxy.example", ("$(id)",), ""),
        ("https://goproxy.example", ("a.b c",), ""),
        ("https://goproxy.example", (), "END_OF_CA\ntouch pwned\n"),
        ("https://goproxy.example", (), PEM + "END_OF_CA\ntouch pwned\n"),
    ],
)
def test_what_cannot_be_is_refused(url: str, private: tuple[str, ...], ca: str) -> None:
    with pytest.raises(ValueError):
        Setup(url, private, ca)


def test_a_url_with_shell_signs_stays_data(tmp_path: Path) -> None:
    machine = fresh(tmp_path / "machine")
    status, _, _ = sh(machine, setup_script(Setup("https://goproxy.example/$(touch${IFS}pwned)'x", ())))
    assert status == 0
    assert not list(tmp_path.rglob("pwned"))
    done = machine.go("env", "GOPROXY")
    assert done.stdout.decode().strip() == "https://goproxy.example/$(touch${IFS}pwned)'x"
