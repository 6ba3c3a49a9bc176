"""`modsync now`, `failures`, `modules`: what the pages' lists show."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console

from app.cli_layout import Cell, print_table
from app.cli_open import json_option, open_operator
from app.cli_output import coloured, console, local, print_json, printable
from app.cli_tables import print_runs
from app.domain.errors import CATALOG
from app.services.board import MOST, LevelView, Mark, MirrorRow, ModuleRow, Now
from app.services.level import GOAL_SECONDS
from app.services.reconciled import LastReconcile
from app.services.run_filter import LONGEST_PAGE
from app.services.views import Page
from app.services.words import duration

limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, LONGEST_PAGE), help="At most so many."
)
after_option = click.option("--after", metavar="PATH", help="Go on behind this one.")
_KINDS = (("running", "running"), ("waiting", "waiting"), ("blocked", "blocked"), ("failed since yesterday", "failed"))


@click.command(
    "now",
    short_help="Say what runs, waits or failed, the health, the service level.",
    epilog="""\b
Examples:
  modsync now
  modsync now --json""",
)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, LONGEST_PAGE), help="Runs of each kind.")
@json_option
def now(limit: int, as_json: bool) -> None:
    """Say how things stand: runs by state, what waits and for how long; the health of GitLab, proxies, Redis, database,
    disk and tokens; how soon releases were downloadable; what reconcile last found."""
    found = open_operator().now(limit)
    if as_json:
        print_json(found)
    else:
        _print_now(console(), found)


@click.command(
    "failures",
    short_help="Count failed runs by error code.",
    epilog="""\b
Examples:
  modsync failures --since 7d
  modsync failures --json""",
)
@click.option("--since", default="24h", show_default=True, metavar="TIME", help="Ended since then: a time, or an age.")
@json_option
def failures(since: str, as_json: bool) -> None:
    """Count the runs that ended failed by error code, with what to do; `modsync replay --failed CODE` replays them."""
    found = open_operator().failures(since)
    if as_json:
        print_json(list(found))
        return
    rows = [(each.code, str(each.runs), CATALOG[each.code].advice if each.code in CATALOG else "") for each in found]
    _print_rows(console(), ("code", "runs", "advice"), rows, "no run failed in that time")


@click.command(
    "modules",
    short_help="List modules by path.",
    epilog="""\b
Examples:
  modsync modules
  modsync modules platform/ --json""",
)
@click.argument("text", default="")
@after_option
@limit_option
@json_option
def modules(text: str, after: str | None, limit: int, as_json: bool) -> None:
    """List modules whose path contains TEXT: their newest run, their runs, and how many versions their mirror holds."""
    page = open_operator().modules(text, after, limit)
    if as_json:
        print_json(page)
    else:
        print_modules(console(), page)


commands: tuple[click.Command, ...] = (now, failures, modules)


def print_modules(out: Console, page: Page[ModuleRow]) -> None:
    """A line for each module."""
    rows = [
        (printable(each.module), coloured(each.newest.status), printable(each.newest.version or each.newest.ref),
         local(each.newest.updated_at), _counted(each.runs), _counted(each.versions))
        for each in page.items
    ]  # fmt: skip
    _print_rows(out, ("module", "status", "newest", "changed", "runs", "versions"), rows, "no modules", page.next)


def _counted(number: int) -> str:
    return f"{number}+" if number >= MOST else str(number)


def print_mirrors(out: Console, page: Page[MirrorRow]) -> None:
    """A line for each mirror."""
    rows = [
        (printable(each.path), coloured(each.newest.status if each.newest else "-"), local(each.updated_at),
         (each.branch_at or "-")[:12], printable(each.source_url or "-"), printable(each.busy or ""))
        for each in page.items
    ]  # fmt: skip
    _print_rows(out, ("mirror", "status", "changed", "branch at", "mirror of", "busy"), rows, "no mirrors", page.next)


def _print_rows(
    out: Console, columns: Sequence[str], rows: Sequence[Sequence[Cell]], none: str, following: str | None = None
) -> None:
    if not rows:
        out.print(none)
        return
    print_table(out, columns, rows, whole=("status", "changed", "code"))
    if following:
        out.print(f"there are more: --after {following}")


def _print_marks(out: Console, marks: Sequence[Mark]) -> None:
    if not marks:
        return  # an older server
    rows = [
        (each.name, coloured(each.state), printable(each.text), local(each.at) if each.at else "now",
         "" if each.state == "ok" else each.advice)
        for each in marks
    ]  # fmt: skip
    out.print()
    print_table(out, ("health", "state", "what", "seen", "advice"), rows, whole=("health", "state", "seen"))
    out.print()


def _level(level: LevelView) -> str:
    if level.share is None:
        return "no release was due yet"
    kinds = ", ".join(f"{count} {kind.value.replace('_', ' ')}" for kind, count in level.counts.items() if count)
    return f"{level.share * 100:.1f} % of {level.judged} downloadable within {GOAL_SECONDS // 60} min ({kinds})"


def _print_reconcile(out: Console, last: LastReconcile) -> None:
    if not last.compared and not last.unanswered:
        out.print("reconcile: no repository was compared yet")
        return
    found = "".join(f", {count} {name.replace('_', ' ')}" for name, count in last.counts.items())
    unanswered = f", {last.unanswered} could not be asked" if last.unanswered else ""
    said = f"{last.compared} of {last.repositories} repositories compared, the last at {local(last.newest)}"
    out.print(f"reconcile: {said}{found}, {_number(last.runs, 'run')} begun{unanswered}", soft_wrap=True)
    for each in last.people:
        why = each.error.code if each.error else _number(each.for_a_person, "finding")
        out.print(f"  a person is needed: {printable(each.mirror)}: {why}", soft_wrap=True)


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _print_now(out: Console, found: Now) -> None:
    counts = found.counts
    out.print(
        "runs      " + (", ".join(f"{number} {status}" for status, number in counts.runs.items() if number) or "none")
    )
    waits = f", the oldest for {duration(counts.due_oldest_seconds)}" if counts.due else ""
    out.print(f"due       {counts.due}{waits}; {counts.leases_expired} with a dead worker")
    _print_marks(out, found.marks)
    for level in found.levels:
        out.print(f"{level.title.lower()}: {_level(level)}", soft_wrap=True)
    if found.reconcile:
        _print_reconcile(out, found.reconcile)
    for words, name in _KINDS:
        runs = getattr(found, name)
        if runs:
            out.print(f"\n{words}")
            print_runs(out, Page(runs, None))
