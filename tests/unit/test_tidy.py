"""Which of RQ's jobs are ghosts, and that two looks are needed to forget one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.ids import CallId, JobId
from app.domain.run import Status
from app.services.tidy import Place, RunState, Tidy, is_ghost

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RUN = "r" + "0" * 19
JOB = JobId(RUN, 1, 1)
AT_WORK = RunState(Status.MIRROR, 1, str(JOB), None, NOW + timedelta(seconds=5))
FAILED = RunState(Status.FAILED, 1, str(JOB), None, None)


@pytest.mark.parametrize(
    ("place", "run", "ghost"),
    [
        ("taken", AT_WORK, False),
        ("taken", replace(AT_WORK, job_at=NOW, lease_until=None), False),  # just taken, not yet claimed
        ("taken", replace(AT_WORK, lease_until=NOW - timedelta(seconds=1)), True),  # its worker is dead
        ("taken", replace(AT_WORK, job=f"{RUN}-1-2"), True),  # another job was given
        ("taken", replace(AT_WORK, status=Status.DONE), True),
        ("taken", None, True),
        ("failed", FAILED, False),
        ("failed", replace(FAILED, status=Status.REJECTED), False),
        ("failed", AT_WORK, True),  # the job's process was killed, the run went on
        ("failed", replace(FAILED, attempt=2), True),  # it was replayed
        ("failed", replace(FAILED, status=Status.DONE), True),
        ("failed", None, True),
    ],
)
def test_ghosts(place: Place, run: RunState | None, ghost: bool) -> None:
    assert is_ghost(JOB, place, run, NOW) is ghost


@dataclass
class Lists:
    jobs: dict[str, Place]
    forgotten: list[str] = field(default_factory=list)
    at: dict[str, datetime] = field(default_factory=dict)

    def held(self) -> Mapping[str, Place]:
        return dict(self.jobs)

    def begun(self, job_ids: Sequence[str]) -> Mapping[str, datetime]:
        return {job: self.at[job] for job in job_ids if job in self.at}

    def forget(self, job_ids: Sequence[str]) -> None:
        self.forgotten += job_ids
        for job in job_ids:
            del self.jobs[job]


@dataclass
class States:
    known: dict[str, RunState]

    def states(self, run_ids: Sequence[str]) -> Mapping[str, RunState]:
        return {run: self.known[run] for run in run_ids if run in self.known}


class Clock:
    def now(self) -> datetime:
        return NOW

    def chance(self) -> float:
        return 0.5


def test_a_ghost_is_forgotten_at_the_second_look_and_what_is_not_ours_is_left_alone() -> None:
    lists = Lists({str(JOB): "taken", "somebody-elses": "failed"})
    tidy = Tidy(States({RUN: replace(AT_WORK, status=Status.DONE)}), lists, Clock())

    assert tidy.once() == 0
    assert tidy.once() == 1
    assert lists.forgotten == [str(JOB)]
    assert lists.jobs == {"somebody-elses": "failed"}


@pytest.mark.parametrize(
    ("place", "age", "spent"),
    [
        ("failed", timedelta(minutes=59), False), ("failed", timedelta(minutes=61), True),
        ("taken", timedelta(minutes=119), False), ("taken", timedelta(minutes=121), True),
    ],
)  # fmt: skip
def test_calls_that_are_no_run_s_go_by_their_age(place: Place, age: timedelta, spent: bool) -> None:
    lists = Lists({str(CallId.of("mirrors/team/thing", NOW - age)): place, "reconcile-by-hand": "failed"})
    tidy = Tidy(States({}), lists, Clock())
    assert [tidy.once(), tidy.once()] == [0, int(spent)]
    assert "reconcile-by-hand" in lists.jobs


@pytest.mark.parametrize(("worked", "spent"), [(timedelta(minutes=119), False), (timedelta(minutes=121), True)])
def test_a_call_that_waited_for_long_has_its_two_hours_from_when_it_was_begun(worked: timedelta, spent: bool) -> None:
    job = str(CallId.of("mirrors/team/thing", NOW - timedelta(hours=9)))
    lists = Lists({job: "taken"}, at={job: NOW - worked})
    tidy = Tidy(States({}), lists, Clock())
    assert [tidy.once(), tidy.once()] == [0, int(spent)]


def test_a_job_that_only_looked_like_a_ghost_is_kept() -> None:
    lists, states = Lists({str(JOB): "taken"}), States({RUN: replace(AT_WORK, lease_until=None)})
    tidy = Tidy(states, lists, Clock())

    assert tidy.once() == 0
    states.known[RUN] = AT_WORK
    assert tidy.once() == 0
    states.known[RUN] = replace(AT_WORK, lease_until=None)
    assert tidy.once() == 0
    assert lists.forgotten == []
