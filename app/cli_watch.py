"""`modsync watch`: follow one run until it ends, or all of them until Ctrl+C."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import click
from rich.text import Text

from app.cli_open import json_option, open_container, open_queries
from app.cli_output import NO, coloured, console, duration, local, printable
from app.domain.errors import SyncError
from app.domain.run import ACTIVE, Status
from app.services.queries import Queries
from app.services.run_filter import RunFilter
from app.services.views import RunDetail, RunSummary
from app.services.watching import Happening, ended_well, happenings

_INTERRUPTED = 130
_BATCH = 200

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
    "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop waiting after so long, status 1."
)
@click.option(
    "--interval", type=click.FloatRange(0.05, 60), default=0.5, show_default=True, help="Seconds between two looks."
)
@json_option
@click.pass_context
def watch(ctx: click.Context, identifier: str | None, timeout: float | None, interval: float, as_json: bool) -> None:
    """Print what happens to a run as it happens, one line each, until it ends: status 0 when it is done, else 1.

    Without an ID, what happens to all runs from now on, until Ctrl+C.
    """
    container = open_container()
    queries = open_queries(container)
    report = _report_json if as_json else _reporter()
    try:
        if identifier:
            ctx.exit(_follow(queries, identifier, report, _ticks(interval, timeout)))
        _follow_all(queries, container.clock.now, report, _ticks(interval, timeout))
    except KeyboardInterrupt:
        ctx.exit(_INTERRUPTED)


commands: tuple[click.Command, ...] = (watch,)


def _ticks(interval: float, timeout: float | None) -> Iterator[None]:
    """One look at once, then one every `interval` seconds, the last when the time is over."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        yield
        now = time.monotonic()
        if end is not None and now >= end:
            return
        time.sleep(interval if end is None else min(interval, end - now))


def _follow(queries: Queries, identifier: str, report: Report, ticks: Iterator[None]) -> int:
    before: RunDetail | None = None
    for _ in ticks:
        run = queries.run(identifier)
        for each in happenings(before, run):
            report(each)
        verdict = ended_well(run)
        if verdict is not None:
            return 0 if verdict else NO
        before = run
    click.echo(f"run {identifier} has not ended yet", err=True)
    return NO


def _follow_all(queries: Queries, now: Callable[[], datetime], report: Report, ticks: Iterator[None]) -> None:
    known: dict[str, RunDetail] = {}
    begun = now()
    click.echo("following all runs; Ctrl+C ends it", err=True)
    for _ in ticks:
        for run_id in sorted(_changed(queries, known, begun)):
            run = _look(queries, run_id)
            if run is None:
                known.pop(run_id, None)
                continue
            before, known[run_id] = known.get(run_id), run
            for each in happenings(before, run):
                if before or each.at >= begun:
                    report(each)


def _changed(queries: Queries, known: dict[str, RunDetail], begun: datetime) -> set[str]:
    """The runs that are in flight or new and not as we know them, and those in flight that left the list."""
    wanted = (RunFilter(status=ACTIVE), RunFilter(since=begun))
    seen = {run.id: run for each in wanted for run in queries.runs(each, limit=_BATCH).items}
    gone = {run.id for run in known.values() if ended_well(run) is None and run.id not in seen}
    return gone | {run.id for run in seen.values() if run.id not in known or _state(run) != _state(known[run.id])}


def _state(run: RunSummary) -> tuple[Status, int, datetime]:
    return run.status, run.attempt, run.updated_at


def _look(queries: Queries, run_id: str) -> RunDetail | None:
    try:
        return queries.run(run_id)
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
