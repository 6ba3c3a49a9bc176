"""The checksum database through nginx: a real `go` verifies a public module by it, passed on or refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.doctor_world import Machine
from tests.integration.nginx_world import PRIVATE, PUBLIC, Front, needs_nginx, nginx
from tests.sandbox.bad_servers import module_pages
from tests.sandbox.sumdb import make_database

pytestmark = needs_nginx

QUERY = f"{PUBLIC}@v1.0.0"
ZIP = "/github.com/!public/lib/@v/v1.0.0.zip"


def prepared(front: Front, tmp_path: Path) -> Machine:
    """A developer who believes the database; it knows the public module."""
    database = make_database(tmp_path / "sumdb", PUBLIC, "v1.0.0", front.public.pages[ZIP][2])
    front.sumdb.pages.update(database.pages)
    return front.machine(GOSUMDB=database.gosumdb)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with nginx(tmp_path / "front") as front:
        yield front


def test_go_verifies_a_public_module_through_the_front(front: Front, tmp_path: Path) -> None:
    machine = prepared(front, tmp_path)
    done = machine.go("mod", "download", QUERY)
    assert done.returncode == 0, done.stderr
    assert "/lookup/github.com/!public/lib@v1.0.0" in front.sumdb.asked
    assert machine.codes("--module", QUERY) == []


def test_what_the_database_said_is_kept_while_it_is_down(front: Front, tmp_path: Path) -> None:
    machine = prepared(front, tmp_path)
    assert machine.go("mod", "download", QUERY).returncode == 0
    front.servers["sumdb"].stop()
    assert machine.go("mod", "download", QUERY).returncode == 0


def test_a_changed_module_is_found(front: Front, tmp_path: Path) -> None:
    machine = prepared(front, tmp_path)
    front.public.pages.update(module_pages(PUBLIC, "v1.0.0", source="package changed\n"))
    output = machine.download(QUERY)
    assert "SECURITY ERROR" in output
    assert machine.explained(output) == ["checksum-mismatch"]


def test_private_modules_need_no_database(front: Front, tmp_path: Path) -> None:
    machine = prepared(front, tmp_path)
    assert machine.go("mod", "download", f"{PRIVATE}@v1.0.0").returncode == 0
    assert front.sumdb.asked == []


def test_refused_as_documented_go_asks_the_database_itself(tmp_path: Path) -> None:
    refusing = 'location ~ "^/sumdb/" { return 404 "ask the checksum database itself\\n"; }\n'
    with nginx(tmp_path / "front", sumdb=refusing) as front:
        machine = prepared(front, tmp_path)
        machine.environment["HTTPS_PROXY"] = "http://127.0.0.1:9"
        output = machine.download(QUERY)
        assert 'Get "https://sum.golang.org/lookup/' in output
        assert front.sumdb.asked == []
        assert machine.codes("--module", QUERY) == ["sumdb-blocked"]
