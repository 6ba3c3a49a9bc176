"""The stand-in's reading of CI files: rules, expansion, times."""

import pytest

from tests.sandbox.gitlab.ci_file import parse, seconds
from tests.sandbox.gitlab.ci_rules import chosen_rule, expand, holds
from tests.sandbox.gitlab.errors import ApiError

VARIABLES = {"A": "x", "EMPTY": "", "REF": "v1.2.0", "NESTED": "$A-${A}"}


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ("$A", True),
        ("$EMPTY", False),
        ("$UNKNOWN", False),
        ('$A == "x"', True),
        ("$A == 'y'", False),
        ("$A != null", True),
        ("$UNKNOWN == null", True),
        (r"$REF =~ /^v\d+\./", True),
        ("$REF !~ /^v/", False),
        ('$A == "y" || $A == "x" && $REF', True),
        ('($A == "x" || $REF) && $EMPTY', False),
        ('$A == "y" && $A || $A', True),
    ],
)
def test_conditions(condition: str, result: bool) -> None:
    assert holds(condition, VARIABLES) is result


@pytest.mark.parametrize("condition", ["$A ==", "A", "($A", "$A $A", "== $A", "$A & $A"])
def test_what_is_no_condition(condition: str) -> None:
    with pytest.raises(ValueError, match="rules:if"):
        holds(condition, VARIABLES)


def test_the_first_matching_rule_is_chosen() -> None:
    rules = [{"if": "$EMPTY", "when": "never"}, {"if": "$A", "when": "manual"}, {"when": "always"}]
    assert chosen_rule(rules, VARIABLES) == {"if": "$A", "when": "manual"}
    assert chosen_rule(rules[:1], VARIABLES) is None
    assert chosen_rule(None, VARIABLES) == {}


@pytest.mark.parametrize(
    ("text", "result"),
    [("$A", "x"), ("${A}b", "xb"), ("$Ab", ""), ("$$A", "$A"), ("$NESTED", "x-x"), ("$(id) `id`", "$(id) `id`")],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, VARIABLES) == result


def test_expansion_ends_where_variables_name_each_other() -> None:
    assert expand("$L", {"L": "$M", "M": "$L"}) in ("$L", "$M")


@pytest.mark.parametrize(("text", "result"), [("1h 30m", 5400), ("45 minutes", 2700), ("90", 90), ("2 days", 172800)])
def test_times(text: str, result: float) -> None:
    assert seconds(text) == result


@pytest.mark.parametrize(
    "text", ["a: [", "- a", "job: {script: [a], stage: test}\nworkflow: {rules: []}", "x: 1", "job: {rules: [{if: A}]}"]
)
def test_files_that_make_no_pipeline(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(text, {}, {})
    assert caught.value.status == 400
