"""`modsync send`: a release webhook as the source's platform would send it, signed as that platform signs."""

from __future__ import annotations

import json
import secrets
import shlex
from datetime import UTC, datetime
from typing import Any

import click
import requests

from app.adapters.http_session import PinnedSession, Transport
from app.cli_open import json_option, open_settings
from app.cli_output import NO, UNAVAILABLE, print_json, printable
from app.config_models import Settings, Source
from app.domain.announce import TELLS_NO_REPOSITORY, Announcement, Signing, announce, sign
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.explain import Route, Routing, parse_release, route_told


@click.command(
    "send",
    short_help="Send a signed release webhook, or print it as a curl command.",
    epilog="""\b
Examples:
  modsync send platform --module go.corp.example/platform/log --version v1.4.0 \\
      --commit 3f0c2a9d5b7e1846c0d3f2a1b4c5d6e7f8091a2b
  modsync send github --module go.corp.example/platform/log --version v1.4.0
  modsync send platform --module go.corp.example/platform/log --ref main \\
      --commit 3f0c2a9d5b7e1846c0d3f2a1b4c5d6e7f8091a2b --dry-run""",
)
@click.argument("source", metavar="SOURCE")
@click.option("--module", required=True, metavar="PATH", help="The module's path.")
@click.option("--version", metavar="VERSION", help="The released version; else --ref is its tag, or a branch.")
@click.option("--commit", metavar="SHA", help="The released commit, in full; the article's form needs it.")
@click.option("--ref", metavar="REF", help="A tag or a branch; else the version's tag as the rules say.")
@click.option("--repo-url", metavar="URL", help="The clone URL; else the rule's, where the platform tells one.")
@click.option("--url", metavar="URL", help="Where modsync answers; else the configuration's web.base_url.")
@click.option("--dry-run", is_flag=True, help="Send nothing; print a curl command that does it.")
@json_option
@click.pass_context
def send(
    ctx: click.Context, /, source: str, url: str | None, dry_run: bool, as_json: bool, **fields: str | None
) -> None:
    """Send a release webhook to modsync as SOURCE's platform would, signed with its first secret.

    Status 0 when it was accepted, 1 when it was refused, 4 when modsync does not answer.
    """
    settings = open_settings()
    found = _source(settings, source)
    headers, body = _request(settings, found, fields)
    address = f"{(url or settings.web.base_url).rstrip('/')}/webhooks/{source}"
    if dry_run:
        if found.scheme == "gitlab-token":
            click.echo("this platform sends the secret itself: so does the command", err=True)
        click.echo(_curl(address, headers, body))
        return
    ctx.exit(_print(_post(settings, address, headers, body), as_json))


commands: tuple[click.Command, ...] = (send,)


def _source(settings: Settings, name: str) -> Source:
    found = settings.source(name)
    if found is None:
        names = ", ".join(each.name for each in settings.sources)
        raise click.UsageError(f"the configuration has no source {name!r}; it has {names}")
    return found


def _request(settings: Settings, source: Source, fields: dict[str, str | None]) -> tuple[dict[str, str], bytes]:
    """Headers and body of the signed request."""
    now = datetime.now(UTC)
    try:
        event, body = announce(source.scheme, _announcement(settings, source, fields), now)
    except SyncError as error:
        raise click.UsageError(f"{error.message}: give --{(error.field or '').replace('_', '-')}") from None
    raw = json.dumps(body).encode()
    key = source.secrets[0].value.get_secret_value().encode()
    signed = sign(source.scheme, raw, Signing(key, f"modsync-{secrets.token_hex(8)}", now))
    return {"Content-Type": "application/json", **event, **signed}, raw


def _announcement(settings: Settings, source: Source, fields: dict[str, str | None]) -> Announcement:
    module, version = parse_release(fields["module"] or "", fields["version"])
    routing = Routing(settings.routing, {source.name: source.allow}, settings.sandbox.enabled)
    route = route_told(routing, source.name, module, version, fields["repo_url"])
    ref = fields["ref"] or _tag(route, source, module, version)
    if not ref.startswith("refs/") and source.scheme not in ("article", "standard-webhooks"):
        ref = f"refs/tags/{ref}"
    known = route.target.clone_url if route.target and source.scheme not in TELLS_NO_REPOSITORY else None
    return Announcement(module, ref, version, fields["commit"], fields["repo_url"] or known)


def _tag(route: Route, source: Source, module: ModulePath, version: Version | None) -> str:
    if version is None:
        raise click.UsageError("give --version or --ref")
    if route.tag is None:
        raise click.UsageError(f"no rule of source {source.name} says what the tag of {module} is: give --ref")
    return f"refs/tags/{route.tag}"


def _curl(address: str, headers: dict[str, str], body: bytes) -> str:
    words = ["curl", "--fail-with-body"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    return shlex.join([*words, "--data-binary", body.decode(), address])


def _post(settings: Settings, address: str, headers: dict[str, str], body: bytes) -> requests.Response:
    ca_file = settings.outgoing.ca_file
    try:
        with PinnedSession(address, Transport(ca_file=str(ca_file) if ca_file else None)) as session:
            return session.post(address, data=body, headers=headers)
    except (requests.RequestException, ValueError) as error:
        click.echo(f"error: {address} does not answer: {type(error).__name__}", err=True)
        raise click.exceptions.Exit(UNAVAILABLE) from error


def _print(answer: requests.Response, as_json: bool) -> int:
    """Say what the answer is; the exit status."""
    try:
        body = answer.json()
    except ValueError:
        body = {"text": answer.text[:2000]}
    if as_json:
        print_json({"status": answer.status_code, "answer": body})
    else:
        _say(answer.status_code, body)
    if answer.status_code >= 500:
        return UNAVAILABLE
    return 0 if answer.ok else NO


def _say(status: int, body: Any) -> None:
    if not isinstance(body, dict) or "delivery" not in body:
        click.echo(f"HTTP {status}: {printable(json.dumps(body))}", err=True)
        return
    click.echo(f"HTTP {status}: delivery {body['delivery']}")
    for run in body.get("runs", []):
        known = ", known already" if run.get("duplicate") else ""
        click.echo(f"  run {run.get('id')}: {run.get('status')}{known}; follow it: modsync watch {run.get('id')}")
