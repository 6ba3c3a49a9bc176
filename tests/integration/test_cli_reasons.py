"""The reason of each acting command reaches the audit log."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

from app import cli_reconcile, upkeep
from app.adapters.access_store import SqlAuditStore
from app.adapters.delivery_store import SqlDeliveryStore
from app.bootstrap import Container
from app.cli import cli
from app.domain.access import Role
from app.domain.pause import PauseKind
from app.services.deliveries import DeliveryFilter
from tests.integration.flow_world import MODULE as FLOW_MODULE
from tests.integration.pages_world import MIRROR, audited
from tests.integration.reconcile_world import ReconcileWorld
from tests.integration.stored import B, Stored
from tests.integration.test_pages_mirrors import a_mirror
from tests.integration.web_world import ENVIRONMENT
from tests.unit.test_audit_table import table

WHY = "INC-4711: caf\N{LATIN SMALL LETTER E WITH ACUTE}"
MODULE = "go.corp.example/team/repo"
# Each with the action of its entry.
COMMANDS = {
    "replay {failed}": "run.replay",
    "replay --failed tag_missing --since 1h --yes": "run.replay",
    "cancel {waits}": "run.cancel",
    f"accept-move {MODULE}@v1.0.0 --commit {B}": "release.move",
    f"mirrors move-source {MIRROR} --to https://git.corp.example/x": "mirror.source",
    "redeliver {delivery}": "delivery.redeliver",
    "pause source platform": "pause",
    "resume all": "resume",
    "sources test platform": "source.test",
    "token create ci": "token.create",
    "token revoke grafana": "token.revoke",
    "login-link alice": "link.create",
}
# They need more: below, and in test_mirrors_check.py.
OTHERS = {"reconcile", "backfill", "mirrors check"}


@pytest.fixture
def ids(container: Container) -> dict[str, str]:
    """What there is to act on, by name."""
    a_mirror(container)
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(
        minutes=5
    )  # it goes on by itself, and what fails after now is not looked at
    done, failed, waits = (stored.release(module=MODULE, version=f"v1.{n}.0").run_id for n in range(3))
    stored.finish(done)
    stored.fail(failed, error="tag_missing")
    delivery = stored.delivery()
    stored.intake.record(delivery, [])
    container.access.create_token("grafana", Role.VIEWER, 1, "test")
    upkeep.pausing(container).pause(PauseKind.ALL, "", "test", "new disks")
    return {"failed": failed, "waits": waits, "delivery": delivery.id}


def run(container: Container, *arguments: str) -> Result:
    path = str(container.settings.path)
    return CliRunner(env={**ENVIRONMENT, "MODSYNC_CONFIG": path}).invoke(cli, list(arguments))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reason_is_kept(container: Container, ids: dict[str, str], command: str) -> None:
    before = len(audited(container, COMMANDS[command]))
    done = run(container, *command.format(**ids).split(), "--reason", WHY)
    entries = audited(container, COMMANDS[command])[before:]
    assert [(each[0].partition(":")[0], each[2]) for each in entries] == [("cli", WHY)], done.output


def test_no_acting_command_is_forgotten() -> None:
    acting = set().union(*table().values())
    tried = {name for name in acting for command in COMMANDS if f"{command} ".startswith(f"{name} ")}
    assert tried | OTHERS == acting


@pytest.mark.parametrize("command", [cli_reconcile.reconcile, cli_reconcile.backfill])
def test_what_is_begun_anew_or_brought_keeps_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: click.Command
) -> None:
    world = ReconcileWorld(tmp_path)
    again = world.take().run_id
    world.settle(again)
    world.proxy.held.clear()
    world.tag("v1.1.0")
    monkeypatch.setattr(cli_reconcile, "open_container", lambda: SimpleNamespace(engine=world.engine))
    monkeypatch.setattr(upkeep, "reconcile", lambda _: world.service())
    done = CliRunner().invoke(command, [FLOW_MODULE, "--reason", WHY, "--json"])
    assert len(json.loads(done.stdout)[0]["runs"]) == 2
    (entry,) = (each for each in SqlAuditStore(world.engine).entries() if each.action == "run.replay")
    assert (entry.object, entry.reason) == (f"run:{again}", f"reconcile: missing_in_proxy; {WHY}")
    found = SqlDeliveryStore(world.engine).list(DeliveryFilter(), None, 10)
    assert [each.message for each in found if each.scheme == "reconcile"] == [
        f"{entry.actor} brings 1 missing versions of mirrors/team/thing; {WHY}"
    ]
