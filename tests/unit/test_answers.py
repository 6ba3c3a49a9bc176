"""The proxy's answers as people read them, for every verdict, also of runs that say less."""

from __future__ import annotations

from typing import Any

import pytest

from app.services.answers import ASKED, Answer, answers

A, B, MOD = "a" * 40, "b" * 40, "0" * 64
H1, OTHER = "h1:" + "A" * 43 + "=", "h1:" + "B" * 43 + "="
GOOD = {"h1": H1, "h1_released": H1, "go_mod_sha256": MOD, "commit": A, "compared": True}
BAD = {
    "verdict": "", "h1_released": H1, "h1_served": H1, "commit_released": A, "commit_served": A, "differ": [],
}  # fmt: skip


def by_name(verify: dict[str, Any]) -> dict[str, Answer]:
    return {each.asked: each for each in answers(verify, {})}


def test_before_the_proxy_was_asked_there_is_nothing() -> None:
    assert answers({}, {"go_mod_sha256": MOD}) == ()


def test_a_proof_is_five_good_answers() -> None:
    found = by_name(GOOD)
    assert {each.outcome for each in found.values()} == {"ok"}
    assert [(each.served, each.released) for each in found.values()] == [
        (A, A),
        (MOD, MOD),
        (H1, H1),
        ("", ""),
        ("", ""),
    ]
    assert not any(each.said for each in found.values())


def test_a_good_mod_before_what_was_wrong_has_the_released_digest() -> None:
    mod = answers({**BAD, "verdict": "not_listed"}, {"go_mod_sha256": MOD})[1]
    assert (mod.outcome, mod.served, mod.released) == ("ok", MOD, MOD)


def test_what_is_left_open_is_said() -> None:
    found = by_name(
        {**GOOD, "commit": None, "h1_released": None, "compared": False, "latest": "@latest names v1, list has v2"}
    )
    assert (found[".info"].served, found[".info"].said) == ("", "it names no commit, which is allowed")
    assert found[".zip"].said.startswith("not compared with the source's content")
    assert found["@latest"].said == "@latest names v1, list has v2"


@pytest.mark.parametrize(
    ("told", "bad"),
    [
        ({"verdict": "served_other_commit", "commit_served": B}, ".info"),
        ({"verdict": "served_other_version"}, ".info"),
        ({"verdict": "served_other_content"}, ".mod"),
        ({"verdict": "served_other_content", "h1_served": OTHER}, ".zip"),
        ({"verdict": "served_other_content", "h1_released": None}, ".zip"),
        ({"verdict": "served_other_content", "h1_served": OTHER, "asked": ".mod"}, ".mod"),
        ({"verdict": "zip_not_a_module", "h1_served": None}, ".zip"),
        ({"verdict": "proxy_rules_differ", "h1_served": OTHER}, ".zip"),
        ({"verdict": "proxy_holds_old", "commit_served": B}, ".info"),
        ({"verdict": "proxy_holds_old", "h1_served": OTHER}, ".zip"),
        ({"verdict": "not_listed"}, "list"),
        ({"verdict": "latest_wrong"}, "@latest"),
        ({"verdict": "a_new_one", "asked": "nonsense", "h1_served": OTHER}, ".zip"),
    ],
)  # fmt: skip
def test_what_was_wrong_is_bad_and_nothing_behind_it_is_judged(told: dict[str, Any], bad: str) -> None:
    place = ASKED.index(bad)
    outcomes = [each.outcome for each in answers({**BAD, **told}, {})]
    assert outcomes == ["ok"] * place + ["bad"] + ["unknown"] * (4 - place)


def test_both_sides_of_what_differs_are_told() -> None:
    commit = by_name({**BAD, "verdict": "served_other_commit", "commit_served": B, "asked": ".info"})[".info"]
    assert (commit.served, commit.released) == (B, A)
    mod = {"verdict": "served_other_content", "asked": ".mod", "go_mod_served": "1" * 64, "go_mod_released": MOD}
    assert (by_name({**BAD, **mod})[".mod"].served, by_name({**BAD, **mod})[".mod"].released) == ("1" * 64, MOD)
    names = [f"{n}.go" for n in range(12)]
    content = by_name({**BAD, "verdict": "served_other_content", "h1_served": OTHER, "asked": ".zip", "differ": names})[
        ".zip"
    ]
    assert (content.served, content.released) == (OTHER, H1)
    assert content.said == f"files that differ: {', '.join(names[:10])} and 2 more"
