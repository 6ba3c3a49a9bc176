"""Set-ups with which a real `go` works, or of which it does not ask: the doctor says nothing, and asks nothing more than go."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.doctor_world import MODULE, QUERY, Machine
from tests.sandbox.bad_servers import Authority, Listener, Page, Pages, module_pages, text, tls_front
from tests.sandbox.gotool import go_binary
from tests.sandbox.modules import make_plain
from tests.sandbox.platform import Platform
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.web_proxies import egress

PUBLIC = "github.com/public/lib"
ANYTHING = "golang.org/x/mod"  # what the doctor asks for where nobody names a module


@dataclass
class World:
    """`proxy`: has a private and a public module, and no checksum database; `outside` is what a closed door was asked."""

    root: Path
    up: ExitStack
    proxy: Pages
    outside: list[str] = field(default_factory=list)

    def machine(self, **settings: str) -> Machine:
        url = self.up.enter_context(LoopbackServer(self.proxy)).url
        door = self.up.enter_context(Listener(egress(403, asked=self.outside))).url
        return Machine.of(self.root / "machine", **{"GOPROXY": url, "HTTPS_PROXY": door, **settings})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as up:
        yield World(tmp_path, up, Pages(module_pages(MODULE, "v1.0.0") | module_pages(PUBLIC, "v1.0.0")))


def requiring(machine: Machine, *required: str, go_sum: str = "") -> None:
    """A go.mod where both go and the doctor run."""
    place = machine.root / "empty"
    place.mkdir(exist_ok=True)
    lines = "".join(f"\t{each.replace('@', ' ')}\n" for each in required)
    (place / "go.mod").write_text(f"module a.example/b\n\ngo 1.21\n\nrequire (\n{lines})\n")
    (place / "go.sum").write_text(go_sum)


def sums(machine: Machine, query: str) -> str:
    """Its lines of go.sum, believed unseen."""
    machine.environment["GONOSUMDB"], held = "*", machine.environment["GONOSUMDB"]
    told = json.loads(machine.go("mod", "download", "-json", query).stdout)
    machine.environment["GONOSUMDB"] = held
    name = query.replace("@", " ")
    return f"{name} {told['Sum']}\n{name}/go.mod {told['GoModSum']}\n"


def test_private_modules_need_no_checksum_database(world: World) -> None:
    machine = world.machine()
    assert machine.go("mod", "download", QUERY).returncode == 0
    assert machine.codes("--module", QUERY) == []
    assert machine.codes("--module", MODULE) == []
    requiring(machine, QUERY)
    assert machine.go("mod", "download").returncode == 0
    assert machine.codes() == []
    assert world.outside == []


def test_nor_does_a_proxy_that_has_nothing_else(world: World) -> None:
    """Nobody names a module, and the one that is asked for instead is nowhere: go ends at the proxy's 404, too."""
    machine = world.machine()
    assert "404" in machine.download(f"{ANYTHING}@v0.10.0")
    assert machine.codes() == []
    assert world.outside == []
    world.proxy.pages.update(module_pages(ANYTHING, "v0.10.0"))
    assert machine.explained(machine.download(f"{ANYTHING}@v0.10.0")) == ["sumdb-blocked"]
    assert machine.codes() == ["sumdb-blocked"]


def test_what_go_sum_has_is_not_asked_about(world: World) -> None:
    machine, query = world.machine(), f"{PUBLIC}@v1.0.0"
    requiring(machine, QUERY, query)
    assert machine.explained(machine.go("mod", "download").stderr.decode()) == ["sumdb-blocked"]
    assert machine.codes() == ["sumdb-blocked"]
    assert machine.codes("--module", query) == ["sumdb-blocked"]
    requiring(machine, QUERY, query, go_sum=sums(machine, query))
    world.outside.clear()
    for arguments in ((), (query,)):
        assert machine.go("mod", "download", *arguments).returncode == 0
    assert machine.codes() == []
    assert machine.codes("--module", query) == []
    assert world.outside == []


def test_of_the_database_the_doctor_advises_nothing_that_is_set_already(world: World) -> None:
    machine = world.machine()
    fixes = []
    for arguments in ((), ("--private", "git.corp.example")):
        _, found = machine.doctor("--module", f"{PUBLIC}@v1.0.0", *arguments)
        fixes += [finding["fix"] for finding in found["findings"] if finding["code"] == "sumdb-blocked"]
    assert "GONOSUMDB" not in fixes[0]
    assert "export GONOSUMDB=go.corp.example,git.corp.example " in fixes[1]


