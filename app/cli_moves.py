"""`modsync accept-move`: let a released version have another commit, deliberately."""

from __future__ import annotations

import click

from app.cli_open import actor, json_option, open_container
from app.cli_output import print_json
from app.services.moves import MoveOrder


@click.command(
    "accept-move",
    short_help="Let a released version move to another commit.",
    epilog="""\b
Examples:
  modsync accept-move go.corp.example/platform/log@v1.4.0 \\
    --commit 4f2a... --reason "the tag was on the wrong branch; INC-4711" """,
)
@click.argument("release", metavar="MODULE@VERSION")
@click.option("--commit", required=True, metavar="SHA", help="The full commit that the source's tag is at now.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the decision.")
@json_option
def accept_move(release: str, commit: str, reason: str, as_json: bool) -> None:
    """Give a released version another commit: the one way to do what modsync otherwise rejects.

    Begins a run that waits for the mirror, removes the old protected tag by GitLab's API, and pushes the new one. Where
    the private proxy keeps the old content it ends proxy_holds_old and says how to purge it there. Whoever has
    the old version in go.sum gets a checksum mismatch: release a new version instead, wherever you can.
    """
    module, at, version = release.partition("@")
    if not at:
        raise click.UsageError("name MODULE@VERSION")
    order = MoveOrder(module, version, commit, actor(), reason)
    receipt = open_container().moves.accept(order)
    if as_json:
        print_json({"run": receipt.run_id, "status": receipt.status, "job": receipt.job})
        return
    click.echo(f"run {receipt.run_id}: moves {order.name} to {commit}, job {receipt.job}")
    click.echo(f"follow it: modsync watch {receipt.run_id}")


commands: tuple[click.Command, ...] = (accept_move,)
