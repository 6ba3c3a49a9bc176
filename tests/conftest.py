"""For all tests: with MODSYNC_REQUIRE_ALL=1 (make test REQUIRE_ALL=1, and so CI) a skipped test is a failed one.

What no machine of ours could run yet is not collected at all but by name: `make athens` (docs/unproven.md).
"""

import os
import signal

import pytest

NOT_TO_BE_HAD = "not to be had here: "
# Started in a shell's background, tests and all that they start would ignore Ctrl+C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
REQUIRE_ALL = os.environ.get("MODSYNC_REQUIRE_ALL", "") not in ("", "0")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # type: ignore[no-untyped-def]
    """Turn a skip into a failure that names its reason."""
    outcome = yield
    report = outcome.get_result()
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and nothing may be: {report.longrepr}"


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A module skipped as a whole counts, too."""
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
