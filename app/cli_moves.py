"""`modsync accept-move`: let a released version have another commit, deliberately."""

from __future__ import annotations

import click

from app.cli_open import json_option, open_operator
from app.cli_output import print_json, printable


@click.command(
    "accept-move",
    short_help="Let a released version move to another commit.",
    epilog="""\b
Examples:
  modsync accept-move go.corp.example/platform/log@v1.4.0 \\
    --commit 4f2a... --reason "the tag was on the wrong branch; INC-4711" """,
)
@click.argument("release", metavar="MODULE@VERSION")
@click.option("--commit", required=True, metavar="SHA", help="The full commit to move to, as the rejection names it.")
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
    begun = open_operator().accept_move(module, version, commit, printable(reason))
    if as_json:
        print_json(begun)
        return
    click.echo(f"run {begun.run}: moves {module}@{version} to {commit}, job {begun.job}")
    click.echo(f"follow it: modsync watch {begun.run}")


commands: tuple[click.Command, ...] = (accept_move,)
