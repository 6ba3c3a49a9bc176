"""Set-ups with which a real `go` works, or of which it does not ask: the doctor says nothing, and asks nothing more than go."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.doctor_world import MODULE, QUERY, Machine
from tests.sandbox.bad_servers import Listener, Pages, egress, module_pages
from tests.sandbox.serve import LoopbackServer

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
