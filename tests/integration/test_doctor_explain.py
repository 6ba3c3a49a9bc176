"""`modsync doctor explain` on what a real `go` prints, for causes that lie in modules and repositories."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.integration.doctor_world import MODULE, QUERY, Machine
from tests.sandbox.bad_servers import Listener, Pages, hanging, module_pages, text
from tests.sandbox.discovery import Discovery, by_root
from tests.sandbox.modules import HOST, Module, make_plain
from tests.sandbox.platform import Platform
from tests.sandbox.processes import run
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.web_proxies import egress

OTHER = "h1:" + "A" * 43 + "="


@dataclass
class World:
    root: Path
    up: ExitStack

    def proxied(self, pages: Pages) -> Machine:
        return Machine.of(self.root / "machine", GOPROXY=self.up.enter_context(LoopbackServer(pages)).url)

    def closed(self) -> str:
        """A web proxy that lets nothing out."""
        return self.up.enter_context(Listener(egress(403))).url

    def direct(self, discovery: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]], **more: str) -> Machine:
        """go without a proxy; what it asks of the module's own host is answered by `discovery`."""
        web = self.up.enter_context(LoopbackServer(discovery)).url
        settings = {
            "GOPROXY": "direct",
            "GOPRIVATE": "*",
            "GOINSECURE": "*",
            "GOVCS": "*:all",
            "GIT_ALLOW_PROTOCOL": "http:ssh",
        }
        return Machine.of(self.root / "machine", **{**settings, "HTTP_PROXY": web, "HTTPS_PROXY": web, **more})

    def mirrored(self, *versions: str, token: str | None = None, **more: str) -> tuple[Machine, Platform]:
        mirror = self.up.enter_context(Platform(self.root / "mirror", token=token))
        make_plain(mirror, "misc", *versions)
        return self.direct(Discovery(by_root({MODULE: mirror.clone_url("misc")})), **more), mirror


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as up:
        yield World(tmp_path, up)


def build(machine: Machine, *, go_sum: str = "", arguments: tuple[str, ...] = ("build", ".")) -> str:
    """What go says when it builds a program that needs the module at v1.0.0; it is expected to fail."""
    place = machine.root / "empty"
    place.mkdir(exist_ok=True)
    (place / "go.mod").write_text(f"module a.example/b\n\ngo 1.21\n\nrequire {MODULE} v1.0.0\n")
    (place / "b.go").write_text(f'package b\n\nimport _ "{MODULE}"\n')
    (place / "go.sum").write_text(go_sum)
    done = machine.go(*arguments)
    assert done.returncode != 0
    return (done.stdout + done.stderr).decode()


def good() -> Pages:
    return Pages(module_pages(MODULE, "v1.0.0"))


def test_what_the_proxy_does_not_have(world: World) -> None:
    machine = world.proxied(good())
    assert machine.explained(machine.download(f"{MODULE}@v1.9.0")) == ["not-found"]


def test_content_that_is_not_what_go_sum_says(world: World) -> None:
    machine = world.proxied(good())
    output = build(machine, go_sum=f"{MODULE} v1.0.0 {OTHER}\n{MODULE} v1.0.0/go.mod {OTHER}\n")
    assert "SECURITY ERROR" in output
    assert machine.explained(output) == ["checksum-mismatch"]


def test_a_checksum_that_go_sum_does_not_have(world: World) -> None:
    machine = world.proxied(good())
    assert machine.explained(build(machine)) == ["go-sum-missing"]


def test_a_module_line_that_says_another_path(world: World) -> None:
    pages = good()
    pages.pages[f"/{MODULE}/@v/v1.0.0.mod"] = text("module go.corp.example/renamed\n")
    machine = world.proxied(pages)
    output = build(machine, arguments=("mod", "tidy"))
    assert machine.explained(output) == ["module-path-mismatch"]


def test_a_module_that_wants_a_newer_go(world: World) -> None:
    pages = good()
    pages.pages[f"/{MODULE}/@v/v1.0.0.mod"] = text(f"module {MODULE}\n\ngo 1.99\n")
    machine = world.proxied(pages)
    assert machine.explained(build(machine, arguments=("mod", "tidy"))) == ["go-too-old"]


def test_no_version_fits_the_query(world: World) -> None:
    machine = world.proxied(good())
    output = build(machine, arguments=("get", f"{MODULE}@v1.5"))
    assert machine.explained(output) == ["unknown-revision"]


def test_a_version_of_another_major(world: World) -> None:
    machine = world.proxied(good())
    assert machine.explained(build(machine, arguments=("get", f"{MODULE}@v3.0.0"))) == ["not-found"]
    machine, mirror = world.mirrored("v1.0.0")
    Module(mirror, "misc", MODULE).release("v3.0.0", {"misc.go": "package misc\n"})
    assert machine.explained(machine.download(f"{MODULE}@v3.0.0")) == ["major-suffix"]


