"""For all tests: with MODSYNC_REQUIRE_ALL=1 (make test REQUIRE_ALL=1, and so CI) a skipped test is a failed one.

What no machine of ours could run yet is not collected at all but by name: `make athens` (docs/unproven.md).
"""

import os
import shutil
import signal

import pytest
from hypothesis import HealthCheck, settings

NOT_TO_BE_HAD = "not to be had here: "
# Started in a shell's background, tests and all that they start would ignore Ctrl+C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# No test is about time: on a busy machine an example takes as long as it takes.
# CI tries the same examples each time: what is new there comes from the change, and other examples are tried by us.
settings.register_profile(
    "modsync", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("modsync")
REQUIRE_ALL = os.environ.get("MODSYNC_REQUIRE_ALL", "") not in ("", "0")


# Debian packages of these names, but for ssh-keygen (openssh-client) and gpg (gnupg).
PROGRAMS = ("curl", "gpg", "openssl", "ssh-keygen")


def _missing(error: BaseException) -> str | None:
    """The program that a test wanted to start and this machine does not have."""
    name = error.filename if isinstance(error, FileNotFoundError) else None
    return name if name in PROGRAMS and shutil.which(name) is None else None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):  # type: ignore[no-untyped-def]
    """Skip what lacks a program of the machine's; where nothing may be skipped, make that a failure with the reason."""
    outcome = yield
    report = outcome.get_result()
    if call.excinfo is not None and (missing := _missing(call.excinfo.value)):
        path, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (path, line, f"Skipped: {missing} is not installed")
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and nothing may be: {report.longrepr}"


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A module skipped as a whole counts, too."""
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
