"""Search among runs: each fast way finds what reading all runs finds, with names learnt, in part, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.adapters import run_search
from app.adapters.board_store import SqlBoardStore
from app.adapters.names_store import SqlNames
from app.adapters.read_store import SqlReadStore
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.retention_store import SqlRetentionStore
from app.adapters.tables import modules, runs
from app.domain.modules import ModulePath
from app.domain.run import Status
from app.services.names import Names
from app.services.run_filter import RunFilter
from app.services.views import RunSummary
from tests.integration.stored import ORDER, Stored, StoredClock

HOST = "go.corp.example"
SETTLED = timedelta(minutes=6)  # later than the names' mark stays behind now


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that few runs already take the ways of very many."""
    for name, value in {"_SMALL": 3, "_LARGE": 9, "_WALKED": 4, "_FEW": 2}.items():
        monkeypatch.setattr(run_search, name, value)


@pytest.fixture
def filled(stored: Stored) -> Stored:
    """Runs of six modules, some at the same moment, of two sources, some failed; the last ones after a pause."""
    for number in range(36):
        module = f"{HOST}/{'Team' if number % 2 else 'ops'}/mod{number % 6}"
        source = "gitea" if number % 5 == 0 else "platform"
        run_id = stored.release(f"{number:040x}", f"v1.{number // 6}.0", module=module, source=source).run_id
        if number % 4 == 0:
            stored.fail(run_id, error="tag_missing" if number % 8 else "pipeline_failed")
        stored.later(number % 3)
        if number == 30:
            stored.later(SETTLED.total_seconds())
    stored.release("f" * 40, None, module=f"{HOST}/ops/mod0", ref="main")
    return stored


def learnt(stored: Stored) -> None:
    Names(SqlNames(stored.engine), StoredClock(stored)).all()


def not_learnt(_stored: Stored) -> None:
    """The sweeper never came."""


QUERIES = [
    {}, {"q": "mod3"}, {"q": "MOD3"}, {"q": "team/"}, {"q": HOST}, {"q": "nothing"}, {"q": "v1.2.0"}, {"q": "0000000"},
    {"q": "mod0@v1.3.0"}, {"q": "ops/mod2@v1.1.0"}, {"q": "mod0@v1.3.0", "source": "gitea"}, {"q": f"{HOST}/ops/mod0@main"},
    {"q": f"{HOST}/ops/mod0@v1.3.0"}, {"module": f"{HOST}/ops/*"}, {"module": f"{HOST}/OPS/*"},
    {"module": f"{HOST}/ops/mod2"}, {"module": f"{HOST}/ops/mod2", "q": "mod2"}, {"module": f"{HOST}/ops/*", "q": "mod4"},
    {"status": "failed"}, {"status": "failed,queued"}, {"status": "ended", "q": "ops"}, {"status": "failed", "q": "mod"},
    {"status": "failed", "q": "mod2", "source": "platform"}, {"source": "gitea"}, {"source": "gitea", "status": "failed"},
    {"source": "nobody", "q": "mod"}, {"error": "tag_missing"}, {"error": "tag_missing", "module": f"{HOST}/ops/*"},
    {"mirror": "go-mirrors/platform/log", "q": "ops/mod4"}, {"version": "v1.1.0", "q": "team"}, {"since": "3m", "q": "mod1"},
    {"until": "3m", "q": "mod1"}, {"until": "3m", "status": "failed", "q": "ops"}, {"commit": "0000000", "q": "mod5"},
]  # fmt: skip


@pytest.mark.parametrize("prepare", [learnt, not_learnt])
def test_pages_hold_what_reading_all_runs_finds(filled: Stored, prepare: Callable[[Stored], None]) -> None:
    prepare(filled)
    rows, wrong = everything(filled), []
    for texts in QUERIES:
        wanted = RunFilter.parse(texts, filled.now)
        expected = [each.id for each in rows if matches(each, wanted)]
        wrong += [(texts, size) for size in (5, 50) if list(paged(filled, wanted, size)) != expected]
    assert wrong == []


def everything(stored: Stored) -> list[RunSummary]:
    """All runs, newest first, as the database has them."""
    with stored.engine.connect() as connection:
        ids = connection.execute(select(runs.c.id).order_by(runs.c.created_at.desc(), runs.c.id.desc())).scalars().all()
    found = [SqlReadStore(stored.engine).run(each) for each in ids]
    return [each for each in found if each is not None]


def matches(run: RunSummary, wanted: RunFilter) -> bool:
    """What the filter means, said once more in another way."""
    module = wanted.module or "*"
    return (
        (run.module.startswith(module[:-1]) if module.endswith("*") else run.module == module)
        and (not wanted.status or run.status in wanted.status)
        and wanted.version in (None, run.version) and wanted.source in (None, run.source)
        and wanted.mirror in (None, run.mirror) and wanted.error in (None, run.error and run.error.code)
        and run.commit.startswith(wanted.commit or "")
        and (wanted.since is None or run.created_at >= wanted.since)
        and (wanted.until is None or run.created_at < wanted.until)
        and (wanted.q is None or says(run, wanted.q))
    )  # fmt: skip


