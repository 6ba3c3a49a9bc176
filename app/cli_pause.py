"""`modsync pause`, `resume`, `pauses`: stop and go."""

from __future__ import annotations

import click

from app.cli_open import json_option, open_operator, reason_option
from app.cli_output import local, print_json, printable
from app.domain.pause import PauseKind

kind_argument = click.argument("kind", type=click.Choice([each.value for each in PauseKind]))
value_argument = click.argument("value", default="")


@click.command(
    "pause",
    short_help="Stop working on all, a source, a module or a host.",
    epilog="""\b
Examples:
  modsync pause all --reason "GitLab is upgraded"
  modsync pause module 'go.corp.example/platform/*'
  modsync pause host git.corp.example --reason "moving to new disks" """,
)
@kind_argument
@value_argument
@reason_option("Why; shown with every run that waits.")
@json_option
def pause(kind: str, value: str, reason: str, as_json: bool) -> None:
    """Stop working on KIND VALUE: `all`, a `source`, a `module` path (with * at its end all that begin so), a `host`.

    Webhooks are taken as before. A step in hand ends; then its run waits, at no cost, until `modsync resume`.
    """
    new = open_operator().pause(PauseKind(kind), value, reason)
    if as_json:
        print_json({"kind": kind, "value": value, "new": new})
    else:
        click.echo(f"{kind} {value}".strip() + (" is paused" if new else " was paused already"))


@click.command(
    "resume",
    short_help="Go on with what was paused.",
    epilog="""\b
Examples:
  modsync resume all
  modsync resume module 'go.corp.example/platform/*'""",
)
@kind_argument
@value_argument
@reason_option()
@json_option
def resume(kind: str, value: str, reason: str, as_json: bool) -> None:
    """End the pause of KIND VALUE; its runs go on at once, where they were."""
    woken = open_operator().resume(PauseKind(kind), value, reason)
    if as_json:
        print_json({"kind": kind, "value": value, "runs": woken})
    else:
        click.echo(f"{kind} {value}".strip() + f" goes on; {woken} runs were waiting")


@click.command(
    "pauses",
    short_help="List what is paused, by whom and why.",
    epilog="""\b
Examples:
  modsync pauses
  modsync pauses --json""",
)
@json_option
def pauses(as_json: bool) -> None:
    """List what is paused, by whom and why, and how many runs wait."""
    found = open_operator().pauses()
    if as_json:
        print_json(found)
        return
    for each in found.pauses:
        click.echo(printable(f"{each.name}  since {local(each.created_at)} by {each.actor}  {each.reason}".rstrip()))
    click.echo(f"{len(found.pauses)} pauses, {found.runs} runs wait")


commands: tuple[click.Command, ...] = (pause, resume, pauses)
