"""Who is told what: by tables, and by properties over any order of outcomes."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.notice_forms import Notice, chat, escaped, webhook
from app.domain.notify import NAMED, QUIET, Book, Draft, Event, Outcome, Wishes, take
from app.domain.run import Status

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALL = Wishes("on-call")
BASE = "https://modsync.corp.example"
MODULE = "go.corp.example/platform/log"


NUMBERS = itertools.count(1)


def ids() -> Callable[[], str]:
    return lambda: f"n{next(NUMBERS)}"


def outcome(
    run: str = "r1", status: Status = Status.FAILED, error: str | None = "pipeline_failed", **more: Any
) -> Outcome:
    given: dict[str, Any] = {
        "attempt": 1, "stage": "pipeline", "message": "job 7 failed", "source": "platform", "module": MODULE,
        "version": "v1.0.0", "ref": "refs/tags/v1.0.0", "at": NOW, **more,
    }  # fmt: skip
    return Outcome(run, status=status, error=None if status is Status.DONE else error, **given)


def told(outcomes: list[Outcome], wishes: Wishes = ALL, book: Book | None = None) -> Book:
    book, new_id = book or Book(), ids()
    for each in outcomes:
        book = take(wishes, book, each, each.at, new_id)
    return book


def sent(book: Book, now: datetime) -> Book:
    """The book after its messages went out."""
    return replace(book, drafts={}, last={**book.last, **dict.fromkeys(book.drafts, now)})


def said(outcomes: list[Outcome], wishes: Wishes = ALL) -> dict[tuple[str, str], int]:
    """How many releases were told of by cause, where each message goes out before the next outcome."""
    book, new_id, found = Book(), ids(), Counter[tuple[str, str]]()
    for each in outcomes:
        book = take(wishes, book, each, each.at, new_id)
        found.update(counts(book))
        book = sent(book, each.at)
    return dict(found)


def counts(book: Book) -> dict[tuple[str, str], int]:
    return {(draft.event.value, draft.code): draft.count for draft in book.drafts.values()}


def later(given: Outcome, **more: float) -> Outcome:
    return replace(given, at=NOW + timedelta(**more), attempt=given.attempt + 1)


FAILED, DONE = outcome(), outcome(status=Status.DONE)
OTHER = outcome("r2", version="v2.0.0")


@pytest.mark.parametrize(
    ("what", "outcomes", "expected"),
    [
        ("a first failure", [FAILED], {("failed", "pipeline_failed"): 1}),
        ("two releases with one cause are one message", [FAILED, OTHER], {("failed", "pipeline_failed"): 2}),
        ("the same failure after a replay", [FAILED, later(FAILED, hours=5)], {("failed", "pipeline_failed"): 1}),
        ("the same release by another run", [FAILED, replace(later(FAILED, hours=5), run_id="r9")],
         {("failed", "pipeline_failed"): 1}),
        ("the same failure after the window", [FAILED, later(FAILED, hours=6)], {("failed", "pipeline_failed"): 2}),
        ("another failure of the same release", [FAILED, later(outcome(error="quota"), hours=1)],
         {("failed", "pipeline_failed"): 1, ("failed", "quota"): 1}),
        ("done without an earlier failure", [DONE], {}),
        ("recovered", [FAILED, later(DONE, hours=1)],
         {("failed", "pipeline_failed"): 1, ("recovered", "pipeline_failed"): 1}),
        ("recovered by another run of the version", [FAILED, replace(later(DONE, hours=1), run_id="r9")],
         {("failed", "pipeline_failed"): 1, ("recovered", "pipeline_failed"): 1}),
        ("recovered after two different failures is one", [FAILED, later(outcome(error="quota"), hours=1),
         later(DONE, hours=2)],
         {("failed", "pipeline_failed"): 1, ("failed", "quota"): 1, ("recovered", "quota"): 1}),
        ("broken again after it recovered", [FAILED, later(DONE, hours=1), later(FAILED, hours=2)],
         {("failed", "pipeline_failed"): 2, ("recovered", "pipeline_failed"): 1}),
        ("done twice", [FAILED, later(DONE, hours=1), later(DONE, hours=2)],
         {("failed", "pipeline_failed"): 1, ("recovered", "pipeline_failed"): 1}),
        ("a moved version is not mended by the one that it wanted to replace",
         [outcome("r9", Status.REJECTED, "version_moved"), later(DONE, hours=1)], {("rejected", "version_moved"): 1}),
        ("what the proxy served wrongly is mended by whichever run brings the version",
         [outcome("r9", Status.REJECTED, "served_other_content"), later(DONE, hours=1)],
         {("rejected", "served_other_content"): 1, ("recovered", "served_other_content"): 1}),
        ("nothing to do", [outcome("r9", Status.REJECTED, "superseded")], {}),
        ("a branch whose version was not known is mended by its own run",
         [outcome(version=None, ref="main", error="no_version"), later(outcome(status=Status.DONE), hours=1)],
         {("failed", "no_version"): 1, ("recovered", "no_version"): 1}),
        ("branches without a version are not the same release",
         [outcome(version=None, ref="main"), outcome("r2", version=None, ref="main")], {("failed", "pipeline_failed"): 2}),
    ],
)  # fmt: skip
def test_what_is_told(what: str, outcomes: list[Outcome], expected: dict[tuple[str, str], int]) -> None:
    assert said(outcomes) == expected, what


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (replace(ALL, events=frozenset({Event.RECOVERED})), {("recovered", "pipeline_failed"): 1}),
        (replace(ALL, events=frozenset({Event.FAILED})), {("failed", "pipeline_failed"): 1}),
        (replace(ALL, sources=("elsewhere",)), {}),
        (replace(ALL, sources=("platform",), modules=("go.corp.example/plat*",)),
         {("failed", "pipeline_failed"): 1, ("recovered", "pipeline_failed"): 1}),
        (replace(ALL, modules=("go.corp.example/payments",)), {}),
    ],
)  # fmt: skip
def test_a_receiver_hears_what_it_wants(wishes: Wishes, expected: dict[tuple[str, str], int]) -> None:
    assert said([FAILED, later(DONE, hours=1)], wishes) == expected


def test_recovered_refers_to_what_was_told() -> None:
    before = told([FAILED])
    first = before.drafts[Event.FAILED, "pipeline_failed"]
    book = told([later(DONE, hours=1)], book=sent(before, NOW))
    second = book.drafts[Event.RECOVERED, "pipeline_failed"]
    assert second.items[0]["failed"] == {"notice": first.id, "run": "r1", "status": "failed", "code": "pipeline_failed",
                                         "at": "2026-11-22T12:00:00Z"}  # fmt: skip
    assert book.failures == {}


def test_a_message_waits_for_others_and_keeps_its_distance() -> None:
    cause = (Event.FAILED, "pipeline_failed")
    first = told([FAILED]).drafts[cause]
    assert first.due_at == NOW + ALL.gather
    assert told([FAILED, later(OTHER, seconds=9)]).drafts[cause].due_at == first.due_at
    next_one = told([FAILED], book=Book(last={cause: NOW - timedelta(minutes=1)})).drafts[cause]
    assert next_one.due_at == NOW - timedelta(minutes=1) + ALL.interval
    long_ago = told([FAILED], book=Book(last={cause: NOW - timedelta(days=1)})).drafts[cause]
    assert long_ago.due_at == first.due_at
    clock_went_back = told([FAILED], book=Book(last={cause: NOW + timedelta(days=1)})).drafts[cause]
    assert clock_went_back.due_at == NOW + ALL.interval


def test_what_another_run_of_the_version_is_named_for_is_taken_back_whole() -> None:
    """Two runs that failed alike are one item, under the first one's name; the other one's end takes it back."""
    first, second = (outcome(run, Status.REJECTED, "version_moved") for run in ("r1", "r2"))
    other = outcome("r3", Status.REJECTED, "version_moved", version="v3.0.0")
    book = told([first, second, other, *(later(outcome(run, Status.DONE), minutes=1) for run in ("r1", "r2"))])
    draft = book.drafts[Event.REJECTED, "version_moved"]
    assert (draft.count, [item["run"] for item in draft.items]) == (1, ["r3"])


def test_another_commits_rejection_does_not_take_a_recovery_back() -> None:
    """A tag that moved afterwards: the release is as good as it was, and its last word says so."""
    book = told([later(DONE, seconds=100)], book=sent(told([FAILED]), NOW))
    moved = replace(later(FAILED, seconds=103), run_id="r9", status=Status.REJECTED, error="version_moved")
    assert counts(told([moved], book=book)) == {("recovered", "pipeline_failed"): 1, ("rejected", "version_moved"): 1}
    again = told([replace(moved, status=Status.FAILED, error="pipeline_failed")], book=book)
    assert (counts(again), len(again.failures)) == ({}, 2)


events = st.builds(
    outcome, st.sampled_from(["r1", "r2", "r3"]), st.sampled_from([Status.FAILED, Status.REJECTED, Status.DONE]),
    st.sampled_from(["quota", "pipeline_failed", "superseded"]), version=st.sampled_from([None, "v1.0.0", "v2.0.0"]),
    at=st.integers(0, 20).map(lambda hours: NOW + timedelta(hours=hours)),
)  # fmt: skip
histories = st.lists(events, max_size=30).map(lambda all_: sorted(all_, key=lambda each: each.at))


def test_a_message_counts_what_it_names_whatever_versions_a_run_had() -> None:
    """One that is told of under another run's name, and then without a version, is not in the message to be taken out."""
    history = [
        outcome("r2", Status.REJECTED, "quota", version=None), outcome("r1", error="quota", version=None),
        outcome("r2", error="quota"), outcome("r3", Status.REJECTED, "quota", version=None),
        later(outcome("r1", error="quota"), hours=1), later(outcome("r1", error="quota", version=None), hours=1),
        later(outcome("r1", Status.DONE, version=None), hours=2),
    ]  # fmt: skip
    assert all(draft.count == len(draft.items) for draft in told(history).drafts.values())


