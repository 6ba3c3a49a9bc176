"""What the comparisons with golang.org/x/mod share."""

import os
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from app.domain.modules import (
    RuleBroken,
)

EXAMPLES = settings(
    max_examples=int(os.environ.get("MODSYNC_RULE_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def refused(parse: Callable[[], object]) -> bool:
    """Whether `parse` raises RuleBroken with a code and a message; any other error fails the test."""
    try:
        parse()
    except RuleBroken as error:
        return bool(error.rule and error.message)
    return False


ODD_CHARS = st.sampled_from(
    [*"abzAZ019.-_~/!+@ vV(),\"'`\\:", "é", "K", "ſ", "İ", "\x00", "\n", "\x7f", "\udc80", "\udcff", "世", "\u0345"]
)
ODD_TEXT = st.text(ODD_CHARS, max_size=12)
