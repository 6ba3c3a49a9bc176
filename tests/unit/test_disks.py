"""The disks of all hosts: which want room, and which are shown."""

from __future__ import annotations

import pytest

from app.services.disks import SHOWN, disks, shown
from app.services.standing import HostReport

GB = 1 << 30


def report(free: float, size: float, floor: float = 1, cache: int | None = None) -> HostReport:
    return HostReport(int(free * GB), int(size * GB), int(floor * GB), 0, cache, None)


@pytest.mark.parametrize(
    ("told", "full"),
    [
        (report(50, 100), False), (report(1.9, 10), True), (report(2, 10), False), (report(4.9, 100), True),
        (report(5, 100), False), (report(7, 20, floor=8), True), (report(8, 20, floor=8), False), (report(0, 0), True),
    ],
)  # fmt: skip
def test_a_disk_wants_room_below_two_gigabytes_a_twentieth_or_the_floor(told: HostReport, full: bool) -> None:
    (found,) = disks({"a": told})
    assert found.full is full


def test_the_fullest_come_first_and_those_that_want_room_are_all_shown() -> None:
    hosts = {f"good-{n}": report(30 + n, 100) for n in range(5)}
    found = disks({**hosts, "floor": report(60, 100, floor=70)})
    assert [each.host for each in found] == ["floor", *(f"good-{n}" for n in range(5))]
    assert [each.host for each in shown(found)] == ["floor", "good-0", "good-1"]
    bad = {f"bad-{n}": report(1, 100) for n in range(SHOWN + 2)}
    assert [each.host for each in shown(disks({**hosts, **bad}))] == list(bad)
    assert shown(()) == ()


def test_it_is_said_in_words() -> None:
    (found,) = disks({"worker-1": HostReport(3 * 10**9, 40 * 10**9, 0, 0, 10**9, 1)})
    assert found.text == "3.0 GB free of 40 GB on worker-1, caches take 1.0 GB"
    (found,) = disks({"web-1": HostReport(3 * 10**9, 40 * 10**9, 0, 0)})
    assert found.text == "3.0 GB free of 40 GB on web-1"
