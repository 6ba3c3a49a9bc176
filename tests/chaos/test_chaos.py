"""A short session of chaos with a fixed seed; `make chaos` runs longer ones with seeds of their own."""

import pytest

from tests.chaos.session import Plan, run

SEED = 20260105


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_is_lost_and_work_goes_on_within_ten_seconds(database: str) -> None:
    result = run(Plan(SEED, 30.0, database))

    report = "\n".join([*result.remarks, *result.lost, *result.wrong, result.line()])
    assert result.good, report
    assert result.faults >= 5, report
    assert result.samples, report
