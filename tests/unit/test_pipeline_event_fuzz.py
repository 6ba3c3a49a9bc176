"""Whatever GitLab, or somebody in its place, sends as a pipeline event: an event of ours or none, and never an exception."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.ids import parse_job_id
from app.domain.pipeline_event import ENDED, PipelineEnded, parse_event
from app.domain.webhook import Secret
from app.services.pipeline_hook import PipelineHook
from tests.integration.flow_world import FakeClock, FakeQueue
from tests.unit.test_intake_fuzz import anything, json_values, places, quick
from tests.unit.test_pipeline_event import RUN, body

SECRET = "a-secret-of-the-hook"
LARGEST = 2**63 - 1  # what a database's number can be
likely = st.one_of(
    json_values,
    st.sampled_from(sorted(ENDED)),
    st.sampled_from([f"modsync {RUN}-1", f"{RUN}-1", f"modsync {RUN}-{'9' * 40}", 2**63, 2**70, -1]),
    st.lists(st.fixed_dictionaries({"key": st.just("MODSYNC_RUN"), "value": json_values}), max_size=2),
)


class Wakes:
    """Knows no run; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[PipelineEnded] = []

    def wake(self, event: PipelineEnded, now: datetime) -> None:
        self.asked.append(event)


def legal(event: PipelineEnded | None) -> None:
    if event is None:
        return
    assert event.status in ENDED
    assert parse_job_id(f"{event.run}-1-1") is not None
    assert 0 < event.project <= LARGEST
    assert 0 < event.pipeline <= LARGEST


@quick
@given(st.dictionaries(st.one_of(st.sampled_from(sorted(body())), anything), json_values, max_size=6))
def test_anything(given_body: dict[str, Any]) -> None:
    legal(parse_event(given_body))


@settings(quick, max_examples=600)
@given(st.data())
def test_a_real_event_with_changed_places(data: st.DataObject) -> None:
    changed = copy.deepcopy(body())
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(places(changed)))
        holder[key] = data.draw(likely)
    legal(parse_event(changed))


@pytest.mark.parametrize("status", [[], {}, ["success"], {"success": 1}])
def test_a_status_that_is_no_word_is_no_event(status: object) -> None:
    assert parse_event(body(status=status)) is None


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**40])
def test_a_number_that_no_pipeline_has_is_no_event(number: int) -> None:
    assert parse_event(body(id=number)) is None
    assert parse_event({**body(), "project": {"id": number}}) is None


@quick
@given(st.one_of(st.binary(max_size=300), json_values.map(lambda value: json.dumps(value).encode())))
def test_any_signed_bytes(raw: bytes) -> None:
    """GitLab disables hooks that answer 4xx or 5xx: what has its token is never refused."""
    clock, wakes = FakeClock(datetime(2026, 1, 1, tzinfo=UTC)), Wakes()
    hook = PipelineHook([Secret("one", SECRET.encode())], wakes, FakeQueue(), clock)
    assert hook.receive({"X-Gitlab-Token": SECRET}, raw) is None
