"""Ids that people copy: made, taken apart, and told from everything else."""

from __future__ import annotations

import re
import string
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.system import random_bits
from app.domain.ids import JobId, make_id, parse_job_id, run_of

MS = st.integers(0, 32**9 - 1)  # until the year 3084
BITS = st.integers(0, 2**50 - 1)
RUN = "r1m81j18kr0000000001"


@given(MS, BITS, st.integers(1, 999_999_999), st.integers(1, 999_999_999))
def test_every_id_of_a_run_leads_to_the_run(ms: int, bits: int, attempt: int, number: int) -> None:
    run = make_id("r", ms, bits)
    job = JobId(run, attempt, number)
    assert run_of(run) == run_of(str(job)) == run
    assert parse_job_id(str(job)) == job
    assert parse_job_id(run) is None


@given(MS, BITS)
def test_an_id_is_what_rq_and_people_can_take(ms: int, bits: int) -> None:
    made = make_id("r", ms, bits)
    assert re.fullmatch(r"r[0-9a-z]{19}", made)
    assert not set("ilou") & set(made)


@given(st.tuples(MS, BITS), st.tuples(MS, BITS))
def test_ids_sort_by_time_and_are_as_different_as_what_they_are_made_of(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    first, second = make_id("r", *one), make_id("r", *other)
    assert (first < second) == (one < other)
    assert (first == second) == (one == other)


def test_an_id_is_known_by_value() -> None:
    assert make_id("r", 1_795_348_800_120, 1) == RUN
    assert make_id("d", 0, 0) == "d" + "0" * 19
    # More chance than fits is cut off, not let into the time.
    assert make_id("d", 0, 2**50) == make_id("d", 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "", "r", RUN[:-1], RUN + "0", RUN.upper(), "d" + RUN[1:], RUN.replace("m", "i"), RUN.replace("m", "l"),
        RUN.replace("m", "o"), RUN.replace("m", "u"), f" {RUN}", f"{RUN}\n", f"{RUN}-", f"{RUN}-1", f"{RUN}-1-", f"{RUN}-0-1",
        f"{RUN}-1-0", f"{RUN}-01-1", f"{RUN}-1-1-1", f"{RUN}-1-1\n", f"{RUN}--1", f"{RUN}-1-1234567890", f"{RUN}-1-\u0661",
    ],
)  # fmt: skip
def test_everything_else_is_no_id(text: str) -> None:
    assert run_of(text) is None
    assert parse_job_id(text) is None


@given(st.text(string.printable + "é٣"))
def test_no_text_upsets_the_parser(text: str) -> None:
    found = run_of(text)
    assert found is None or text.startswith(found)


def test_a_forked_process_draws_chance_of_its_own() -> None:
    random_bits(50)  # from here on the parent has some in store
    with get_context("fork").Pool(1) as pool:
        theirs = pool.map(random_bits, [50] * 200)
    ours = [random_bits(50) for _ in range(200)]
    assert len({*ours, *theirs}) == 400
    assert max(ours) < 1 << 50
