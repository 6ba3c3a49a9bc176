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
from app.services.board import MOST, MirrorRow, ModuleRow, Now
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
    short_help="Say what runs, waits, is blocked and failed.",
    epilog="""\b
Examples:
  modsync now
  modsync now --json""",
)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, LONGEST_PAGE), help="Runs of each kind.")
@json_option
def now(limit: int, as_json: bool) -> None:
    """Say how things stand: runs by state, what waits and for how long, what the newest runs met at GitLab and the proxy."""
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
         (each.branch_at or "-")[:12], printable(each.busy or ""))
        for each in page.items
    ]  # fmt: skip
    _print_rows(out, ("mirror", "status", "changed", "branch at", "busy"), rows, "no mirrors", page.next)


def _print_rows(
    out: Console, columns: Sequence[str], rows: Sequence[Sequence[Cell]], none: str, following: str | None = None
) -> None:
    if not rows:
        out.print(none)
        return
    print_table(out, columns, rows, whole=("status", "changed", "code"))
    if following:
        out.print(f"there are more: --after {following}")


def _print_now(out: Console, found: Now) -> None:
    counts = found.counts
    out.print(
        "runs      " + (", ".join(f"{number} {status}" for status, number in counts.runs.items() if number) or "none")
    )
    waits = f", the oldest for {duration(counts.due_oldest_seconds)}" if counts.due else ""
    out.print(f"due       {counts.due}{waits}; {counts.leases_expired} with a dead worker")
    for seen in found.seen:
        said = f"{seen.error}: {printable(seen.message or '')}" if seen.error else "answered well"
        name = f"{seen.system} {printable(seen.name)}".strip()
        out.print(f"{name:<9} {said}, {local(seen.at)}", soft_wrap=True)
    for words, name in _KINDS:
        runs = getattr(found, name)
        if runs:
            out.print(f"\n{words}")
            print_runs(out, Page(runs, None))
