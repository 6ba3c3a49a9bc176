"""What is not there: misses that go does not mind, with whatever page, and those at which it stops. A real `go` shows which."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.doctor_world import MODULE, QUERY
from tests.integration.test_doctor_network import ZIP, World, network
from tests.sandbox.bad_servers import LOGIN, Page, module_pages, redirect, text

LIST = f"/{MODULE}/@v/list"
MISSES: list[Page] = [text("<html>Nothing here</html>", status=status, kind="text/html") for status in (404, 410)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with network(tmp_path) as made:
        yield made


@pytest.mark.parametrize("page", MISSES, ids=["404", "410"])
def test_a_page_about_a_miss_is_a_miss(world: World, page: Page) -> None:
    """As many servers write it, also behind a harmless redirect: go reads nothing of it and asks the next proxy."""
    behind = world.serve(other=redirect(f"{world.serve(other=page)}/away"))
    for first in (world.serve(other=page), behind):
        machine = world.machine(f"{first},http://127.0.0.1:{world.port}")
        done = machine.go("mod", "download", QUERY)
        assert done.returncode == 0, done.stderr.decode()
        assert machine.codes("--module", QUERY) == []


def test_after_a_page_about_a_miss_the_doctor_asks_on_as_go_does(world: World) -> None:
    """A list is not needed for a version that is named; what stands before zips is."""
    files = {**world.good.pages, LIST: MISSES[0], ZIP: LOGIN}
    machine = world.machine(world.serve(files))
    assert machine.explained(machine.download()) == ["html-zip"]
    assert machine.codes("--module", QUERY) == ["html-zip"]


OTHER = "go.corp.example/other"


@pytest.mark.parametrize("listed", [None, text("", status=410), text("")], ids=["404", "410", "nothing in it"])
def test_a_module_that_no_proxy_has(world: World, listed: Page | None) -> None:
    """Some proxies answer 200 and an empty list for what they do not know: then go asks for @latest, and ends there."""
    files = {f"/{OTHER}/@v/list": listed} if listed else {}
    machine = world.machine(f"{world.serve(files)},{world.serve(files)}")
    machine.explained(machine.download(f"{OTHER}@latest"))
    assert machine.codes("--module", OTHER) == ["not-found"]
    machine.environment["GOPROXY"] += f",http://127.0.0.1:{world.port}"
    world.good.pages |= {f"/{OTHER}/@v/list": text("v1.0.0-rc.1 2026-01-02T15:04:05Z\n")}
    assert machine.codes("--module", OTHER) == []


def test_a_module_without_versions_that_has_a_latest(world: World) -> None:
    pseudo = "v0.0.0-20260102150405-abcdefabcdef"
    machine = world.machine(world.serve(module_pages(OTHER, pseudo) | {f"/{OTHER}/@v/list": text("")}))
    done = machine.go("mod", "download", f"{OTHER}@latest")
    assert done.returncode == 0, done.stderr.decode()
    assert machine.codes("--module", OTHER) == []


def test_a_directory_that_does_not_have_it(world: World, tmp_path: Path) -> None:
    machine = world.machine(f"file://{tmp_path}")
    assert machine.explained(machine.download()) == ["not-found"]
