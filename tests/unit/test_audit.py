"""The audit log's chain: any change, gap or reordering shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.audit import GENESIS, Entry, Kept, verify, verify_kept
from app.domain.errors import SyncError

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
    told = verify_kept([*log[:3], again], Kept(4, log[3].hash))  # ... but not to a hash that was kept
    assert (told[0], told[2] and told[2].number) == (3, 4)


@given(length=st.integers(1, 8), data=st.data())
def test_entries_that_were_cut_off_show_by_what_was_kept(length: int, data: st.DataObject) -> None:
    log = chain(length)
    at = data.draw(st.integers(0, length))
    kept = Kept.parse(str(Kept(at, log[at - 1].hash if at else GENESIS)))
    assert verify_kept(log, kept) == (length, log[-1].hash, None)
    left = data.draw(st.integers(0, length))
    fault = verify_kept(log[:left], kept)[2]
    assert (fault is None) == (left >= at)
    assert verify_kept(log, Kept(length + 1, log[-1].hash))[2] is not None


def test_another_fault_before_the_kept_entry_is_told_first() -> None:
    log = chain(4)
    log[1] = replace(log[1], reason="changed")
    count, _, fault = verify_kept(log, Kept(4, log[3].hash))
    assert (count, fault and fault.number) == (1, 2)


@pytest.mark.parametrize(
    "text", ["", "3", "3:", ":" + "a" * 64, "x:" + "a" * 64, "3:" + "A" * 64, "-1:" + "a" * 64, "3:ab"]
)
def test_what_is_no_kept_entry_is_refused(text: str) -> None:
    with pytest.raises(SyncError, match="bad_request"):
        Kept.parse(text)
