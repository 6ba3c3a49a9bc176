"""`modsync config`: is the configuration good, and what does it say?"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, SecretStr

from app.cli_open import require_server
from app.config import ConfigError, Settings, load_settings

_config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file; else $MODSYNC_CONFIG, ./modsync.toml, /etc/modsync/modsync.toml.",
)


@click.group(
    "config",
    epilog="""\b
Examples:
  modsync config check
  modsync config show""",
)
def config() -> None:
    """Check and show the configuration."""


@config.command(
    "check",
    epilog="""\b
Examples:
  modsync config check
  modsync config check --config ./draft.toml""",
)
@_config_option
def check(path: Path | None) -> None:
    """Print every problem of the configuration at once (status 1), or what was understood (status 0)."""
    settings = _loaded(path)
    click.echo(f"{settings.path}: good")
    for name, value in _summary(settings):
        click.echo(f"  {name:<9} {value}")
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)


@config.command(
    "show",
    epilog="""\b
Examples:
  modsync config show
  modsync config show | grep -F gitlab.""",
)
@_config_option
def show(path: Path | None) -> None:
    """Print the effective values, with defaults; of a secret only where it comes from."""
    settings = _loaded(path)
    for key, value in flat(settings):
        click.echo(f"{key} = {value}")


commands: tuple[click.Command, ...] = (config,)


def _loaded(path: Path | None) -> Settings:
    """The settings; with problems, print them all and end with status 1."""
    require_server()
    try:
        return load_settings(path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"problem: {problem}", err=True)
        count = len(error.problems)
        click.echo(f"{error.path or 'no file'}: {count} problem{'s' if count != 1 else ''}", err=True)
        raise click.exceptions.Exit(1) from None


def _summary(settings: Settings) -> Iterator[tuple[str, str]]:
    gitlab = settings.gitlab
    yield "web", f"{settings.web.listen}, reached at {settings.web.base_url}"
    yield "database", without_password(settings.store.url)
    yield "queue", without_password(settings.queue.url) or f"embedded, in {settings.data_dir}"
    yield "gitlab", f"{gitlab.url}, branch {gitlab.branch}, pipelines on {_pipeline_ref(settings)}"
    for proxy in settings.proxies:
        yield "proxy", f"{proxy.name} ({proxy.kind}): {proxy.url}"
    for source in settings.sources:
        ids = ", ".join(secret.id for secret in source.secrets)
        yield (
            "source",
            f"{source.name} ({source.scheme}), secrets {ids}: {settings.web.base_url}/webhooks/{source.name}",
        )
    for rule in settings.rules:
        yield "rule", f"{rule.modules} <- {rule.clone or 'the URL in the payload'} -> {rule.mirror}"


def _pipeline_ref(settings: Settings) -> str:
    return "the version's tag" if settings.gitlab.pipeline_ref == "tag" else settings.gitlab.branch


def flat(settings: Settings) -> Iterator[tuple[str, str]]:
    """(dotted key, value as text) of every setting; a secret's value is never in it."""
    for name in type(settings).model_fields:
        if name not in ("origins", "warnings"):
            yield from _flat(getattr(settings, name), name, settings)


def _flat(value: Any, key: str, settings: Settings) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _flat(getattr(value, name), f"{key}.{name}", settings)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for item in value:
            yield from _flat(item, f"{key}[{_label(item)}]", settings)
    else:
        yield key, _text(value, settings.origins.get(key))


def _label(item: BaseModel) -> str:
    return next(str(getattr(item, name)) for name in ("name", "id", "modules") if hasattr(item, name))


def _text(value: Any, origin: str | None) -> str:
    if isinstance(value, SecretStr):
        return f"(set from {origin})"
    if value is None:
        return "(not set)"
    plain = [str(item) for item in value] if isinstance(value, tuple) else value
    text = json.dumps(str(plain) if isinstance(plain, Path) else plain, ensure_ascii=False)
    return without_password(text) + (f"  (from {origin})" if origin else "")


def without_password(text: str) -> str:
    """A URL with its password hidden; also where the password holds an @ or a query names one."""
    text = re.sub(r"(://[^/@:\s]*:)\S*@", r"\1***@", text)
    return re.sub(r"([?&](?:password|passwd|pwd|token|secret)=)[^&\s\"]*", r"\1***", text, flags=re.IGNORECASE)
