"""`modsync notify`: does a receiver hear us, and what became of what it was sent?"""

from __future__ import annotations

import click
from rich.table import Table

from app import notices
from app.cli_open import json_option, open_container
from app.cli_output import NO, UNAVAILABLE, console, local, print_json, printable
from app.domain.errors import SyncError


@click.group("notify", short_help="Test the receivers of notifications, and see how they do.")
def notify() -> None:
    """Test the receivers of notifications, and see how they do."""


@notify.command(
    "test",
    epilog="""\b
Example:
  modsync notify test on-call""",
)
@click.argument("name")
@json_option
@click.pass_context
def test(ctx: click.Context, name: str, as_json: bool) -> None:
    """Send a test message to the receiver NAME and print what came back.

    Status 0 when it was taken, 1 when it was refused, 4 when nobody answers.
    """
    try:
        answer = notices.notifying(open_container()).test(name)
    except SyncError as error:
        if error.code == "not_found":
            raise
        _say(name, error.message, as_json, error=error)
        ctx.exit(UNAVAILABLE if error.code == "receiver_unreachable" else NO)
    _say(name, answer, as_json)


@notify.command(
    "list",
    epilog="""\b
Examples:
  modsync notify list --json""",
)
@json_option
def list_receivers(as_json: bool) -> None:
    """List the receivers: delivered and given up since ever, waiting now, and since when one takes nothing."""
    states = notices.notifying(open_container()).states()
    if as_json:
        print_json([state.as_json() for state in states])
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("name", "delivered", "given up", "waiting", "last delivered", "failing since", "last answer"):
        table.add_column(column)
    for each in states:
        times = [local(at) if at else "" for at in (each.delivered_at, each.failing_since)]
        counts = (str(each.delivered), str(each.given_up), str(each.waiting))
        table.add_row(each.name, *counts, *times, printable(each.answer))
    console().print(table)


commands: tuple[click.Command, ...] = (notify,)


def _say(name: str, answer: str, as_json: bool, *, error: SyncError | None = None) -> None:
    if as_json:
        print_json({"receiver": name, "ok": error is None, "code": error.code if error else None, "answer": answer})
    elif error:
        click.echo(f"{name}: {error.code}: {printable(answer)}", err=True)
        click.echo(error.advice, err=True)
    else:
        click.echo(f"{name}: {printable(answer)}")
