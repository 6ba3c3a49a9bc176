"""`modsync runs`, `show`, `gosum`, `explain`, `cancel`."""

from __future__ import annotations

import click

from app.cli_open import json_option, open_operator, reason_option
from app.cli_output import NO, console, print_json, printable
from app.cli_tables import print_explanation, print_run, print_runs
from app.domain.errors import SyncError
from app.domain.run import Status
from app.services.operator import Operator
from app.services.run_filter import LONGEST_PAGE
from app.services.views import RunDetail


@click.command(
    "runs",
    short_help="List runs, newest first.",
    epilog="""\b
Examples:
  modsync runs --status failed,rejected --since 24h
  modsync runs --module 'go.corp.example/platform/*' --json
  modsync runs log@v1.4.0""",
)
@click.argument("q", metavar="[TEXT]", required=False)
@click.option("--module", metavar="PATH", help="This module; with a * at the end, all that begin so.")
@click.option("--version", metavar="VERSION", help="This version.")
@click.option("--commit", metavar="HEX", help="This commit, at least its first 7 digits.")
@click.option("--status", metavar="NAMES", help="With commas between: " + ", ".join([*Status, "active", "ended"]) + ".")
@click.option("--source", metavar="NAME", help="What this source reported.")
@click.option("--error", metavar="CODE", help="With this error code.")
@click.option("--mirror", metavar="PATH", help="To this mirror.")
@click.option("--since", metavar="TIME", help="Made since then: ISO 8601, or an age like 30m, 24h, 7d.")
@click.option("--until", metavar="TIME", help="Made before then.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, LONGEST_PAGE), help="At most so many.")
@click.option("--cursor", metavar="CURSOR", help="Go on where an earlier list ended.")
@json_option
def runs(limit: int, cursor: str | None, as_json: bool, **wanted: str | None) -> None:
    """List runs, newest first. TEXT is a run's or job's id, a commit, a version, or a part of a module path."""
    page = open_operator().runs(wanted, cursor, limit)
    if as_json:
        print_json(page)
    else:
        print_runs(console(), page)


@click.command(
    "show",
    short_help="Show all of a run, by its id or a job's.",
    epilog="""\b
Examples:
  modsync show r0kz3v7m2c5q8x1b4n6d
  modsync show r0kz3v7m2c5q8x1b4n6d-2-1 --json""",
)
@click.argument("identifier", metavar="ID")
@json_option
def show(identifier: str, as_json: bool) -> None:
    """Show a run's attempts and stages with their times, its error with advice, its go.sum lines.

    ID is a run's id or that of any of its RQ jobs.
    """
    run = open_operator().run(identifier)
    if as_json:
        print_json(run)
    else:
        print_run(console(), run)


@click.command(
    "gosum",
    short_help="Print the go.sum lines that modsync has proved.",
    epilog="""\b
Examples:
  modsync gosum go.corp.example/platform/log@v1.4.0 >> go.sum
  modsync gosum r0kz3v7m2c5q8x1b4n6d --json""",
)
@click.argument("name", metavar="MODULE@VERSION|ID")
@json_option
def gosum(name: str, as_json: bool) -> None:
    """Print the two go.sum lines of a release as its run proved them; `modsync checksum` computes them anew.

    Status 1 when nothing of it was proved yet.
    """
    run = _run_of(open_operator(), name)
    lines = run.facts.go_sum
    if not lines:
        raise SyncError("not_found", f"run {run.id} ({run.name}, {run.status}) has no go.sum lines yet")
    if as_json:
        print_json({"module": run.module, "version": run.version, "run": run.id, "go_sum": lines})
    else:
        click.echo("\n".join(printable(line) for line in lines))


def _run_of(operator: Operator, name: str) -> RunDetail:
    module, at, version = name.partition("@")
    if not at:
        return operator.run(name)
    held = [each.run for each in operator.explain(module, version).releases if each.version == version and each.run]
    if not held:
        raise SyncError("not_found", f"no run holds {name[:300]}")
    return operator.run(held[0])


@click.command(
    "explain",
    short_help="Say which rule, mirror, tag and proxy apply to a module.",
    epilog="""\b
Examples:
  modsync explain go.corp.example/platform/log
  modsync explain go.corp.example/platform/log/v2@v2.0.1 --json""",
)
@click.argument("release", metavar="MODULE[@VERSION]")
@json_option
@click.pass_context
def explain(ctx: click.Context, release: str, as_json: bool) -> None:
    """Say which rule, clone URL, mirror, tag and proxy apply to MODULE today, and what is known of it.

    Status 1 when no rule would bring it through.
    """
    module, _, version = release.partition("@")
    explanation = open_operator().explain(module, version or None)
    if as_json:
        print_json(explanation)
    else:
        print_explanation(console(), explanation)
    ctx.exit(0 if explanation.routed else NO)


@click.command(
    "cancel",
    short_help="End a run that is in flight.",
    epilog="""\b
Examples:
  modsync cancel r0kz3v7m2c5q8x1b4n6d --reason "released by mistake" """,
)
@click.argument("identifier", metavar="ID")
@reason_option()
@json_option
def cancel(identifier: str, reason: str, as_json: bool) -> None:
    """End a run that is in flight as failed (cancelled); what it pushed stays. Replay brings it back."""
    done = open_operator().cancel(identifier, reason)
    if as_json:
        print_json({"run": done.run, "status": done.status})
    else:
        click.echo(f"run {done.run} ({printable(done.name)}) is cancelled")


commands: tuple[click.Command, ...] = (runs, show, gosum, explain, cancel)