def test_a_tag_that_was_not_pushed(world: World) -> None:
    machine, _ = world.mirrored("v1.0.0")
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.explained(machine.download(f"{MODULE}@v1.9.0")) == ["unknown-revision"]


def test_git_that_wants_a_password(world: World) -> None:
    machine, _ = world.mirrored("v1.0.0", token="secret")
    output = machine.download()
    assert machine.explained(output) == ["git-credentials"]


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed (Debian: openssh-client)")
def test_git_that_is_not_let_in(world: World) -> None:
    with Listener(hanging) as gone:
        port = gone.port
    machine = world.direct(Discovery(by_root({MODULE: f"ssh://git@127.0.0.1:{port}/misc"})))
    output = machine.download()
    assert "Could not read from remote repository" in output
    assert machine.explained(output) == ["connection-refused"]
    machine = world.direct(Discovery(by_root({MODULE: "ssh://git@nobody.invalid/misc"})))
    assert machine.explained(machine.download()) == ["dns-no-such-host"]


def test_a_repository_of_somebody_else(world: World) -> None:
    """GIT_TEST_ASSUME_DIFFERENT_OWNER is git's own way to test it as one user."""
    machine, mirror = world.mirrored("v1.0.0")
    machine.environment |= {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_ALLOW_PROTOCOL": "http:file"}
    bare = world.root / "bare"
    run(["git", "init", "-q", "--bare", str(bare)], env=machine.environment, check=True)
    (world.root / "config").write_text(f'[url "file://{bare}"]\n\tinsteadOf = {mirror.clone_url("misc")}\n')
    machine.environment |= {"GIT_CONFIG_GLOBAL": str(world.root / "config")}
    output = machine.download()
    assert "dubious ownership" in output
    _, found = machine.doctor("explain", stdin=output)
    assert [finding["code"] for finding in found["findings"]] == ["git-refused"]
    assert found["findings"][0]["fix"].startswith(f"git config --global --add safe.directory {bare}")


@pytest.mark.parametrize(
    "goproxy", ["https://p.example:PORT", "https:p.example", "https://p.example:99999", "https:///x"]
)
def test_a_goproxy_that_is_no_address(world: World, goproxy: str) -> None:
    machine = Machine.of(world.root / "machine", GOPROXY=goproxy)
    assert machine.explained(machine.download()) == ["goproxy-invalid"]
    assert machine.explained(machine.go("list", "-m", "-versions", MODULE).stderr.decode()) == ["goproxy-invalid"]


def test_a_proxy_whose_own_way_out_is_broken(world: World) -> None:
    """The text that Athens passes on of its `go`."""
    said = 'Get "https://proxy.golang.org/x": dial tcp: lookup proxy.golang.org on 10.0.0.53:53: no such host\n'
    machine = world.proxied(Pages(other=text(said, status=500)))
    output = machine.download()
    assert "server response: Get" in output
    assert machine.explained(output) == ["server-error"]


def test_nobody_says_where_the_repository_is(world: World) -> None:
    page = text("<html><head></head></html>", kind="text/html")
    machine = world.direct(Pages(other=page))
    assert machine.explained(machine.download()) == ["private-not-served"]


def test_a_version_control_system_that_is_missing_or_forbidden(world: World) -> None:
    page = text(f'<meta name="go-import" content="{MODULE} fossil http://{HOST}/repository">', kind="text/html")
    machine = world.direct(Pages(other=page))
    assert machine.explained(machine.download()) == ["vcs-missing"]
    machine.environment["GOVCS"] = "*:git"
    assert machine.explained(machine.download()) == ["vcs-disallowed"]


def test_text_from_a_file_and_for_people(world: World) -> None:
    machine = world.proxied(good())
    (machine.root / "empty").mkdir(exist_ok=True)
    (machine.root / "empty/output.txt").write_text("go: module lookup disabled by GOPROXY=off\n")
    assert machine.codes("explain", "output.txt") == ["goproxy-off"]
    assert machine.codes("explain", stdin="go: downloading a.b/c v1.0.0\n") == []


def wanting_newer(world: World, toolchain: str, pages: Pages, lines: str = "go 1.99.1") -> Machine:
    """A machine with a go.mod that wants a go which nobody has, and this GOTOOLCHAIN."""
    machine = world.proxied(pages)
    if toolchain == "this":  # by its name
        toolchain = machine.go("env", "GOVERSION").stdout.decode().strip()
    machine.environment["GOTOOLCHAIN"] = toolchain
    (machine.root / "empty").mkdir(exist_ok=True)
    (machine.root / "empty/go.mod").write_text(f"module a.example/b\n\n{lines}\n")
    return machine


def test_a_newer_go_that_no_proxy_has(world: World) -> None:
    machine = wanting_newer(world, "auto", good())
    output = machine.go("mod", "download").stderr.decode()
    assert "toolchain not available" in output
    _, found = machine.doctor("explain", stdin=output)
    (finding,) = found["findings"]
    assert finding["code"] == "toolchain-missing"
    assert "/golang.org/toolchain/@v/v0.0.1-go1.99.1." in finding["fix"]
    assert machine.codes() == ["toolchain-missing"]
    for goproxy in ("direct", f"{machine.environment['GOPROXY']},direct"):
        machine.environment |= {"GOPROXY": goproxy, "GOPRIVATE": "*", "HTTPS_PROXY": machine.environment["GOPROXY"]}
        assert "toolchain not available" in machine.go("mod", "download").stderr.decode()
        assert "toolchain-missing" in machine.codes()


@pytest.mark.parametrize("toolchain", ["path", "local", "this"])
def test_a_newer_go_that_a_setting_keeps_out(world: World, toolchain: str) -> None:
    machine = wanting_newer(world, toolchain, good())
    assert machine.explained(machine.go("mod", "download").stderr.decode()) == ["go-too-old"]
    assert machine.codes() == ["go-too-old"]
    _, found = machine.doctor()
    assert found["findings"][0]["fix"].startswith("export GOTOOLCHAIN=auto ")


@pytest.mark.parametrize(
    ("lines", "toolchain", "wanted"),
    [
        ("go 1.21\n\ntoolchain go1.99.2", "auto", "go1.99.2"),
        ("go 1.21\n\ntoolchain go1.99.2-corp", "go1.21.1+auto", "go1.99.2-corp"),
        ("go 1.99rc2", "auto", "go1.99rc2"),
        ("go 1.99", "auto", "go1.99.0"),
        ("go 1.98.1", "go1.98.1", "go1.98.1"),
        ("go 1.21\n\ntoolchain go1.99.2", "path", "go1.99.2"),
        ("go 1.21\n\ntoolchain go1.99.2", "this", ""),
        ("go 1.21\n\ntoolchain go1.99.2", "local", ""),
        ("go 1.21\n\ntoolchain default", "auto", ""),
        ("go 1.21", "auto", ""),
    ],
)
def test_which_go_is_wanted(world: World, lines: str, toolchain: str, wanted: str) -> None:
    machine = wanting_newer(world, toolchain, good(), lines)
    done = machine.go("mod", "download")
    status, found = machine.doctor()
    assert (done.returncode, status) == ((1, 1) if wanted else (0, 0))
    assert wanted in done.stderr.decode()
    assert not wanted or f"go.mod wants {wanted}, " in found["findings"][0]["seen"]


@pytest.mark.parametrize("toolchain", ["go1.98.1", "go1.98.1+path"])
@pytest.mark.parametrize("lines", ["go 1.21", None])
def test_a_newer_go_that_gotoolchain_itself_names(world: World, toolchain: str, lines: str | None) -> None:
    machine = wanting_newer(world, toolchain, good(), lines or "")
    if lines is None:
        (machine.root / "empty/go.mod").unlink()
    assert "go1.98.1" in machine.go("mod", "download", QUERY).stderr.decode()
    _, found = machine.doctor()
    assert found["findings"][0]["seen"].startswith("GOTOOLCHAIN wants go1.98.1, ")


def test_a_newer_go_is_not_fetched_without_the_database(world: World) -> None:
    """It is verified whatever GONOSUMDB says, and refused where there is nothing to verify it by."""
    pages = good()
    machine = wanting_newer(world, "auto", pages)
    machine.environment["GOSUMDB"] = "off"
    assert "toolchain not available" in machine.go("mod", "download").stderr.decode()
    version = pages.asked[-1].rpartition("/")[2].removesuffix(".zip")
    pages.pages |= module_pages("golang.org/toolchain", version)
    output = machine.go("mod", "download").stderr.decode()
    assert "checksum database disabled by GOSUMDB=off" in output
    assert machine.explained(output) == machine.codes() == ["gosumdb-off"]
    machine.environment |= {"GOSUMDB": "sum.golang.org", "GONOSUMDB": "golang.org", "HTTPS_PROXY": world.closed()}
    output = machine.go("mod", "download").stderr.decode()
    assert machine.explained(output) == ["sumdb-blocked"]
    assert "sumdb-blocked" in machine.codes()
