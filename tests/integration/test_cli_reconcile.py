"""`modsync reconcile --all`: progress without a terminal, what was compared is told when it breaks off, and it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app import cli_reconcile, upkeep
from app.cli_reconcile import reconcile
from app.domain.errors import SyncError
from app.services.reconcile import Order, Reconcile
from app.services.reconcile_values import Report
from tests.integration.reconcile_world import ReconcileWorld


class Breaks:
    """Reconcile, whose database is away from the second comparison on."""

    def __init__(self, service: Reconcile) -> None:
        self._service, self._left = service, 1

    def by_mirror(self, mirror: str, order: Order) -> Report:
        if not self._left:
            raise SyncError("store_unavailable", "the database is away")
        self._left -= 1
        return self._service.by_mirror(mirror, order)


@pytest.fixture
def world(tmp_path: Path) -> ReconcileWorld:
    made = ReconcileWorld(tmp_path)
    for number in range(3):
        made.take(f"v0.{number}.0", mirror=f"mirrors/team/{number}")
    made.learn()
    return made


Asked = Callable[..., Result]


@pytest.fixture
def asked(world: ReconcileWorld, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The command in this process, over the world's doubles; one comparison at a time."""
    parts = SimpleNamespace(engine=world.engine, clock=world.clock)
    monkeypatch.setattr(cli_reconcile, "open_container", lambda: parts)
    monkeypatch.setattr(cli_reconcile, "actor", lambda: "cli:me")
    monkeypatch.setattr(cli_reconcile, "_PARALLEL", 1)
    monkeypatch.setattr(upkeep, "unknown_mirrors", lambda _: world.unknown())

    def ask(*arguments: str, service: Any = None) -> Result:
        monkeypatch.setattr(upkeep, "reconcile", lambda _: service or world.service())
        return CliRunner().invoke(reconcile, ["--all", "--json", *arguments])

    return ask


def test_progress_is_told_without_a_terminal(asked: Asked) -> None:
    done = asked()
    assert done.stderr.splitlines() == [f"reconcile: {number} of 3 repositories compared" for number in (1, 2, 3)]
    assert len(json.loads(done.stdout)) == 3


def test_one_that_broke_off_tells_what_it_compared_and_goes_on(world: ReconcileWorld, asked: Asked) -> None:
    broken = asked(service=Breaks(world.service()))
    assert isinstance(broken.exception, SyncError)
    (first,) = json.loads(broken.stdout)

    world.clock.advance(60)
    known = {f"mirrors/team/{number}" for number in range(3)}
    rest = {report["mirror"] for report in json.loads(asked("--older-than", "1").stdout)}
    assert known - rest == {first["mirror"]}
    world.clock.advance(7200)
    assert known <= {report["mirror"] for report in json.loads(asked("--older-than", "1").stdout)}
