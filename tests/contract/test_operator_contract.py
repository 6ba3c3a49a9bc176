"""What an operator asks and does is the same on the server and over the API: one suite for both."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from werkzeug.serving import make_server

from app import create_app
from app.adapters.api_session import ApiSession, Server
from app.adapters.operator_http import HttpOperator
from app.bootstrap import Container
from app.domain import audit
from app.domain.access import Role
from app.domain.errors import SyncError
from app.domain.pause import PauseKind
from app.domain.run import Stage, Status
from app.operator_local import LocalOperator
from app.services.level import Kind
from app.services.mirror_source import SourceMoved
from app.services.operator import Operator
from app.services.rehearsal import Sample
from tests.integration.databases import migrated_sqlite
from tests.integration.gitlab_helpers import connect
from tests.integration.pages_world import MIRROR, NOW
from tests.integration.stored import MODULE, B, Stored
from tests.integration.test_pages_mirrors import FOUND, a_mirror, compared, place
from tests.integration.web_world import release, signed, write_settings
from tests.sandbox.gitlab import GitLab

__all__ = ["migrated_sqlite"]
UNKNOWN = "r" + "0" * 19


@pytest.fixture
def container(tmp_path: Path, migrated_sqlite: Path) -> Container:
    copy = shutil.copyfile(migrated_sqlite, tmp_path / "modsync.db")
    return Container(write_settings(tmp_path, DATABASE_URL=f"sqlite:///{copy}"))


@pytest.fixture
def stored(container: Container) -> Stored:
    return Stored(container.engine)


@pytest.fixture
def local(container: Container) -> Operator:
    return LocalOperator(container, "cli:alice")


@pytest.fixture
def remote(container: Container) -> Iterator[Operator]:
    with opened(container, "remote") as operator:
        yield operator


@contextmanager
def opened(container: Container, mode: str) -> Iterator[Operator]:
    """One of both, for as long as the block lasts."""
    if mode == "local":
        yield LocalOperator(container, "cli:alice")
        return
    secret, _ = container.access.create_token("alice", Role.ADMIN, 1, "cli:test")
    server = make_server("127.0.0.1", 0, create_app(container), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield HttpOperator(ApiSession(Server(f"http://127.0.0.1:{server.server_port}", SecretStr(secret))))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=["local", "remote"])
def operator(request: pytest.FixtureRequest) -> Operator:
    found: Operator = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def known(stored: Stored, container: Container) -> dict[str, str]:
    """A done run, a failed one, one that waits, and a delivery that is refused; all of them just now."""
    stored.now = container.clock.now() - timedelta(minutes=1)
    done, failed, waits = (stored.release(version=f"v1.{n}.0").run_id for n in range(3))
    stored.finish(done)
    stored.fail(failed, pushed=True)
    return {"done": done, "failed": failed, "waits": waits, "delivery": _delivered(container)}


def _delivered(container: Container) -> str:
    raw = release(version="v9.0.0")
    return container.intake.receive("platform", signed(raw), raw).delivery


def _code(ask: Callable[[], object]) -> str:
    with pytest.raises(SyncError) as caught:
        ask()
    return caught.value.code


def test_both_see_the_same(local: Operator, remote: Operator, known: dict[str, str]) -> None:
    def seen(by: Operator) -> list[object]:
        first = by.runs({}, None, 2)
        return [
            first, by.runs({}, first.next, 2), by.runs({"status": "failed", "module": MODULE}, None, 5),
            *(by.run(known[name]) for name in ("done", "failed", "waits")), by.run(f"{known['failed']}-1-1"),
            by.explain(MODULE, "v1.0.0"), by.explain("elsewhere.example/x", None), by.modules("", None, 1),
            by.modules("platform", None, 9), by.mirrors("", None, 9), by.failures("2026-01-01"), by.pauses(), by.sources(),
            replace(by.plan_replays("pipeline_failed", "2026-01-01", None, 5), until=None),
            by.deliveries({"source": "platform"}, None, 2), by.delivery(known["delivery"]),
            by.reconciled("", None, 5, people=False),
        ]  # fmt: skip

    for here, there in zip(seen(local), seen(remote), strict=True):
        assert here == there
    assert local.runs({}, None, 2).next
    assert local.run(known["done"]).facts.go_sum


def test_what_reconcile_found(operator: Operator, container: Container) -> None:
    compared(container, MIRROR, reconciled_at=NOW, result=FOUND)
    compared(container, "go-mirrors/a/good", reconciled_at=NOW, result={"tags": 3})
    away = {"code": "git_failed", "message": "no answer"}
    compared(container, "go-mirrors/b/away", error="git_failed", result={"error": away})
    first = operator.reconciled("", None, 2, people=False)
    assert ([each.mirror for each in first.items], first.next) == (
        ["go-mirrors/a/good", "go-mirrors/b/away"], "go-mirrors/b/away",
    )  # fmt: skip
    assert [each.mirror for each in operator.reconciled("", first.next, 2, people=False).items] == [MIRROR]
    people = operator.reconciled("", None, 5, people=True).items
    assert [each.mirror for each in people] == ["go-mirrors/b/away", MIRROR]
    assert people[0].error is not None
    assert (people[0].error.code, people[0].error.message) == ("git_failed", "no answer")
    (one,) = operator.reconciled(MIRROR, None, 5, people=False).items
    assert (one.counts, list(one.findings)) == (FOUND["counts"], FOUND["findings"])
    assert operator.reconciled("go-mirrors/a/good", None, 5, people=True).items == ()
    assert _code(lambda: operator.reconciled("no/such", None, 5, people=False)) == "not_found"


def test_how_things_stand(operator: Operator, known: dict[str, str]) -> None:
    found = operator.now(10)
    assert found.counts.runs[Status.FAILED] == 1
    assert [run.id for run in found.failed] == [known["failed"]]
    assert known["waits"] in {run.id for run in found.waiting}


def test_health_level_and_reconcile_are_told_like_on_the_first_page(
    operator: Operator, known: dict[str, str], container: Container
) -> None:
    compared(container, MIRROR, reconciled_at=NOW, result=FOUND)
    found = operator.now(10)
    marks = {each.name: (each.state, each.text) for each in found.marks}
    assert set(marks) == {"Database", "Redis", "Disk", "GitLab", "Proxy default", "GitLab token"}
    assert (marks["Database"], marks["Redis"]) == (("ok", "answers"), ("bad", "does not answer"))
    assert marks["GitLab"] == ("ok", "answered the last run that asked")
    assert next(each.at for each in found.marks if each.name == "GitLab") is not None
    assert [(each.title, each.share, len(each.buckets)) for each in found.levels] == [
        ("Last 24 hours", 0.5, 24), ("Last 30 days", 0.5, 30),
    ]  # fmt: skip
    assert found.levels[0].counts[Kind.QUICK] == 1
    assert sum(each.get(Kind.FAILED, 0) for each in found.levels[1].buckets) == 1
    assert found.reconcile is not None
    assert (found.reconcile.counts, found.reconcile.people[0].mirror) == (FOUND["counts"], MIRROR)


def test_the_clock_is_the_servers(operator: Operator, container: Container) -> None:
    assert abs((operator.clock() - container.clock.now()).total_seconds()) < 60


def test_what_is_not_there(operator: Operator, known: dict[str, str]) -> None:
    assert _code(lambda: operator.run(UNKNOWN)) == "not_found"
    assert _code(lambda: operator.run("../../x y?z#")) == "not_found"
    assert _code(lambda: operator.delivery("nothing")) == "not_found"
    assert _code(lambda: operator.cancel(UNKNOWN)) == "not_found"
    assert _code(lambda: operator.replay(UNKNOWN, None, "", False)) == "not_found"
    assert _code(lambda: operator.redeliver("nothing")) == "not_found"
    assert _code(lambda: operator.resume(PauseKind.ALL, "")) == "not_found"


def test_wrong_questions_name_their_field(operator: Operator) -> None:
    for ask, field in (
        (lambda: operator.runs({"since": "yesterday"}, None, 5), "since"),
        (lambda: operator.runs({"status": "lost"}, None, 5), "status"),
        (lambda: operator.runs({}, "nonsense", 5), "cursor"),
        (lambda: operator.runs({}, None, 501), "limit"),
        (lambda: operator.deliveries({"verdict": "maybe"}, None, 5), "verdict"),
        (lambda: operator.explain("not a module", None), "module"),
        (lambda: operator.failures("soon"), "since"),
        (lambda: operator.pause(PauseKind.MODULE, "", ""), "value"),
    ):
        with pytest.raises(SyncError) as caught:
            ask()
        assert (caught.value.code, field in caught.value.message) == ("bad_request", True), field


def test_a_replay(operator: Operator, known: dict[str, str], stored: Stored) -> None:
    begun = operator.replay(f"{known['failed']}-1-1", Stage.MIRROR, "the runner is back", False)
    assert (begun.run, begun.status, begun.job) == (known["failed"], Status.QUEUED, f"{known['failed']}-2-1")
    attempt = stored.attempts(known["failed"])[1]
    assert (attempt["reason"], attempt["from_stage"]) == ("the runner is back", "mirror")
    assert attempt["actor"].endswith(":alice")
    assert _code(lambda: operator.replay(known["failed"], None, "", False)) == "still_running"
    assert _code(lambda: operator.replay(known["done"], None, "", False)) == "already_done"
    assert operator.replay(known["done"], Stage.VERIFY, "", True).job == f"{known['done']}-2-1"


def test_a_replay_of_many(operator: Operator, known: dict[str, str]) -> None:
    plan = operator.plan_replays("pipeline_failed", "2026-01-01", None, 1)
    assert ([run.id for run in plan.runs], plan.refused, plan.next) == ([known["failed"]], {}, None)
    first, second = operator.replay_many([known["failed"], known["done"]], "all of them")
    assert (first.job, first.error) == (f"{known['failed']}-2-1", None)
    assert second.job is None
    assert second.error is not None
    assert second.error.code == "already_done"


def test_a_plan_goes_on_behind_those_that_todays_rules_refuse(
    operator: Operator, stored: Stored, known: dict[str, str]
) -> None:
    refused, taken = (stored.release(module=f"{host}/team/x").run_id for host in ("gone.example", "go.corp.example"))
    for run in (refused, taken):
        stored.fail(run, error="tag_missing")
    first = operator.plan_replays("tag_missing", "2026-01-01", None, 1)
    assert ([run.id for run in first.runs], first.begun) == ([refused], ())
    assert (first.refused[refused].code, first.refused[refused].retry) == ("no_rule", "never")
    second = operator.plan_replays("tag_missing", "2026-01-01", first.next, 1)
    assert ([run.id for run in second.begun], second.refused, second.next) == ([taken], {}, None)
    assert _code(lambda: operator.plan_replays("tag_missing", "2026-01-01", "nonsense", 1)) == "bad_request"


def _why(container: Container, action: str) -> str:
    """The reason of the newest entry of this action."""
    return [each.reason for each in container.audit.entries() if each.action == action][-1]


def test_a_cancelled_run(operator: Operator, container: Container, known: dict[str, str], stored: Stored) -> None:
    done = operator.cancel(f"{known['waits']}-1-1", "tagged by mistake")
    assert _why(container, "run.cancel") == "tagged by mistake"
    assert (done.run, done.name, done.status) == (known["waits"], f"{MODULE}@v1.2.0", Status.FAILED)
    assert stored.run(known["waits"]).error == "cancelled"
    assert _code(lambda: operator.cancel(known["waits"])) == "already_ended"


def test_a_moved_version(operator: Operator, known: dict[str, str], stored: Stored) -> None:
    begun = operator.accept_move(MODULE, "v1.0.0", B, "the tag was on the wrong branch")
    assert stored.run(begun.run).commit == B
    assert begun.job == f"{begun.run}-1-1"
    assert _code(lambda: operator.accept_move(MODULE, "v1.1.0", "nonsense", "why")) == "bad_request"


def test_a_repository_that_moved(operator: Operator, container: Container) -> None:
    a_mirror(container)
    to = "https://git.corp.example/moved/log"
    assert operator.move_source(MIRROR, f"{to}.git", "a new place") == SourceMoved(MIRROR, None, to)
    assert _why(container, "mirror.source") == "a new place"
    assert [each.source_url for each in operator.mirrors("", None, 5).items] == [to]
    for mirror, url, why in ((MIRROR, to, "again"), (MIRROR, "nonsense", "why"), (MIRROR, f"{to}2", "")):
        assert _code(lambda mirror=mirror, url=url, why=why: operator.move_source(mirror, url, why)) == "bad_request"  # type: ignore[misc]
    assert _code(lambda: operator.move_source("no/such", to, "why")) == "not_found"


def test_a_redelivery(operator: Operator, container: Container, known: dict[str, str]) -> None:
    again = operator.redeliver(known["delivery"], "the rule is there now")
    assert _why(container, "delivery.redeliver") == "the rule is there now"
    assert (again.delivery, len(again.runs), again.ignored) == (known["delivery"], 1, None)
    run = again.runs[0]
    assert (run.status, run.job) == (Status.QUEUED, None)


def test_a_pause(operator: Operator, container: Container) -> None:
    assert operator.pause(PauseKind.MODULE, "go.corp.example/*", "GitLab is upgraded") is True
    assert operator.pause(PauseKind.MODULE, "go.corp.example/*", "again") is False
    (pause,) = operator.pauses().pauses
    assert (pause.name, pause.reason) == ("module go.corp.example/*", "GitLab is upgraded")
    assert pause.actor.endswith(":alice")
    assert operator.resume(PauseKind.MODULE, "go.corp.example/*", "it is back") == 0
    assert _why(container, "resume") == "it is back"
    assert operator.pauses().pauses == ()


def test_a_source_is_tested_and_nothing_recorded(operator: Operator, container: Container, stored: Stored) -> None:
    found = operator.test_source("platform", Sample("", ""), "a new secret")
    assert (found.verdict, found.error, all(step.good for step in found.steps)) == ("accepted", None, True)
    assert found.steps[0].what == "secret one"
    assert _code(lambda: operator.test_source("platform", Sample("elsewhere.example/x", "v1.0.0"))) == "bad_request"
    told = [each for each in container.audit.entries() if each.action == "source.test"]
    assert [(each.object, each.actor.endswith(":alice")) for each in told] == [("source:platform", True)]
    assert told[0].reason == "a new secret"
    assert told[0].after["verdict"] == "accepted"
    assert operator.runs({}, None, 5).items == ()
    assert _code(lambda: operator.test_source("nobody", Sample("", ""))) == "not_found"


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("go-mirrors")
        connect(server).ensure_project(MIRROR)
        yield server


@pytest.fixture
def with_gitlab(tmp_path: Path, gitlab: GitLab) -> Container:
    return place(tmp_path, gitlab.url, gitlab.create_token())


@pytest.mark.parametrize("mode", ["local", "remote"])
def test_a_mirror_is_checked_and_mended(with_gitlab: Container, gitlab: GitLab, mode: str) -> None:
    with opened(with_gitlab, mode) as operator:
        assert operator.check_mirror(MIRROR).good
        gitlab.project(MIRROR).protected_tags.pop("*/v*")
        what = "protected tags */v*"
        assert [each.what for each in operator.check_mirror(MIRROR).drift] == [what]
        done = operator.mend_mirror(MIRROR, "somebody was too quick")
        assert (done.good, [each.what for each in done.mended]) == (True, [what])
    assert "*/v*" in gitlab.project(MIRROR).protected_tags
    (kept,) = (each for each in with_gitlab.audit.entries() if each.action == "mirror.mend")
    assert (kept.object, kept.reason) == (f"mirror:{MIRROR}", "somebody was too quick")
    assert kept.actor.endswith(":alice")


def test_the_audit_log_can_be_verified_from_afar(
    operator: Operator, container: Container, known: dict[str, str]
) -> None:
    for number in range(3):
        operator.pause(PauseKind.HOST, f"s{number}", "why")
    entries = list(operator.audit(0))
    assert entries == list(container.audit.entries())
    assert audit.verify(entries)[2] is None
    assert list(operator.audit(entries[0].number)) == entries[1:]