@given(histories)
def test_each_fact_is_told_at_most_once(history: list[Outcome]) -> None:
    """Every step adds nothing or exactly one release to exactly one message; what it takes back, nobody heard."""
    book, new_id = Book(), ids()
    for each in history:
        before, book = book, take(ALL, book, each, each.at, new_id)
        grown = [draft.count - before.drafts[cause].count if cause in before.drafts else draft.count
                 for cause, draft in book.drafts.items()]  # fmt: skip
        assert [number for number in grown if number > 0] in ([], [1])
        assert all(draft.count == len(draft.items) > 0 for draft in book.drafts.values())


@given(histories)
def test_never_silent_on_a_first_failure(history: list[Outcome]) -> None:
    """A failure that the book does not know of yet is told, whatever came before.

    It knows of those that are open, and of those whose recovery nobody heard of: they are taken up again.
    """
    book, new_id = Book(), ids()
    for each in history:
        before, book = book, take(ALL, book, each, each.at, new_id)
        known = any(old.code == each.error and old.same_release(each) for old in before.failures.values())
        known = known or any(item["failed"]["code"] == each.error and undone_by(item, each)
                             for draft in before.drafts.values() if draft.event is Event.RECOVERED
                             for item in draft.items)  # fmt: skip
        if each.status is not Status.DONE and each.error not in QUIET:
            assert known or failures_in(book) == failures_in(before) + 1
            assert (each.run_id, each.error) in book.failures


