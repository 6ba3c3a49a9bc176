"""`modsync replay`: one run by its id, or all that failed with a code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from app.cli_layout import watched
from app.cli_open import json_option, open_operator, reason_option
from app.cli_output import NO, console, print_json, printable
from app.cli_tables import print_runs
from app.domain.errors import SyncError
from app.domain.run import Stage
from app.services.bulk import BATCH, ReplayPlan
from app.services.operator import Begun, Operator, Replayed
from app.services.run_filter import LONGEST_PAGE
from app.services.views import Page


@click.command(
    "replay",
    short_help="Begin a new attempt of a run, or of all that failed alike.",
    epilog="""\b
Examples:
  modsync replay r0kz3v7m2c5q8x1b4n6d
  modsync replay r0kz3v7m2c5q8x1b4n6d-1-3 --from pipeline --reason "runner was down"
  modsync replay --failed pipeline_failed --since 2h --dry-run
  modsync replay --failed pipeline_failed --since 2h --yes --reason "runner was down" """,
)
@click.argument("identifier", metavar="[ID]", required=False)
@click.option("--from", "from_stage", type=click.Choice([each.value for each in Stage]), help="Else where it failed.")
@reason_option("Why; kept with the attempt.")
@click.option("--force", is_flag=True, help="Also a run that is done.")
@click.option("--failed", "code", metavar="CODE", help="In place of ID: all that ended failed with this error code.")
@click.option("--since", default="24h", show_default=True, metavar="TIME", help="With --failed: since then.")
@click.option("--after", metavar="WORD", help="With --failed: go on behind the last ones; the plan says the word.")
@click.option("--all", "everything", is_flag=True, help="With --failed: go on by itself to the end, 500 at a time.")
@click.option("--dry-run", is_flag=True, help="With --failed: only say what would be begun anew.")
@click.option("--yes", is_flag=True, help="With --failed: do not ask.")
@json_option
@click.pass_context
def replay(
    ctx: click.Context, identifier: str | None, from_stage: str | None, reason: str, force: bool, code: str | None,
    since: str, after: str | None, everything: bool, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Begin a new attempt with fresh retries. ID is a run's id or that of any of its RQ jobs.

    With --failed, at most 500 runs, oldest first, are shown and, after a question, begun anew where they failed, but for
    those that today's rules refuse; --all asks once and goes on behind them; status 1 when one of them could not be.
    """
    if bool(identifier) == bool(code):
        raise click.UsageError("name an ID, or give --failed CODE")
    if everything and (identifier or dry_run):
        raise click.UsageError("--all goes with --failed, and not with --dry-run")
    if code and (from_stage or force):
        raise click.UsageError("--from and --force go with an ID")
    operator = open_operator()
    if identifier:
        _one(operator, identifier, Stage(from_stage) if from_stage else None, reason, force, as_json)
        return
    plan = operator.plan_replays(code or "", since, after, LONGEST_PAGE)
    if dry_run:
        _show(plan, as_json)
        return
    if everything:
        _check_bound(plan)
    _ask(plan, yes, as_json, everything=everything)
    plans = _pages(operator, plan, since) if everything else iter([plan])
    ctx.exit(_many(operator, plans, reason, as_json))


commands: tuple[click.Command, ...] = (replay,)


def _one(operator: Operator, identifier: str, stage: Stage | None, reason: str, force: bool, as_json: bool) -> None:
    with _Heard() as heard:
        begun = operator.replay(identifier, stage, reason, force)
    if as_json:
        print_json(begun)
        return
    print_begun(begun)
    if heard.events:
        click.echo("Redis does not answer: the sweeper enqueues the job when it is back.", err=True)


def print_begun(begun: Begun) -> None:
    """The new attempt's job, and how to follow it."""
    click.echo(f"run {begun.run}: new attempt, job {begun.job}")
    click.echo(f"follow it: modsync watch {begun.run}")


def _show(plan: ReplayPlan, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    print_runs(console(), Page(plan.runs, None))
    _say_refused(plan)
    refused = f", {len(plan.refused)} of them would be refused" if plan.refused else ""
    click.echo(f"{len(plan.runs)} runs failed with {printable(plan.code)}{refused}{_more(plan)}")


def _say_refused(plan: ReplayPlan) -> None:
    for run_id, error in plan.refused.items():
        click.echo(printable(f"{run_id} would be refused: {error.code}: {error.message}"))


def _more(plan: ReplayPlan) -> str:
    if not plan.next:
        return ""
    of = f" (of {plan.total} in all)" if plan.total is not None else ""
    return f"; more match{of}: go on with --after {plan.next}, or with --all"


def _pages(operator: Operator, plan: ReplayPlan, since: str) -> Iterator[ReplayPlan]:
    """The plan, and those behind it, each made when the one before is done."""
    yield plan
    while plan.next:
        plan = operator.plan_replays(plan.code, since, plan.next, LONGEST_PAGE)
        yield plan


def _check_bound(plan: ReplayPlan) -> None:
    """An older server shows those that fail again at once, page after page, without end."""
    if plan.next and plan.until is None:
        raise click.UsageError("the server is too old for --all: leave it out, and go on with --after")


def _ask(plan: ReplayPlan, yes: bool, as_json: bool, *, everything: bool) -> None:
    if yes or not (plan.begun or (everything and plan.next)):
        return
    if as_json or not _somebody():
        raise click.UsageError("there is nobody to ask: give --yes, or --dry-run to look first")
    _show(plan, as_json)
    if everything and plan.next:
        click.echo(f"{plan.total} runs in all failed so until {plan.until:%Y-%m-%d %H:%M:%S} UTC, these among them")
        click.confirm(f"begin all {plan.total} anew, but for those that today's rules refuse?", abort=True)
        return
    click.confirm("begin them anew?", abort=True)


def _somebody() -> bool:
    return sys.stdin.isatty()


def _many(operator: Operator, plans: Iterator[ReplayPlan], reason: str, as_json: bool) -> int:
    """Bring each plan about; JSON comes at the end as one, also of what was done when a service went away."""
    told: dict[str, Any] = {"runs": [], "refused": {}, "next": None}
    try:
        for plan in plans:
            _brought_about(operator, plan, reason, told, as_json=as_json)
            told["next"] = plan.next
    except SyncError:
        if as_json:
            print_json({**told, "ended": "early"})
        raise
    if as_json:
        print_json(told)
    return NO if told["refused"] or any(each.error for each in told["runs"]) else 0


def _brought_about(
    operator: Operator, plan: ReplayPlan, reason: str, told: dict[str, Any], *, as_json: bool
) -> None:  # fmt: skip
    named = [f"{run.id}:{run.attempt}" for run in plan.begun]
    done: list[Replayed] = []
    try:
        done.extend(watched(_batches(operator, named, reason), len(named), "replay", quiet=as_json))
    finally:
        told["runs"] += done
        told["refused"] |= dict(plan.refused)
        if not as_json:
            _say(done, plan)


def _batches(operator: Operator, ids: Sequence[str], reason: str) -> Iterator[Replayed]:
    for start in range(0, len(ids), BATCH):
        yield from operator.replay_many(ids[start : start + BATCH], reason)


def _say(done: Sequence[Replayed], plan: ReplayPlan) -> None:
    for each in done:
        click.echo(printable(f"{each.run}: {f'{each.error.code}: {each.error.message}' if each.error else each.job}"))
    _say_refused(plan)
    begun = sum(each.error is None for each in done)
    click.echo(f"{begun} of {len(plan.runs)} runs begun anew{_more(plan)}")


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
