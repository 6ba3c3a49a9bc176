"""Accepted moves on both databases: one transaction, the old run loses the version, its worker the fence."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.adapters.move_store import SqlMoveStore
from app.domain.errors import SyncError
from app.domain.run import Stage, Status
from app.services.moves import MoveOrder
from tests.integration.stored import MODULE, A, B, Stored

ORDER = MoveOrder.parse(MODULE, "v1.0.0", B, "cli:alice", "wrong branch")


def test_the_rejected_run_of_the_new_commit_is_begun_anew(stored: Stored) -> None:
    old = stored.release(A).run_id
    stored.finish(old)
    rejected = stored.release(B).run_id
    assert stored.run(rejected).error == "version_moved"

    receipt = SqlMoveStore(stored.engine).accept(ORDER, stored.plan(B), stored.later())

    assert (receipt.run_id, receipt.job) == (rejected, f"{rejected}-2-1")
    new = stored.run(rejected)
    assert (new.status, new.stage, new.error) == (Status.QUEUED, Stage.MIRROR, None)
    assert new.facts["moved"]["old_commit"] == A
    assert stored.attempts(rejected)[1]["kind"] == "accept-move"
    assert stored.run(old).status is Status.DONE
    assert stored.row(old)["replaced_by"] == rejected


def test_a_run_in_flight_is_superseded_and_its_worker_overtaken(stored: Stored) -> None:
    claim = stored.claim(stored.release(A).run_id)
    receipt = SqlMoveStore(stored.engine).accept(ORDER, stored.plan(B), stored.later())
    with pytest.raises(SyncError) as caught:
        stored.record(claim, Status.PIPELINE, stage=Stage.PIPELINE, pushed=True)
    assert caught.value.code == "overtaken"
    assert stored.run(claim.run.id).error == "superseded"
    assert stored.claim(receipt.run_id).run.commit == B


def test_many_orders_at_once_make_one_attempt(stored: Stored) -> None:
    stored.finish(stored.release(A).run_id)
    store, plans = SqlMoveStore(stored.engine), [stored.plan(B) for _ in range(6)]
    now = stored.later()

    def accept(number: int) -> str:
        try:
            return store.accept(ORDER, plans[number], now).run_id
        except SyncError as error:
            return error.code

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(accept, range(6)))
    (winner,) = {each for each in found if each != "bad_request"}
    assert found.count(winner) == 1
    holder = store.holder(ORDER.module, ORDER.version)
    assert holder is not None
    assert (holder.id, holder.commit) == (winner, B)
