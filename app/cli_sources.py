"""`modsync sources`: how each platform signs, which secrets are in use, and what to enter there."""

from __future__ import annotations

from collections.abc import Sequence

import click

from app.cli_guide import guide_text
from app.cli_layout import print_table
from app.cli_open import json_option, open_operator, open_settings, reason_option
from app.cli_output import NO, console, local, print_json, printable
from app.services.operator import SecretRow
from app.services.rehearsal import Rehearsal, Sample


@click.group(
    "sources",
    invoke_without_command=True,
    short_help="Say how each platform signs and which secrets are used.",
    epilog="""\b
Examples:
  modsync sources
  modsync sources guide platform
  modsync sources test platform""",
)
@json_option
@click.pass_context
def sources(ctx: click.Context, /, as_json: bool) -> None:
    """List the configured sources with their webhook addresses, and of each secret how often and when it last matched.

    A secret that no delivery matched for longer than the platform is silent can be taken out of the configuration.
    """
    if ctx.invoked_subcommand is not None:
        return
    rows = open_operator().sources()
    if as_json:
        print_json(list(rows))
    else:
        _print(rows)


@sources.command(
    "guide",
    epilog="""\b
Examples:
  modsync sources guide platform""",
)
@click.argument("name", metavar="NAME")
def guide(name: str) -> None:
    """Say step by step what to enter in the platform that NAME stands for."""
    settings = open_settings()
    source = settings.source(name)
    if source is None:
        names = ", ".join(each.name for each in settings.sources)
        raise click.UsageError(f"the configuration has no source {name!r}; it has {names}")
    click.echo(guide_text(source, settings.web.base_url, settings.origins))


@sources.command(
    "test",
    short_help="Take a made-up signed delivery through intake.",
    epilog="""\b
Examples:
  modsync sources test platform
  modsync sources test platform --module go.corp.example/platform/log --version v1.4.0""",
)
@click.argument("name", metavar="NAME")
@click.option("--module", default="", help="The module of the release; else one that the source's first rule names.")
@click.option("--version", default="", help="Its version; else v0.0.1.")
@click.option("--commit", default="", help="Its commit; else nobody's.")
@click.option("--repo-url", default="", help="Its repository, where the payload tells one.")
@reason_option()
@json_option
def test(name: str, module: str, version: str, commit: str, repo_url: str, *, reason: str, as_json: bool) -> None:
    """Make up a release, sign it as the platform of NAME does, with each secret, and say what would become of it.

    No delivery and no run is recorded; the audit log says who tested. Status 1 when a step is not good.
    """
    found = open_operator().test_source(name, Sample(module, version, commit, repo_url), reason)
    if as_json:
        print_json(found)
    else:
        _print_test(found)
    if not all(step.good for step in found.steps):
        raise click.exceptions.Exit(NO)


def _print_test(found: Rehearsal) -> None:
    click.echo(f"{found.verdict}{f' (run {found.run})' if found.run else ''}")
    for step in found.steps:
        click.echo(f"  {'good' if step.good else 'BAD '}  {printable(step.what)}: {printable(step.text)}")
    if found.error:
        click.echo(f"  {found.error.advice}")


commands: tuple[click.Command, ...] = (sources,)


def _print(rows: Sequence[SecretRow]) -> None:
    shown = [
        (row.source, row.scheme or "(retired)", row.secret, str(row.count),
         local(row.last_used_at) if row.last_used_at else "never",
         "" if row.skew_seconds is None else f"{row.skew_seconds:+.1f} s", row.url)
        for row in rows
    ]  # fmt: skip
    columns = ("source", "scheme", "secret", "deliveries", "last used", "clock", "webhook")
    print_table(console(), columns, shown, whole=("source", "secret", "last used"))
