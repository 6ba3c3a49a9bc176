"""`modsync token`, `login-link` and `audit`: who may come in, and what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from app.cli_layout import print_table
from app.cli_open import actor, json_option, open_container, open_operator, reason_option
from app.cli_output import NO, console, local, print_json
from app.domain.access import Credential, Role, Scope
from app.domain.audit import Entry, Kept, verify, verify_kept

_ROLES = click.Choice([role.value for role in Role])
_SCOPES = click.Choice([scope.value for scope in Scope])


@click.group(
    "token",
    short_help="Make, list and end API tokens.",
    epilog="""\b
Examples:
  modsync token create on-call --role operator --days 30
  modsync token list""",
)
def token() -> None:
    """Make, list and end API tokens."""


@token.command("create")
@click.argument("name")
@click.option("--role", type=_ROLES, default=Role.VIEWER.value, show_default=True, help="What it may do.")
@click.option(
    "--days", type=click.FloatRange(0, 3660, min_open=True), default=90.0, show_default=True, help="How long it lives."
)
@click.option(
    "--scope", "scopes", type=_SCOPES, multiple=True, help="Limit it to this group of addresses; may be given again."
)
@reason_option()
@json_option
def create(name: str, role: str, days: float, scopes: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Make an API token and print it; it is shown this once and kept as a digest only.

    \b
    Examples:
      modsync token create prometheus --scope metrics
      modsync token create on-call --role operator --days 30
    """
    wanted = [Scope(each) for each in scopes]
    secret, made = open_container().access.create_token(name, Role(role), days, actor(), reason, scopes=wanted)
    if as_json:
        print_json({"token": secret, **_json(made)})
    else:
        click.echo(secret)
        click.echo(f"{made.name}: {made.role.value}, until {local(made.expires_at)}, id {made.id}", err=True)


@token.command(
    "list",
    epilog="""\b
Examples:
  modsync token list
  modsync token list --json""",
)
@json_option
def list_tokens(as_json: bool) -> None:
    """List API tokens: role, scopes, end, last use. The tokens themselves are not kept."""
    found = open_container().access.tokens()
    if as_json:
        print_json([_json(each) for each in found])
        return
    columns = ("id", "name", "role", "scopes", "made by", "until", "last used", "ended")
    print_table(console(), columns, [_row(each) for each in found], whole=("id", "name", "until", "last used"))


def _row(each: Credential) -> tuple[str, ...]:
    return (
        each.id, each.name, each.role.value, " ".join(sorted(each.scopes)) or "all", each.created_by, local(each.expires_at),
        local(each.last_used_at) if each.last_used_at else "never", local(each.revoked_at) if each.revoked_at else "",
    )  # fmt: skip


@token.command(
    "revoke",
    epilog="""\b
Examples:
  modsync token revoke grafana --reason "moved to another host" """,
)
@click.argument("token")
@reason_option()
@json_option
def revoke(token: str, reason: str, as_json: bool) -> None:
    """End an API token at once, by its id or name; its sessions are asked for a new login."""
    ended = open_container().access.revoke_token(token, actor(), reason)
    if as_json:
        print_json(_json(ended))
    else:
        click.echo(f"token {ended.name} ({ended.id}) has ended")


@click.command("login-link", short_help="Print an address that logs one person in, once.")
@click.argument("name")
@click.option("--role", type=_ROLES, default=Role.OPERATOR.value, show_default=True, help="What the session may do.")
@reason_option()
@json_option
def login_link(name: str, role: str, reason: str, as_json: bool) -> None:
    """Print an address that opens one session for NAME within ten minutes.

    \b
    Examples:
      modsync login-link alice --role operator --reason "on call this week"
    """
    container = open_container()
    secret = container.access.create_link(name, Role(role), actor(), reason)
    url = f"{container.settings.web.base_url}/login?link={secret}"
    if as_json:
        print_json({"url": url})
    else:
        click.echo(url)


@click.group(
    "audit",
    short_help="Check and export the audit log.",
    epilog="""\b
Examples:
  modsync audit verify
  modsync audit export > audit.jsonl""",
)
def audit() -> None:
    """Check and export the audit log."""


@audit.command(
    "verify",
    epilog="""\b
Examples:
  modsync audit verify
  modsync audit verify --expect "$(cat /elsewhere/kept)" --json""",
)
@click.option("--expect", metavar="N:HASH", help="What an earlier verify said to keep: that entry must still be there.")
@json_option
@click.pass_context
def verify_log(ctx: click.Context, expect: str | None, as_json: bool) -> None:
    """Go through the whole log: status 0 when nothing was changed, removed or reordered, else 1.

    Entries cut off at the end leave a chain that is right: keep what it prints elsewhere, and give it to --expect later.
    """
    kept, entries = Kept.parse(expect) if expect else None, open_operator().audit(0)
    count, last, fault = verify_kept(entries, kept) if kept else verify(entries)
    keep = str(Kept(count, last))
    if as_json:
        print_json({"entries": count, "last_hash": last, "keep": keep, "fault": fault.what if fault else None})
    elif fault:
        click.echo(f"the audit log is not intact: {fault.what}; {count} entries before it are right")
    else:
        click.echo(f"{count} entries, nothing changed\nkeep this: {keep}")
    ctx.exit(NO if fault else 0)


@audit.command(
    "export",
    epilog="""\b
Examples:
  modsync audit export > audit.jsonl
  modsync audit export --after 1200 | jq 'select(.action == "run.replay")'""",
)
@click.option("--after", type=click.IntRange(0), default=0, help="Only entries with a number above this one.")
def export(after: int) -> None:
    """Print the log as JSON lines, oldest first."""
    for line in _lines(open_operator().audit(after)):
        click.echo(line)


def _lines(entries: Iterator[Entry]) -> Iterator[str]:
    for entry in entries:
        yield json.dumps(entry.as_json(), sort_keys=True)


def _json(each: Credential) -> dict[str, Any]:
    return {
        "id": each.id, "name": each.name, "role": each.role.value, "scopes": sorted(each.scopes), "created_by": each.created_by,
        "created_at": each.created_at.isoformat(), "expires_at": each.expires_at.isoformat(),
        "last_used_at": each.last_used_at.isoformat() if each.last_used_at else None,
        "revoked_at": each.revoked_at.isoformat() if each.revoked_at else None,
    }  # fmt: skip


commands: tuple[click.Command, ...] = (token, login_link, audit)