def undone_by(item: Mapping[str, Any], outcome: Outcome) -> bool:
    if item["run"] == outcome.run_id:
        return True
    same = outcome.version is not None and (item["module"], item["version"]) == (outcome.module, outcome.version)
    return same and outcome.status is Status.FAILED


def failures_in(book: Book) -> int:
    return sum(draft.count for draft in book.drafts.values() if draft.event is not Event.RECOVERED)


VERSIONS = {"r1": "v1.0.0", "r2": "v1.0.0", "r3": None, "r4": "v2.0.0"}
ENDS = [
    (Status.FAILED, "quota"),
    (Status.FAILED, "pipeline_failed"),
    (Status.REJECTED, "version_moved"),
    (Status.DONE, None),
]


def ended(run: str, end: tuple[Status, str | None], minutes: int) -> Outcome:
    return outcome(run, *end, version=VERSIONS[run], at=NOW + timedelta(minutes=minutes))


real = st.lists(
    st.builds(ended, st.sampled_from(sorted(VERSIONS)), st.sampled_from(ENDS), st.integers(0, 900)), max_size=9
)


@given(real.map(lambda all_: sorted(all_, key=lambda each: each.at)), st.lists(st.booleans(), min_size=9, max_size=9))
def test_the_last_word_is_the_truth(history: list[Outcome], sends: list[bool]) -> None:
    """Whichever messages went out between: the last word on each release is how it is."""
    book, new_id, words = Book(), ids(), dict[str, str]()
    for each, send in zip(history, sends, strict=False):
        book = take(ALL, book, each, each.at, new_id)
        if send:
            book = hear(book, each.at, words)
    left = hear(book, NOW + timedelta(days=9), words)
    for release, word in words.items():
        broken = {each.status for each in left.failures.values() if (each.version or each.run_id) == release}
        assert Status.FAILED not in broken if word == "done" else broken, (release, word)


