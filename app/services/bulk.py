"""Replays of many runs at once: first what exactly would happen, then just that, in batches with a bound."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as dataclass_replace
from datetime import datetime

from app.domain.errors import SyncError
from app.domain.ids import run_of
from app.domain.run import Stage
from app.services.board import BoardStore, FailedAlike
from app.services.replay import Replay
from app.services.run_filter import make_cursor, parse_bounded
from app.services.stores import Receipt, ReplayOrder
from app.services.views import ErrorView, RunSummary, View

# A request is answered within a few seconds; each replay is a transaction of its own.
BATCH = 50
_ATTEMPT = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class ReplayPlan(View):
    """What a replay of runs that failed with `code` since then would do with those of one page, oldest first.

    `refused`: those that today's rules do not take, by id; the others would begin anew. `next`: where the page behind
    this one begins; None: there are no more. `until`: when the first page was asked for; what fails after it, as a replay
    may at once, is on no page. `total`: how many failed so, on all pages. None: an older server does not say.
    """

    code: str
    since: datetime
    runs: tuple[RunSummary, ...]
    refused: Mapping[str, ErrorView]
    next: str | None
    total: int | None = None
    until: datetime | None = None

    @property
    def begun(self) -> tuple[RunSummary, ...]:
        """The runs that would begin anew."""
        return tuple(run for run in self.runs if run.id not in self.refused)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one run: a receipt, or why it was not replayed."""

    run_id: str
    receipt: Receipt | None
    error: SyncError | None


def plan(
    store: BoardStore, replay: Replay, alike: FailedAlike, *, after: str | None = None, limit: int = BATCH
) -> ReplayPlan:
    """What a replay of these runs would do with the next `limit` behind `after`, which has the first page's bounds.

    Error: bad_request (field after).
    """
    place = None
    if after:
        alike, place = _parse_place(alike.code, after)
    found = store.failed(alike, limit + 1, place)
    shown, last = tuple(found[:limit]), found[limit - 1] if len(found) > limit else None
    # Elsewhere than at stage mirror a run goes on with what was decided of it.
    errors = replay.refusals([run.id for run in shown if run.stage is Stage.MIRROR])
    refused = {run_id: ErrorView.of_error(error) for run_id, error in errors.items()}
    following = _make_place(alike, last) if last else None
    return ReplayPlan(alike.code, alike.since, shown, refused, following, store.count_failed(alike), alike.until)


def _make_place(alike: FailedAlike, last: RunSummary) -> str:
    """Behind this run, between the same two times: else runs that fail again would come again, page after page."""
    return make_cursor(last.ended_at or alike.since, last.id, alike.since, alike.until)


def _parse_place(code: str, after: str) -> tuple[FailedAlike, tuple[datetime, str]]:
    ended_at, run_id, (since, until) = parse_bounded(after, "after", 2)
    return FailedAlike(code, since, until), (ended_at, run_id)


def replay_all(replay: Replay, run_ids: Sequence[str], order: ReplayOrder) -> tuple[Done, ...]:
    """Replay exactly these runs, each as `ID` or `ID:ATTEMPT`; one that cannot be is told and stops none of the others.

    With the attempt that was looked at, a run that somebody else replayed meanwhile is left alone.

    Errors: bad_request for more than BATCH; `store_unavailable` ends it (what was done by then stays done).
    """
    if len(run_ids) > BATCH:
        raise SyncError("bad_request", f"at most {BATCH} runs are replayed at once", field="run")
    return tuple(_one(replay, run_id, order) for run_id in dict.fromkeys(run_ids))


def named(text: str) -> tuple[str, int | None] | None:
    """The run's id and the attempt of `ID` or `ID:ATTEMPT`; None for another text."""
    run_id, colon, attempt = text.partition(":")
    if run_of(run_id) != run_id or (colon and not _ATTEMPT.fullmatch(attempt)):
        return None
    return run_id, int(attempt) if colon else None


def _one(replay: Replay, text: str, order: ReplayOrder) -> Done:
    run_id, attempt = named(text) or (text, None)
    try:
        return Done(run_id, replay.replay(run_id, dataclass_replace(order, attempt=attempt)), None)
    except SyncError as error:
        if error.code == "store_unavailable":
            raise
        return Done(run_id, None, error)
