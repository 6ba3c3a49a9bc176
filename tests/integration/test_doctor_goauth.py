"""GOAUTH with a real `go` and a proxy that wants a password: what go finds the doctor finds, and what go misses it names."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from app.doctor.goauth import basic
from tests.integration.doctor_world import MODULE, QUERY, TREE, Machine
from tests.sandbox.bad_servers import Authority, Listener, Pages, module_pages, text, tls_front
from tests.sandbox.serve import LoopbackServer

PASSWORD = "s3cret-of-goauth"
WANTED = basic(("dev", PASSWORD))["Authorization"]
DATABASE = {"/sumdb/sum.golang.org/supported": text(""), "/sumdb/sum.golang.org/latest": text(TREE)}


def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """A healthy proxy behind a password."""
    if environ.get("HTTP_AUTHORIZATION") != WANTED:
        start_response("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Basic")])
        return [b"who are you?"]
    return Pages({**module_pages(MODULE, "v1.0.0"), **DATABASE})(environ, start_response)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as up:
        authority = Authority(tmp_path / "ca")
        backend = up.enter_context(LoopbackServer(guarded))
        port = up.enter_context(Listener(tls_front(authority.issue("localhost"), backend.port))).port
        made = Machine.of(
            tmp_path / "machine", GOPROXY=f"https://localhost:{port}", SSL_CERT_FILE=str(authority.ca_file)
        )
        yield made


def script(machine: Machine, body: str) -> str:
    path = machine.root / "helper"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def told(machine: Machine) -> str:
    _, found = machine.doctor("--module", QUERY)
    assert PASSWORD not in str(found)
    return str(found)


def test_a_command_that_gives_the_password(machine: Machine) -> None:
    proxy = machine.environment["GOPROXY"]
    machine.environment["GOAUTH"] = script(machine, f"printf '{proxy}\\n\\nAuthorization: {WANTED}\\n\\n'")
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []
    status, checked = machine.doctor("proxy", proxy, "--module", QUERY)
    assert (status, [each for each in checked["checks"] if each["result"] == "fail"]) == (0, [])


def test_a_command_that_gives_it_only_when_asked_for_the_url(machine: Machine) -> None:
    proxy = machine.environment["GOPROXY"]
    printed = f"printf '{proxy}\\n\\nAuthorization: {WANTED}\\n\\n'"
    machine.environment["GOAUTH"] = script(machine, f'test -n "$1" && grep -q "401" && {printed}; exit 0')
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []


def test_gits_own_credentials(machine: Machine) -> None:
    """The helper only answers: git's own `store` forgets a refused password when go says so, sooner or later."""
    known, work = machine.root / "credentials", machine.root / "work"
    known.write_text(f"username=dev\npassword={PASSWORD}\n")
    work.mkdir()
    helper = f"!f() {{ test $1 != get || cat {known}; }}; f"
    (Path(machine.environment["HOME"]) / ".gitconfig").write_text(f'[credential]\n\thelper = "{helper}"\n')
    machine.environment.pop("GIT_CONFIG_GLOBAL", None)
    machine.environment["GOAUTH"] = f"git {work}"
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []
    known.write_text("username=dev\npassword=wrong\n")
    assert "401" in machine.download()
    assert machine.codes("--module", QUERY) == ["credentials-refused"]


@pytest.mark.parametrize(
    "body", ["exit 3", "echo nonsense", ""], ids=["fails", "prints what go cannot read", "knows nothing"]
)
def test_a_command_that_gives_nothing(machine: Machine, body: str) -> None:
    machine.environment["GOAUTH"] = script(machine, f"{body}\n# {PASSWORD}")
    assert "401" in machine.download()
    broken = ["goauth-broken"] if body else []
    assert machine.codes("--module", QUERY) == [*broken, "needs-credentials"]
    assert ("helper`: it" in told(machine)) is (body == "exit 3")


@pytest.mark.parametrize(
    "setting",
    ["netrc;", "off;netrc", "git work", "git /nowhere/at/all", "git"],
    ids=lambda setting: setting.replace("/", "."),
)
def test_what_go_stops_at(machine: Machine, setting: str) -> None:
    machine.environment["GOAUTH"] = setting
    assert "GOAUTH" in machine.download()
    assert machine.codes("--module", QUERY)[0] == "goauth-broken"
