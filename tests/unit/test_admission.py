"""Patterns of [athens], and the bounds of what questions may begin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.admission import Admission, blocks, covers
from app.domain.modules import ModulePath
from app.services.reconcile_values import Repository
from app.services.wanted import Wanted


@pytest.mark.parametrize(
    ("pattern", "module", "expected"),
    [
        ("go.corp.example", "go.corp.example/a/b", True),
        ("go.corp.example/", "go.corp.example", True),
        ("go.corp.example/a", "go.corp.example/ab", False),
        ("*.corp.example", "go.corp.example/a", True),
        ("*", "go.corp.example/a", True),
        ("*/b", "x/y/b", False),
        ("Example.com", "example.com", False),
        ("example.com/a/b", "example.com/a", False),
    ],
)
def test_patterns_cover_prefixes_by_elements(pattern: str, module: str, expected: bool) -> None:
    assert covers(pattern, module) is expected


def test_blocks_name_versions_or_all() -> None:
    assert blocks("example.com/x", "example.com/x/v2", "v2.0.0")
    assert blocks("example.com/x@v1.2.*", "example.com/x", "v1.2.9")
    assert not blocks("example.com/x@v1.2.*", "example.com/x", "v1.20.0")


def test_a_block_is_stronger_than_allow() -> None:
    admission = Admission(allow=("example.com",), block=("example.com/x@v1.0.0",))
    assert admission.refusal("example.com/x", "v1.0.0") == "blocked"
    assert admission.refusal("example.com/x", "v1.0.1") == ""
    assert admission.refusal("example.org/x", "v1.0.1") == "not_allowed"


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 22, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def chance(self) -> float:
        return 0.5


def _module(name: str) -> ModulePath:
    return ModulePath.parse(f"go.example/{name}")


class World:
    """Everything that Wanted talks to."""

    def __init__(self) -> None:
        self.clock, self.jobs = Clock(), list[str]()
        self.reconciled: datetime | None = None
        self.given: set[str] = set()
        self.noted = ""
        self.wanted = Wanted(self.repository, self, self, self.clock, remember=5, a_minute=3)

    def repository(self, module: ModulePath) -> Repository:
        return Repository(f"mirrors/{module}", "platform", "https://git.example/x.git", reconciled_at=self.reconciled)

    def note(self, repository: Repository) -> None:
        self.noted = repository.mirror

    def give_job(self, mirror: str, job_before: datetime, now: datetime) -> bool:
        new = mirror not in self.given
        self.given.add(mirror)
        return new

    def call(self, function: str, argument: str, job_id: str, lane: str) -> None:
        self.jobs.append(argument)

    def waiting(self, job_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(job_ids)


def test_so_many_a_minute_and_each_once_an_hour() -> None:
    world = World()
    assert [world.wanted.take(_module(name)) for name in ("a", "a", "b", "c", "d")] == [True, False, True, True, False]
    world.clock.time += timedelta(minutes=1)
    assert [world.wanted.take(_module(name)) for name in ("a", "d")] == [False, True]
    world.clock.time += timedelta(hours=1)
    assert world.wanted.take(_module("a"))


def test_what_is_remembered_is_bounded() -> None:
    world = World()
    for name in "abcdefgh":
        world.clock.time += timedelta(minutes=1)
        assert world.wanted.take(_module(name))
    world.clock.time += timedelta(minutes=1)
    assert [world.wanted.take(_module(name)) for name in ("h", "a")] == [False, True]


def test_one_job_for_a_repository_and_none_when_it_was_just_compared() -> None:
    world = World()
    assert [world.wanted.begin(_module("a")), world.wanted.begin(_module("a"))] == [True, False]
    world.reconciled = world.clock.time - timedelta(minutes=59)
    assert not world.wanted.begin(_module("b"))
    world.reconciled = world.clock.time - timedelta(minutes=61)
    assert world.wanted.begin(_module("b"))
    assert world.jobs == ["mirrors/go.example/a", "mirrors/go.example/b"]