def says(run: RunSummary, text: str) -> bool:
    module, at, version = text.rpartition("@")
    if at and "." not in module.partition("/")[0]:
        return module.lower() in run.module.lower() and version == run.version
    if at:
        return run.module == module and version in (run.version, run.ref)
    return text.lower() in run.module.lower() or run.version == text or (len(text) == 7 and run.commit.startswith(text))


def paged(stored: Stored, wanted: RunFilter, size: int) -> Iterator[str]:
    """The ids of all pages."""
    store, after = SqlReadStore(stored.engine), None
    while found := store.runs(wanted, after, size):
        yield from (each.id for each in found)
        after = (found[-1].created_at, found[-1].id)


# --- names --------------------------------------------------------------------------------------------------------


def names(stored: Stored) -> set[str]:
    with stored.engine.connect() as connection:
        return set(connection.execute(select(modules.c.name)).scalars())


def test_names_are_learnt_in_batches_and_those_of_the_last_minutes_again(filled: Stored) -> None:
    store = SqlNames(filled.engine)
    every = {each.module for each in everything(filled)}
    assert store.learn(filled.now, 2) is True
    assert len(names(filled)) == 2
    Names(store, StoredClock(filled)).all()
    assert names(filled) == every
    # A host whose clock is behind: its run appears with a time that was looked at already.
    filled.now -= timedelta(minutes=4)
    filled.release(module=f"{HOST}/late/x")
    filled.now += timedelta(minutes=4)
    Names(store, StoredClock(filled)).all()
    assert names(filled) == {*every, f"{HOST}/late/x"}


def test_a_module_without_runs_is_listed_no_more(filled: Stored) -> None:
    learnt(filled)
    board = SqlBoardStore(filled.engine, StoredClock(filled))
    (only,) = [
        each for each in everything(filled) if each.module == f"{HOST}/ops/mod4" and each.status is Status.FAILED
    ][:1]
    before = [row.module for row in board.modules("", None, 50).items]
    assert before == sorted({each.module for each in everything(filled)})
    filled.later(10)
    for each in everything(filled):
        if each.module == only.module and each.status is not Status.FAILED:
            filled.finish(each.id)
    filled.later(10)
    assert SqlRetentionStore(filled.engine).prune_runs(filled.now, 500) > 0
    assert only.module not in names(filled)
    assert only.module not in {row.module for row in board.modules("", None, 50).items}
    assert names(filled) == {each.module for each in everything(filled)}


def test_a_run_that_gets_another_name_is_found_by_it(filled: Stored) -> None:
    learnt(filled)
    old = next(each for each in everything(filled) if each.status is Status.FAILED)
    filled.ops.replay(old.id, ORDER, None, filled.now, module=ModulePath.parse(f"{HOST}/renamed/x"))
    filled.later(SETTLED.total_seconds())
    assert list(paged(filled, RunFilter(q="renamed/"), 5)) == [old.id]
    assert [
        row.module for row in SqlBoardStore(filled.engine, StoredClock(filled)).modules("renamed", None, 5).items
    ] == [f"{HOST}/renamed/x"]


def test_repositories_are_learnt_with_the_names(filled: Stored) -> None:
    store = SqlRepositoryStore(filled.engine)
    assert store.mirrors(filled.now) == []
    learnt(filled)
    assert store.mirrors(filled.now) == ["go-mirrors/platform/log"]


def test_modules_are_paged_by_name(filled: Stored) -> None:
    learnt(filled)
    filled.release(module=f"{HOST}/ops/new")  # not learnt yet
    board = SqlBoardStore(filled.engine, StoredClock(filled))
    seen, after = [], None
    while True:
        page = board.modules("OPS", after, 2)
        seen += [(row.module.rpartition("/")[2], row.runs) for row in page.items]
        if page.next is None:
            break
        after = page.next
    assert seen == [("mod0", 7), ("mod2", 6), ("mod4", 6), ("new", 1)]


def test_the_releases_of_one_delivery_are_all_found_page_by_page(stored: Stored) -> None:
    """All have one time; each module's newest run is as new as every other's."""
    together = [stored.plan(f"{number:040x}", module=f"{HOST}/mono/m{number:02d}") for number in range(30)]
    stored.deliver(*together)
    stored.later(1)
    for number in range(20):
        stored.release(f"{number + 100:040x}", f"v1.{number}.0", module=f"{HOST}/other")
    stored.later(SETTLED.total_seconds())
    learnt(stored)
    for wanted in ({"q": "mono/"}, {"module": f"{HOST}/mono/*"}):
        seen, cursor = list[str](), None
        while True:
            page = SqlReadStore(stored.engine, StoredClock(stored)).runs(
                RunFilter.parse(wanted, stored.now), cursor, 7
            )  # fmt: skip
            seen += [each.id for each in page]
            if len(page) < 7:
                break
            cursor = (page[-1].created_at, page[-1].id)
        assert sorted(seen) == sorted(each.id for each in together), wanted
