"""`modsync watch`: follow one run until it ends, or all of them until Ctrl+C."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import click
from rich.text import Text

from app.cli_open import is_remote, json_option, open_operator
from app.cli_output import NO, UNAVAILABLE, coloured, console, duration, exit_status, local, printable
from app.domain.errors import SyncError
from app.domain.run import Status
from app.services.operator import Operator
from app.services.views import Page, RunDetail, RunSummary
from app.services.watching import Happening, ended_well, happenings

_INTERRUPTED = 130
_BATCH = 200
_asked_to_end = threading.Event()
_LOCAL_SECONDS, _REMOTE_SECONDS = 0.5, 1.0
_LONGEST_AWAY = 300.0

Report = Callable[[Happening], None]


@click.command(
    "watch",
    short_help="Follow a run until it ends, or all of them.",
    epilog="""\b
Examples:
  modsync watch r0kz3v7m2c5q8x1b4n6d && echo downloadable
  modsync watch --json""",
)
@click.argument("identifier", metavar="[ID]", required=False)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop after so long; status 1 for a run not ended, else 0.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0.05, 60),
    metavar="SECONDS",
    help="Between two looks; else 0.5, over the API 1.",
)
@json_option
@click.pass_context
def watch(
    ctx: click.Context, identifier: str | None, timeout: float | None, interval: float | None, as_json: bool
) -> None:
    """Print what happens to a run as it happens, one line each, until it ends: status 0 when it is done, else 1.

    Without an ID, what happens to all runs from now on, until Ctrl+C; more than a look shows (200 in flight, 200 new) is
    said. Where the server (or its database) goes away
    meanwhile, that is said, and the watch goes on when it is back within five minutes.
    """
    _heed_interrupts()
    operator = open_operator()
    report = _report_json if as_json else _reporter()
    ticks = _ticks(interval or (_REMOTE_SECONDS if is_remote() else _LOCAL_SECONDS), timeout)
    try:
        if identifier:
            ctx.exit(_follow(operator, identifier, report, ticks))
        _follow_all(operator, report, ticks)
    except KeyboardInterrupt:
        ctx.exit(_INTERRUPTED)


commands: tuple[click.Command, ...] = (watch,)


def _heed_interrupts() -> None:
    """Remember Ctrl+C: Python drops a KeyboardInterrupt that meets it in a destructor or a weak reference's callback."""

    def interrupted(_number: int, _frame: object) -> None:
        _asked_to_end.set()
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # so begins what a shell runs in the background
        signal.signal(signal.SIGINT, interrupted)


def _ticks(interval: float, timeout: float | None) -> Iterator[None]:
    """One look at once, then one every `interval` seconds, the last when the time is over. KeyboardInterrupt at Ctrl+C."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        if _asked_to_end.is_set():
            raise KeyboardInterrupt
        yield
        now = time.monotonic()
        if end is not None and now >= end:
            return
        time.sleep(interval if end is None else min(interval, end - now))


class _Patience:
    """Lets a service that answered once be away for a while: a watch shall outlive a restart."""

    def __init__(self) -> None:
        self._worked, self._away_since = False, 0.0

    @contextmanager
    def looking(self) -> Iterator[None]:
        """One look. Error: as the look's, when it is no outage, the first look, or the outage is too long."""
        try:
            yield
        except SyncError as error:
            if not self._worked or exit_status(error) != UNAVAILABLE:
                raise
            self._wait(error)
        else:
            if self._away_since:
                click.echo("it answers again", err=True)
            self._worked, self._away_since = True, 0.0

    def _wait(self, error: SyncError) -> None:
        if not self._away_since:
            self._away_since = time.monotonic()
            click.echo(f"{error.code}: {printable(error.message)}; trying on", err=True)
        elif time.monotonic() - self._away_since > _LONGEST_AWAY:
            raise error


def _follow(operator: Operator, identifier: str, report: Report, ticks: Iterator[None]) -> int:
    before: RunDetail | None = None
    patience = _Patience()
    for _ in ticks:
        with patience.looking():
            run = operator.run(identifier)
            for each in happenings(before, run):
                report(each)
            before = run
            verdict = ended_well(run)
            if verdict is not None:
                return 0 if verdict else NO
    click.echo(f"run {identifier} has not ended yet", err=True)
    return NO


def _follow_all(operator: Operator, report: Report, ticks: Iterator[None]) -> None:
    known: dict[str, RunDetail] = {}
    patience, bound = _Patience(), _Bound()
    begun = operator.clock()
    click.echo("following all runs; Ctrl+C ends it", err=True)
    for _ in ticks:
        with patience.looking():
            active, fresh = operator.runs({"status": "active"}, None, _BATCH), _new(operator, begun)
            bound.seen(_too_many(active, fresh, known))
            for run_id in sorted(_changed(known, (*active.items, *fresh.items))):
                _tell(operator, run_id, known, begun, report)


def _tell(operator: Operator, run_id: str, known: dict[str, RunDetail], begun: datetime, report: Report) -> None:
    run = _look(operator, run_id)
    if run is None:
        known.pop(run_id, None)
        return
    before, known[run_id] = known.get(run_id), run
    for each in happenings(before, run):
        if before or each.at >= begun:
            report(each)


class _Bound:
    """Says when a look begins to show less than there is, and when it shows all again."""

    def __init__(self) -> None:
        self._less = False

    def seen(self, less: bool) -> None:
        """What one look found."""
        if less == self._less:
            return
        self._less = less
        more = f"more than {_BATCH} runs are in flight or new: not all that happens to them is told here, `modsync runs` has it"
        click.echo(more if less else "all runs are followed again", err=True)


def _new(operator: Operator, begun: datetime) -> Page[RunSummary]:
    return operator.runs({"since": begun.isoformat()}, None, _BATCH)


def _too_many(active: Page[RunSummary], fresh: Page[RunSummary], known: dict[str, RunDetail]) -> bool:
    """True when a run may have been missed; that new ones fill a page is none as long as the page's last one is known."""
    return active.next is not None or (fresh.next is not None and fresh.items[-1].id not in known)


def _changed(known: dict[str, RunDetail], found: Sequence[RunSummary]) -> set[str]:
    """The runs that are in flight or new and not as we know them, and those in flight that left the list."""
    seen = {run.id: run for run in found}
    gone = {run.id for run in known.values() if ended_well(run) is None and run.id not in seen}
    return gone | {run.id for run in seen.values() if run.id not in known or _state(run) != _state(known[run.id])}


def _state(run: RunSummary) -> tuple[Status, int, datetime]:
    return run.status, run.attempt, run.updated_at


def _look(operator: Operator, run_id: str) -> RunDetail | None:
    try:
        return operator.run(run_id)
    except SyncError as error:
        if error.code == "not_found":
            return None  # a run can be purged while we look
        raise


def _report_json(each: Happening) -> None:
    click.echo(json.dumps(each.as_json()))


def _reporter() -> Report:
    out = console()

    def report(each: Happening) -> None:
        line = Text.assemble(
            (local(each.at), "dim"), f"  {printable(each.name)}  ", _what(each), coloured(each.outcome)
        )
        took = f" in {duration(each.seconds)}" if each.seconds is not None else ""
        said = ": ".join(part for part in (each.error, each.message) if part)
        out.print(line + took + (f"  {printable(said)}" if said else ""), soft_wrap=True)

    return report


def _what(each: Happening) -> str:
    return {"attempt": f"attempt {each.attempt}: ", "step": f"{each.stage} ", "status": ""}[each.what]
