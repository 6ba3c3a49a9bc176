"""The run's stages, its legal transitions, and what makes two requests the same release."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.run import ACTIVE, ENDED, Run, Stage, Status, Target, may_become, next_stage, semantic_key

ORDER = [Status.QUEUED, Status.MIRROR, Status.PIPELINE, Status.VERIFY, Status.DONE]
NAMES = st.text(min_size=1, max_size=20)


def test_the_stages_lead_from_the_mirror_to_the_verification() -> None:
    assert [next_stage(stage) for stage in Stage] == [Stage.PIPELINE, Stage.VERIFY, None]
    assert [Status(stage.value) for stage in Stage] == ORDER[1:4]


def test_a_run_is_either_active_or_has_ended() -> None:
    assert {Status.DONE, Status.FAILED, Status.REJECTED} == ENDED
    assert set(Status) - ENDED == ACTIVE


def test_the_transitions_of_one_attempt() -> None:
    forwards = {(old, new) for at, old in enumerate(ORDER[:-1]) for new in ORDER[at:]}
    ends = set(product(ORDER[:-1], (Status.FAILED, Status.REJECTED)))
    legal = {(old, new) for old, new in product(Status, Status) if may_become(old, new)}
    assert legal == forwards | ends


@given(st.lists(st.sampled_from(list(Status)), min_size=2, max_size=8))
def test_no_legal_way_goes_back_or_on_after_an_end(way: list[Status]) -> None:
    if not all(may_become(old, new) for old, new in pairwise(way)):
        return
    assert not ENDED & set(way[:-1])
    places = [ORDER.index(each) for each in way if each in ORDER]
    assert places == sorted(places)


@given(st.tuples(NAMES, NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES, NAMES))
def test_the_same_release_is_the_same_module_version_and_commit(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    """(module, version, ref, commit); where the version is known, how it was told does not matter."""
    same = (one[0], one[1], one[3]) == (other[0], other[1], other[3])
    assert (semantic_key(*one) == semantic_key(*other)) == same
    assert semantic_key(*one) == semantic_key(one[0], one[1], other[2], one[3])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("m", None, "main", "c"), ("m", None, "dev", "c")),
        (("m", None, "v1.0.0", "c"), ("m", "v1.0.0", "v1.0.0", "c")),
        (("a", "b", "", "c"), ("ab", "", "", "c")),
        (("a", None, "b", "c"), ("a", "b", "", "c")),
        (('a","b', "v", "", "c"), ("a", 'b","v', "", "c")),
    ],
)
def test_what_differs_has_another_key(
    one: tuple[str, str | None, str, str], other: tuple[str, str | None, str, str]
) -> None:
    assert semantic_key(*one) != semantic_key(*other)


def test_a_key_is_known_by_value() -> None:
    """It is stored: another way to make it would tell every known release from itself."""
    key = semantic_key("go.corp.example/platform/log", "v1.0.0", "refs/tags/v1.0.0", "a" * 40)
    assert key == "9a2609ee839c69af1e77aa29866ceb37cde6ce35d9787d350846dcebcf6220de"


def test_a_run_is_called_by_its_version_or_its_ref() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    run = Run(
        id="r", source="s", module="m.example/x", version=None, ref="main", commit="c", target=Target("", ""),
        status=Status.QUEUED, stage=Stage.MIRROR, attempt=1, fence=0, created_at=now, updated_at=now, delivery="d",
    )  # fmt: skip
    assert run.name == "m.example/x@main"
    assert replace(run, version="v1.0.0").name == "m.example/x@v1.0.0"
