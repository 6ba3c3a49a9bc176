"""The service level's drawing: what counts, and where the bars stand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.services.level import Kind, LevelRow, begin, level

NOW = datetime(2026, 11, 22, 21, 40, 17, 5, tzinfo=UTC)


def test_the_last_bucket_is_the_one_of_now() -> None:
    assert begin(NOW, 3600, 24) == datetime(2026, 11, 21, 22, tzinfo=UTC)
    assert begin(NOW, 86400, 30) == datetime(2026, 10, 24, tzinfo=UTC)
    assert begin(datetime(2026, 11, 22, 22, tzinfo=UTC), 3600, 1) == datetime(2026, 11, 22, 22, tzinfo=UTC)


def rows(*counts: tuple[int, Kind, int]) -> list[LevelRow]:
    first = int(begin(NOW, 3600, 24).timestamp()) // 3600
    return [LevelRow(first + at, kind, count) for at, kind, count in counts]


def test_releases_under_way_are_not_judged_and_late_ones_are() -> None:
    found = level(begin(NOW, 3600, 24), 3600, 24, rows((0, Kind.QUICK, 2), (5, Kind.IN_TIME, 1), (23, Kind.LATE, 1)))
    assert (found.share, found.total) == (0.75, 4)
    busy = level(begin(NOW, 3600, 24), 3600, 24, rows((23, Kind.OPEN, 3)))
    assert (busy.share, busy.total) == (None, 3)
    both = level(begin(NOW, 3600, 24), 3600, 24, rows((5, Kind.QUICK, 1), (23, Kind.OPEN, 9)))
    assert (both.share, both.judged, both.total) == (1.0, 1, 10)  # 100 % of 1, not of 10
    assert level(begin(NOW, 3600, 24), 3600, 24, []).share is None


def test_bars_stand_side_by_side_and_their_parts_on_each_other() -> None:
    given = rows((3, Kind.QUICK, 6), (3, Kind.FAILED, 2), (4, Kind.QUICK, 4))
    found = level(begin(NOW, 3600, 24), 3600, 24, given)
    assert len(found.bars) == 24
    assert all(left.x + left.width < right.x for left, right in zip(found.bars, found.bars[1:], strict=False))
    assert [(part.kind, part.y, part.height) for part in found.bars[3].parts] == [
        (Kind.QUICK, 25, 75), (Kind.FAILED, 0, 25),
    ]  # fmt: skip
    assert [(part.y, part.height) for part in found.bars[4].parts] == [(50, 50)]
    assert found.bars[5].parts == ()
    assert found.bars[4].begins == datetime(2026, 11, 22, 2, tzinfo=UTC)


@pytest.mark.parametrize("kind", [Kind.FAILED, Kind.LATE])
def test_one_of_a_thousand_is_still_seen(kind: Kind) -> None:
    found = level(begin(NOW, 3600, 24), 3600, 24, rows((0, Kind.QUICK, 1000), (0, kind, 1)))
    assert found.bars[0].parts[-1].height >= 2
    assert all(part.y >= 0 for part in found.bars[0].parts)
