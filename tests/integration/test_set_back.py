"""A clock that is set back: what was written before must not make runs wait as long."""

from datetime import timedelta

import pytest

from app.adapters.mirror_store import SqlMirrorStore
from app.adapters.set_back_store import SqlSetBackStore
from app.domain.run import Stage, Status
from app.services.set_back import SetBack
from tests.integration.stored import TARGET, Stored, StoredClock

LEASE = 10.0
HOUR = 3600


@pytest.fixture
def set_back(stored: Stored) -> SetBack:
    return _set_back(stored)


def _set_back(stored: Stored) -> SetBack:
    return SetBack(SqlSetBackStore(stored.engine), StoredClock(stored), LEASE)


def test_a_run_of_before_is_due_and_nobodys(stored: Stored, set_back: SetBack) -> None:
    queued, held = stored.release(version="v1.0.0").run_id, stored.release(version="v1.0.1").run_id
    stored.claim(held)
    stored.later(-HOUR)
    assert stored.flow.claim(held, "worker-2", stored.now, LEASE) is None
    assert set_back.once() == 2
    stored.later(1)
    assert {run.id for run in stored.sweep.due(stored.now, stored.now, 10)} == {queued, held}
    assert stored.flow.claim(held, "worker-2", stored.now, LEASE)
    assert stored.flow.claim(queued, "worker-2", stored.now, LEASE)
    assert _set_back(stored).once() == 0


def test_a_job_of_before_is_missed_when_redis_has_lost_it(stored: Stored, set_back: SetBack) -> None:
    run = stored.release().run_id
    stored.later(-HOUR)
    set_back.once()
    stored.later(5)
    assert [each.id for each in stored.sweep.due(stored.now, stored.now - timedelta(seconds=4), 10)] == [run]


def test_a_pause_that_is_meant_stays(stored: Stored, set_back: SetBack) -> None:
    claim = stored.claim(stored.release().run_id)
    due = stored.now + timedelta(hours=6)
    stored.record(claim, Status.MIRROR, stage=Stage.MIRROR, error="rate_limited", due_at=due)
    assert set_back.once() == 0
    assert stored.row(claim.run.id)["due_at"] == due


def test_a_little_difference_between_hosts_is_left_alone(stored: Stored, set_back: SetBack) -> None:
    run = stored.release().run_id
    stored.claim(run)
    before = stored.row(run)
    stored.later(-59)
    assert set_back.once() == 0
    assert stored.row(run) == before


def test_a_mirror_of_before_is_nobodys(stored: Stored, set_back: SetBack) -> None:
    mirrors = SqlMirrorStore(stored.engine)
    assert mirrors.lease_mirror(TARGET.mirror, "worker-1", stored.now, LEASE)
    stored.later(-HOUR)
    assert mirrors.lease_mirror(TARGET.mirror, "worker-2", stored.now, LEASE) is None
    assert set_back.once() == 1
    assert mirrors.lease_mirror(TARGET.mirror, "worker-2", stored.later(1), LEASE)


def test_it_looks_twice_a_minute(stored: Stored) -> None:
    ticks = iter([0.0, 0.0, 29.0, 31.0, 31.0])
    looking = SetBack(SqlSetBackStore(stored.engine), StoredClock(stored), LEASE, lambda: next(ticks))
    found = []
    for version in ("v1.0.0", "v1.0.1", "v1.0.2"):
        stored.later(HOUR)
        stored.release(version=version)
        stored.later(-HOUR)
        found.append(looking.once())
    assert found == [1, 0, 2]