KNOWN = (
    *("github.com/corp/log", "bitbucket.org/corp/log/v2", "hub.jazz.net/git/corp/log", "git.apache.org/log.git"),
    *("git.openstack.org/corp/log", "chiselapp.com/user/corp/repository/log", "example.net/log"),
    *("git.corp.example/t/log.git", "gitsub.corp.example/t/log.git/sub/v2", "hg.corp.example/log.hg"),
    *("svn.corp.example/~t/log.svn", "fossil.corp.example/log.fossil"),
)
ASKED = (
    *("go.corp.example/misc", "www.github.com/corp/log", "github.company.example/corp/log", "dot.corp.example/git"),
    *(
        "old.corp.example/log.git-old",
        "one.corp.example/log.git1/x",
        "cvs.corp.example/log.cvs",
        "hub.jazz.net/corp/log",
    ),
)


def test_go_and_the_doctor_ask_the_same_hosts_where_repositories_are(world: World) -> None:
    """Without git, go goes no further; what it knows by the path alone it asks nobody about."""
    machine = world.machine(GOPROXY="direct", GOPRIVATE="*", GONOSUMDB="*", PATH=str(Path(go_binary()).parent))
    assert machine.go("mod", "download", *(f"{path}@v1.0.0" for path in (*KNOWN, *ASKED))).returncode != 0
    hosts, by_go = sorted(path.partition("/")[0] for path in ASKED), sorted(set(world.outside))
    assert by_go == [f"CONNECT {host}:443 HTTP/1.1" for host in hosts]
    world.outside.clear()
    machine.doctor(*(f"--module={path}" for path in (*KNOWN, *ASKED)))
    assert sorted(set(world.outside)) == by_go


def test_nobody_is_asked_where_a_repository_is_whose_path_says_it(world: World, tmp_path: Path) -> None:
    """git comes to it by its own ways, past a host whose web is closed."""
    with Platform(tmp_path / "mirror") as mirror:
        make_plain(mirror, "log", path="github.com/corp/log")
        rewriting = {"GIT_CONFIG_KEY_0": f"url.{mirror.clone_url('log')}.insteadOf", "GIT_CONFIG_COUNT": "1"}
        rewriting["GIT_CONFIG_VALUE_0"] = "https://github.com/corp/log"
        private = {"GOPROXY": "direct", "GOPRIVATE": "github.com/corp", "GONOSUMDB": "github.com/corp"}
        machine = world.machine(**private, **rewriting, GIT_ALLOW_PROTOCOL="http:https")
        done = machine.go("mod", "download", "github.com/corp/log@v1.0.0")
        assert done.returncode == 0, done.stderr.decode()
        assert machine.codes("--module", "github.com/corp/log@v1.0.0") == ["git-insteadof"]  # to plain http
    assert world.outside == []


def test_a_certificate_of_nobody_is_no_finding_where_goinsecure_lets_it_in(world: World) -> None:
    meta = text(f'<meta name="go-import" content="{MODULE} fossil https://git.invalid/x">', kind="text/html")
    port = self_signed(world, meta)
    machine = world.machine(GOPROXY="direct", GOINSECURE="go.corp.example", HTTPS_PROXY=port)
    assert "fossil" in machine.download()
    assert machine.codes("--module", QUERY) == ["goinsecure"]


def self_signed(world: World, page: Page) -> str:
    """A web proxy that leads to this page behind a certificate that nobody trusts."""
    backend = world.up.enter_context(LoopbackServer(Pages(other=page))).port
    pem = Authority(world.root / "ca").issue("go.corp.example")
    tls = world.up.enter_context(Listener(tls_front(pem, backend))).port
    return world.up.enter_context(Listener(egress(to=tls))).url


def test_what_a_go_mod_replaces_is_not_asked_for(world: World) -> None:
    """Neither a directory's module, nor the one that another stands for."""
    machine = world.machine(GONOPROXY="gone.corp.example")
    requiring(machine, "gone.corp.example/here@v1.0.0", "gone.corp.example/moved@v1.2.3")
    place = machine.root / "empty"
    (place / "here").mkdir()
    (place / "here/go.mod").write_text("module gone.corp.example/here\n")
    with (place / "go.mod").open("a") as file:
        file.write(
            f"replace (\n\tgone.corp.example/here => ./here\n\tgone.corp.example/moved v1.2.3 => {MODULE} v1.0.0\n)\n"
        )
    done = machine.go("mod", "download")
    assert done.returncode == 0, done.stderr.decode()
    assert world.outside == []
    world.proxy.asked.clear()
    assert machine.codes() == ["goprivate-bypass", "gonosumdb-missing"]
    assert f"/{MODULE}/@v/v1.0.0.zip" in world.proxy.asked
    assert world.outside == []
