"""A world and modsync in it, shared by the tests of a module; each test uses a repository of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox import guide
from tests.sandbox.machine import Machine
from tests.sandbox.service import Service
from tests.sandbox.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Platform, GitLab with a runner, proxy; pipelines give up after two seconds, runs after twelve."""
    with World(tmp_path_factory.mktemp("world"), give_up=12, patience=12) as world:
        world.gitlab.set_variable("MODSYNC_WAIT", "2")
        world.gitlab.set_variable("MODSYNC_POLL", "1")
        yield world


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[Service]:
    """modsync's four processes."""
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where a service of the test's own writes."""
    return tmp_path / "logs"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which modsync is installed as docs/deployment.md says; nothing is configured or started on it."""
    with guide.fresh(tmp_path_factory.mktemp("machine")) as machine:
        guide.furnish(machine)
        guide.follow(machine, guide.blocks("### With systemd")[0])
        yield machine


@pytest.fixture
def machine(installed: Machine) -> Iterator[Machine]:
    """The same for one test, which may configure it and start what it likes."""
    host = installed.host("one", *guide.OWN, "/etc/nginx", "/var/log/nginx")
    yield host
    host.stop()
