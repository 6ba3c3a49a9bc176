"""What travels in the shared sums is read as it was counted, whatever process and version wrote it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import CATALOG, SyncError
from app.domain.measures import CALLS, DOWNLOADABLE, MEASURES, RETRIES, STAGES, Sums, answered, sums
from app.services.measuring import Tally, share


def read(fields: Mapping[str, int], name: str) -> dict[tuple[str, ...], Sums]:
    return {measure.name: numbers for measure, numbers in sums(fields)}[name]


def test_a_counter_counts_by_labels() -> None:
    tally = Tally()
    for code in ("git_failed", "git_failed", "rate_limited"):
        tally.count(RETRIES, code)
    found = read(tally.take(), RETRIES.name)
    assert {values: each.count for values, each in found.items()} == {("git_failed",): 2, ("rate_limited",): 1}


@given(st.lists(st.floats(min_value=0, max_value=10_000), max_size=50))
def test_a_histogram_has_each_event_in_the_first_bucket_that_holds_it(times: list[float]) -> None:
    tally = Tally()
    for seconds in times:
        tally.time(STAGES, seconds, "mirror", "ok")
    each = read(tally.take(), STAGES.name).get(("mirror", "ok"), Sums())
    bounds = [*STAGES.buckets, float("inf")]
    for bound in bounds:
        upto = sum(number for upper, number in (each.upto or {}).items() if upper <= bound)
        assert upto == sum(seconds <= bound for seconds in times)
    assert each.count == len(times)
    assert each.seconds == pytest.approx(sum(times), abs=1e-6 * (len(times) + 1))


def test_a_time_that_went_back_counts_as_none() -> None:
    fields = dict(DOWNLOADABLE.additions(("live",), -5.0))
    assert read(fields, DOWNLOADABLE.name)[("live",)].seconds == 0


def test_fields_of_another_version_are_left_out_or_fit_in() -> None:
    name = STAGES.name
    fields = {
        "modsync_gone|a|b": 1, f"{name}|mirror|ok|le=0.7": 2, f"{name}|mirror|ok|le=99999": 1, f"{name}|mirror": 3,
        f"{name}|a|b|c|le=1": 1, "": 1, "|||": 4, f"{name}|mirror|ok|newer": 9,
    }  # fmt: skip
    found = read(fields, name)
    assert found == {("mirror", "ok"): Sums(3, 0.0, {1: 2, float("inf"): 1})}


def test_a_label_cannot_break_out_of_its_place() -> None:
    fields = dict(CALLS.additions(("git", "a|b", "fetch", "ok"), 1.0))
    assert list(read(fields, CALLS.name)) == [("git", "a_b", "fetch", "ok")]


@pytest.mark.parametrize(
    ("status", "word"),
    [(200, "ok"), (201, "ok"), (404, "missing"), (410, "missing"), (302, "refused"), (401, "refused"), (422, "refused"),
     (429, "unavailable"), (500, "unavailable"), (503, "unavailable"), (None, "unavailable")],
)  # fmt: skip
def test_statuses_are_outcomes(status: int | None, word: str) -> None:
    assert answered(status) == word


def test_names_and_buckets_are_prometheus() -> None:
    for name, measure in MEASURES.items():
        assert name.startswith("modsync_")
        assert name.endswith("_seconds") == bool(measure.buckets)
        assert list(measure.buckets) == sorted(set(measure.buckets))
    assert not [code for code in CATALOG if "|" in code]


def test_a_child_begins_with_nothing_and_the_parent_keeps_its_own() -> None:
    tally = Tally()
    tally.count(RETRIES, "git_failed")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        tally.count(RETRIES, "rate_limited")
        os.write(writer, repr(tally.take()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 1000).decode() == "{'modsync_retries|rate_limited': 1}"
    os.close(reader)
    os.close(writer)
    assert tally.take() == {"modsync_retries|git_failed": 1}
    assert tally.take() == {}


class Broken:
    """Sums that cannot be had."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def add(self, fields: Mapping[str, int]) -> None:
        self.asked += 1
        raise self.error


@pytest.mark.parametrize("error", [SyncError("queue_unavailable", "away"), ZeroDivisionError()])
def test_sharing_never_fails_a_job_and_never_counts_twice(error: Exception) -> None:
    tally, broken = Tally(), Broken(error)
    share(tally, broken)
    assert broken.asked == 0
    tally.count(RETRIES, "git_failed")
    share(tally, broken)
    share(tally, broken)
    assert broken.asked == 1


def test_the_time_is_what_passed() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    took = (began + timedelta(seconds=2.5) - began).total_seconds()
    assert dict(STAGES.additions(("mirror", "ok"), took)) == {
        "modsync_stage_seconds|mirror|ok|le=2.5": 1,
        "modsync_stage_seconds|mirror|ok|us": 2_500_000,
    }