def hear(book: Book, now: datetime, words: dict[str, str]) -> Book:
    """What is due goes out, the first made first; the last word on each release."""
    due = [draft for draft in book.drafts.values() if draft.due_at <= now]
    for draft in sorted(due, key=lambda each: (each.due_at, each.created_at, each.event is Event.RECOVERED)):
        words.update({item["version"] or item["run"]: item["status"] for item in draft.items})
    left = {cause: draft for cause, draft in book.drafts.items() if draft not in due}
    return replace(book, drafts=left, last={**book.last, **{(each.event, each.code): now for each in due}})


def test_what_is_mended_before_its_message_is_not_told() -> None:
    cause = (Event.FAILED, "pipeline_failed")
    busy = Book(last={cause: NOW})
    assert told([FAILED, later(DONE, seconds=40)], book=busy).drafts == {}
    book = told([FAILED, OTHER, later(DONE, seconds=40)], book=busy)
    assert counts(book) == {("failed", "pipeline_failed"): 1}
    assert [item["run"] for item in book.drafts[cause].items] == ["r2"]
    many = [outcome(f"r{n}", version=f"v1.{n}.0") for n in range(NAMED + 5)]
    unnamed = replace(many[-1], status=Status.DONE, error=None, at=NOW + timedelta(minutes=1))
    book = told([*many, unnamed], book=busy)
    assert counts(book) == {("failed", "pipeline_failed"): NAMED + 4}
    assert len(book.drafts[cause].items) == NAMED


def test_what_was_told_before_its_repeat_recovers_behind_the_repeats_message() -> None:
    cause = (Event.FAILED, "pipeline_failed")
    before = told([FAILED])
    again = later(FAILED, hours=7)
    book = told([again, replace(DONE, at=again.at)], book=replace(sent(before, again.at), failures=before.failures))
    failed, recovered = book.drafts[cause], book.drafts[Event.RECOVERED, "pipeline_failed"]
    assert failed.due_at <= recovered.due_at
    assert recovered.due_at == again.at + ALL.interval
    assert recovered.items[0]["failed"]["notice"] == before.drafts[cause].id


def test_a_recovery_that_nobody_heard_of_is_not_told_after_the_next_failure() -> None:
    busy = replace(sent(told([FAILED]), NOW), last={(Event.RECOVERED, "pipeline_failed"): NOW + timedelta(hours=1)})
    book = told([later(DONE, hours=1), later(outcome(error="quota"), hours=1, minutes=1)], book=busy)
    assert counts(book) == {("failed", "quota"): 1}


@given(histories)
def test_a_repeat_within_the_window_is_silent(history: list[Outcome]) -> None:
    book, new_id = Book(), ids()
    for each in history:
        book = take(ALL, book, each, each.at, new_id)
        again = take(ALL, book, each, each.at, new_id)
        assert counts(again) == counts(book)


texts = st.text(max_size=2000)


@given(st.integers(1, 60), texts, texts, st.sampled_from(["failed", "rejected"]))
def test_a_message_is_bounded_and_says_how_many_more(number: int, message: str, ref: str, status: str) -> None:
    made = [outcome(f"r{n}", Status(status), version=None, ref=ref, message=message) for n in range(number)]
    (draft,) = told(made).drafts.values()
    notice = notice_of(draft)
    body = webhook(notice, BASE)["data"]
    assert len(body["runs"]) == min(number, NAMED)
    assert body["count"] == number == len(body["runs"]) + body["more"]
    for form in (webhook(notice, BASE), chat(notice, BASE)):
        assert len(json.dumps(form, ensure_ascii=False).encode()) < 64_000


def notice_of(draft: Draft) -> Notice:
    return Notice(draft.id, draft.event, draft.code, draft.count, draft.items, draft.created_at)


@given(texts)
def test_a_text_cannot_be_markup_or_call_anybody(text: str) -> None:
    shown = escaped(text)
    assert not {"<", ">", "`", "\n"} & set(shown)
    assert shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").count("&") == 0
    assert "@channel" not in escaped(f" @channel {text}").split(" ")[1]


def test_a_releases_name_can_be_copied() -> None:
    assert escaped(f"{MODULE}@v1.0.0") == f"{MODULE}@v1.0.0"
    assert escaped("<!channel> & @all") == "&lt;!channel&gt; &amp; @\u200ball"
