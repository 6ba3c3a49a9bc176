"""`modsync sources`: how each platform signs, which secrets are in use, and what to enter there."""

from __future__ import annotations

import click
from rich.table import Table

from app.adapters.delivery_store import SqlDeliveryStore
from app.cli_guide import guide_text
from app.cli_open import json_option, open_container, open_settings
from app.cli_output import console, local, print_json
from app.config_models import Settings
from app.services.delivery_views import SecretUse


@click.group(
    "sources", invoke_without_command=True, short_help="Say how each platform signs and which secrets are used."
)
@json_option
@click.pass_context
def sources(ctx: click.Context, /, as_json: bool) -> None:
    """List the configured sources with their webhook addresses, and of each secret how often and when it last matched.

    A secret that no delivery matched for longer than the platform is silent can be taken out of the configuration.
    """
    if ctx.invoked_subcommand is not None:
        return
    container = open_container()
    known = {(use.source, use.secret): use for use in SqlDeliveryStore(container.engine).secret_uses()}
    rows = _rows(container.settings, known)
    if as_json:
        print_json([{"scheme": scheme, "url": url, **use.as_json()} for scheme, url, use in rows])
    else:
        _print(rows)


@sources.command("guide")
@click.argument("name", metavar="NAME")
def guide(name: str) -> None:
    """Say step by step what to enter in the platform that NAME stands for."""
    settings = open_settings()
    source = settings.source(name)
    if source is None:
        names = ", ".join(each.name for each in settings.sources)
        raise click.UsageError(f"the configuration has no source {name!r}; it has {names}")
    click.echo(guide_text(source, settings.web.base_url, settings.origins))


commands: tuple[click.Command, ...] = (sources,)


def _rows(settings: Settings, known: dict[tuple[str, str], SecretUse]) -> list[tuple[str, str, SecretUse]]:
    """(scheme, webhook URL, use) per live secret, and per retired one that deliveries matched: those have no URL."""
    rows: list[tuple[str, str, SecretUse]] = []
    for source in settings.sources:
        url = f"{settings.web.base_url}/webhooks/{source.name}"
        for secret in source.secrets:
            unused = SecretUse(source.name, secret.id, 0, None)
            rows.append((source.scheme, url, known.pop((source.name, secret.id), unused)))
    return [*rows, *(("", "", use) for use in known.values())]


def _print(rows: list[tuple[str, str, SecretUse]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("source", "scheme", "secret", "deliveries", "last used", "clock", "webhook"):
        table.add_column(column, overflow="fold")
    for scheme, url, use in rows:
        skew = "" if use.skew_seconds is None else f"{use.skew_seconds:+.1f} s"
        last = local(use.last_used_at) if use.last_used_at else "never"
        table.add_row(use.source, scheme or "(retired)", use.secret, str(use.count), last, skew, url)
    console().print(table)
