"""`modsync deliveries` and `redeliver`: what arrived, what came of it, and taking it once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
from rich.console import Console

from app.cli_layout import print_table, watched
from app.cli_open import json_option, open_operator, reason_option
from app.cli_output import NO, USAGE, console, exit_status, local, print_json, printable
from app.domain.errors import SyncError
from app.services.deliveries import VERDICTS
from app.services.delivery_views import MADE_HERE, DeliveryDetail, DeliverySummary
from app.services.operator import Filters, Operator, Redelivered
from app.services.run_filter import LONGEST_PAGE
from app.services.views import Page

Outcome = tuple[str, Redelivered | SyncError]


@click.command(
    "deliveries",
    short_help="List webhook requests, or show one.",
    epilog="""\b
Examples:
  modsync deliveries --verdict refused --since 24h
  modsync deliveries d0kz3v7m2c5q8x1b4n6d""",
)
@click.argument("identifier", metavar="[DELIVERY]", required=False)
@click.option("--source", metavar="NAME", help="From this source.")
@click.option("--verdict", type=click.Choice(VERDICTS), help="What was decided.")
@click.option("--failed", is_flag=True, help="Refused, or with a run that failed.")
@click.option("--since", metavar="TIME", help="Last came since then: ISO 8601, or an age like 30m, 24h, 7d.")
@click.option("--until", metavar="TIME", help="Last came before then.")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, LONGEST_PAGE), help="At most so many.")
@click.option("--cursor", metavar="CURSOR", help="Go on where an earlier list ended.")
@json_option
def deliveries(
    identifier: str | None, limit: int, cursor: str | None, failed: bool, as_json: bool, **wanted: str | None
) -> None:
    """List authentic webhook requests, newest first, with what was decided and why; or show all of DELIVERY."""
    operator = open_operator()
    if identifier:
        detail = operator.delivery(identifier)
        print_json(detail) if as_json else _print_detail(detail)
        return
    page = operator.deliveries({**wanted, "failed": "true" if failed else None}, cursor, limit)
    print_json(page) if as_json else _print_page(console(), page)


@click.command(
    "redeliver",
    short_help="Take a webhook request once more, or all that failed.",
    epilog="""\b
Examples:
  modsync redeliver d0kz3v7m2c5q8x1b4n6d
  modsync redeliver --failed --since 2h""",
)
@click.argument("identifier", metavar="[DELIVERY]", required=False)
@click.option("--failed", is_flag=True, help="All that were refused, or have a run that failed; needs --since.")
@click.option("--source", metavar="NAME", help="With --failed: from this source.")
@click.option("--since", metavar="TIME", help="With --failed: last came since then.")
@click.option("--until", metavar="TIME", help="With --failed: last came before then.")
@reason_option()
@json_option
@click.pass_context
def redeliver(
    ctx: click.Context, /, identifier: str | None, failed: bool, reason: str, as_json: bool, **wanted: str | None
) -> None:
    """Take DELIVERY once more under the rules of today: what failed of it is begun anew, what is done stays.

    Status 1 when it (or one of them) is refused again.
    """
    if bool(identifier) == failed or (failed and not wanted["since"]):
        raise click.UsageError("name a DELIVERY, or give --failed with --since")
    operator = open_operator()
    ids = [identifier] if identifier else list(_failed(operator, {**wanted, "failed": "true"}))[::-1]
    found: list[Outcome] = []
    try:
        if identifier:
            found.append((identifier, operator.redeliver(identifier, reason)))
        else:
            found.extend(watched(_redelivered(operator, ids, reason), len(ids), "redeliver", quiet=as_json))
    finally:  # what was done is told, whatever becomes of the rest
        if found or not identifier:
            _tell(found, as_json)
    ctx.exit(NO if any(isinstance(outcome, SyncError) for _, outcome in found) else 0)


commands: tuple[click.Command, ...] = (deliveries, redeliver)


def _failed(operator: Operator, wanted: Filters) -> Iterator[str]:
    """The ids, newest first. What reconcile and backfill made is left out: nobody sent it, its runs are replayed."""
    cursor: str | None = None
    while True:
        page = operator.deliveries(wanted, cursor, LONGEST_PAGE)
        yield from (each.id for each in page.items if each.scheme != MADE_HERE)
        if (cursor := page.next) is None:
            return


def _redelivered(operator: Operator, ids: Sequence[str], reason: str) -> Iterator[Outcome]:
    """Each with what came of it; what is wrong with one stops none of the others, a service that is away does."""
    for delivery in ids:
        try:
            yield delivery, operator.redeliver(delivery, reason)
        except SyncError as error:
            if exit_status(error) not in (NO, USAGE):
                raise
            yield delivery, error


def _as_json(delivery: str, outcome: Redelivered | SyncError) -> dict[str, Any]:
    if isinstance(outcome, SyncError):
        return {"delivery": delivery, "error": outcome.code, "message": outcome.message}
    runs = [each.as_json() for each in outcome.runs]
    return {"delivery": delivery, "runs": runs, "ignored": outcome.ignored}


def _say_all(found: list[Outcome]) -> None:
    if not found:
        click.echo("no delivery failed in that time")
    for delivery, outcome in found:
        click.echo(f"{delivery}: {_said(outcome)}")


def _tell(found: list[Outcome], as_json: bool) -> None:
    if as_json:
        print_json([_as_json(each, outcome) for each, outcome in found])
    else:
        _say_all(found)


def _said(outcome: Redelivered | SyncError) -> str:
    if isinstance(outcome, SyncError):
        return printable(f"{outcome.code}: {outcome.message}")
    if outcome.ignored:
        return printable(f"ignored ({outcome.ignored}): {outcome.message}")
    return ", ".join(
        f"run {each.id} {f'begun anew, job {each.job}' if each.job else each.status}" for each in outcome.runs
    )


def _print_page(out: Console, page: Page[DeliverySummary]) -> None:
    if not page.items:
        out.print("no deliveries")
        return
    rows = [
        (local(each.last_seen_at), _times(each), each.source, each.verdict, each.reason, _runs(each), each.id)
        for each in page.items
    ]
    columns = ("last came", "times", "source", "verdict", "why", "runs", "delivery")
    print_table(out, columns, rows, whole=("last came", "delivery"))
    if page.next:
        out.print(f"there are more: --cursor {page.next}")


def _times(found: DeliverySummary) -> str:
    return f"{found.seen} since {local(found.received_at)}" if found.seen > 1 else "once"


def _runs(found: DeliverySummary) -> str:
    return printable(", ".join(f"{run.module}@{run.version or '?'} {run.status}" for run in found.runs))


def _print_detail(found: DeliveryDetail) -> None:
    why = f" ({found.reason}: {found.message})" if found.reason else ""
    click.echo(f"{found.id}  {found.verdict}{printable(why)}")
    times = f", seen {found.seen} times, last {local(found.last_seen_at)}" if found.seen > 1 else ""
    click.echo(f"  received   {local(found.received_at)}{times}")
    click.echo(f"  source     {found.source} ({found.scheme}), secret {found.secret}")
    if found.skew_seconds is not None:
        click.echo(f"  clock      the sender's is {found.skew_seconds:+.1f} s from ours")
    for run in found.runs:
        known = ", known already" if run.duplicate else ""
        click.echo(printable(f"  run        {run.id}  {run.module}@{run.version or '?'}  {run.status}{known}"))
    for name, value in found.headers.items():
        click.echo(printable(f"  {name}: {value}"))
    click.echo(printable(f"\n{found.body}") if found.kept else "  headers and body are not kept any more")
