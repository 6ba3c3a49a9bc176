"""`modsync runs`, `show`, `explain`, `replay`, `cancel`."""

from __future__ import annotations

import logging

import click

from app.adapters.ops_store import SqlReplayStore
from app.cli_open import actor, json_option, open_container, open_queries
from app.cli_output import NO, console, print_json, printable
from app.cli_tables import print_explanation, print_run, print_runs
from app.domain.run import Stage, Status
from app.services.run_filter import LONGEST_PAGE, RunFilter
from app.services.stores import Receipt, ReplayOrder


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
@click.option("--since", metavar="TIME", help="Made since then: ISO 8601, or an age like 30m, 24h, 7d.")
@click.option("--until", metavar="TIME", help="Made before then.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, LONGEST_PAGE), help="At most so many.")
@click.option("--cursor", metavar="CURSOR", help="Go on where an earlier list ended.")
@json_option
def runs(limit: int, cursor: str | None, as_json: bool, **wanted: str | None) -> None:
    """List runs, newest first. TEXT is a run's or job's id, a commit, a version, or a part of a module path."""
    container = open_container()
    page = open_queries(container).runs(RunFilter.parse(wanted, container.clock.now()), cursor, limit)
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
    run = open_queries(open_container()).run(identifier)
    if as_json:
        print_json(run)
    else:
        print_run(console(), run)


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
    explanation = open_queries(open_container()).explain(module, version or None)
    if as_json:
        print_json(explanation)
    else:
        print_explanation(console(), explanation)
    ctx.exit(0 if explanation.routed else NO)


@click.command(
    "replay",
    short_help="Begin a new attempt of a run, by its id or a job's.",
    epilog="""\b
Examples:
  modsync replay r0kz3v7m2c5q8x1b4n6d
  modsync replay r0kz3v7m2c5q8x1b4n6d-1-3 --from pipeline --reason "runner was down" """,
)
@click.argument("identifier", metavar="ID")
@click.option("--from", "from_stage", type=click.Choice([each.value for each in Stage]), help="Else where it failed.")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the attempt.")
@click.option("--force", is_flag=True, help="Also a run that is done.")
@json_option
def replay(identifier: str, from_stage: str | None, reason: str, force: bool, as_json: bool) -> None:
    """Begin a new attempt with fresh retries. ID is a run's id or that of any of its RQ jobs."""
    container = open_container()
    order = ReplayOrder(actor(), printable(reason), Stage(from_stage) if from_stage else None, force)
    with _Heard() as heard:
        receipt = container.replay.replay(identifier, order)
    if as_json:
        print_json({"run": receipt.run_id, "status": receipt.status, "job": receipt.job})
        return
    _print_receipt(receipt)
    if heard.events:
        click.echo("Redis does not answer: the sweeper enqueues the job when it is back.", err=True)


def _print_receipt(receipt: Receipt) -> None:
    click.echo(f"run {receipt.run_id}: new attempt, job {receipt.job}")
    click.echo(f"follow it: modsync watch {receipt.run_id}")


@click.command("cancel", short_help="End a run that is in flight.")
@click.argument("identifier", metavar="ID")
@json_option
def cancel(identifier: str, as_json: bool) -> None:
    """End a run that is in flight as failed (cancelled); what it pushed stays. Replay brings it back."""
    container = open_container()
    run = container.replay.find(identifier)
    SqlReplayStore(container.engine).cancel(run.id, actor(), container.clock.now())
    if as_json:
        print_json({"run": run.id, "status": Status.FAILED})
    else:
        click.echo(f"run {run.id} ({run.name}) is cancelled")


class _Heard(logging.Handler):
    """Keeps the services' warnings while it is open, in place of printing them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.events: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the event's name."""
        self.events.append(record.getMessage())

    def __enter__(self) -> _Heard:
        logging.getLogger("app").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("app").removeHandler(self)


commands: tuple[click.Command, ...] = (runs, show, explain, replay, cancel)
