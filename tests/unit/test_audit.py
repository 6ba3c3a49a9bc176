"""The audit log's chain: any change, gap or reordering shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.audit import GENESIS, Entry, verify

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


CHANGES: list[dict[str, Any]] = [
    {"actor": "mallory"},
    {"reason": ""},
    {"after": {"attempt": 99}},
    {"object": "run:x"},
    {"at": START},
    {"action": "x"},
]


def chain(length: int) -> list[Entry]:
    entries: list[Entry] = []
    previous = GENESIS
    for number in range(1, length + 1):
        entry = Entry(
            number, START + timedelta(seconds=number), f"cli:{number}", "run.replay", f"run:{number}", "why",
            {"status": "failed"}, {"attempt": number}, previous,
        ).sealed()  # fmt: skip
        entries.append(entry)
        previous = entry.hash
    return entries


def test_an_untouched_log_is_right() -> None:
    log = chain(5)
    assert verify(log) == (5, log[-1].hash, None)
    assert verify([]) == (0, GENESIS, None)


@given(length=st.integers(2, 8), data=st.data())
def test_a_changed_field_shows(length: int, data: st.DataObject) -> None:
    log = chain(length)
    at = data.draw(st.integers(0, length - 1))
    changes: dict[str, Any] = data.draw(st.sampled_from(CHANGES))
    log[at] = replace(log[at], **changes)
    count, _, fault = verify(log)
    assert count == at
    assert fault is not None
    assert fault.number == at + 1


@given(length=st.integers(3, 8), data=st.data())
def test_a_gap_and_a_changed_order_show(length: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, length - 2))
    gap = chain(length)
    del gap[at]
    assert verify(gap)[2] is not None
    swapped = chain(length)
    swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
    assert verify(swapped)[2] is not None


def test_a_log_made_anew_from_some_point_shows_by_the_last_hash_kept_elsewhere() -> None:
    log = chain(4)
    again = replace(log[3], reason="another", hash="").sealed()
    assert verify([*log[:3], again])[2] is None  # whoever can write everything can do this ...
    assert verify([*log[:3], again])[1] != log[3].hash  # ... but not to a hash that was exported
