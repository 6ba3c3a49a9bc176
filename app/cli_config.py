"""`modsync config`: is the configuration good, and what does it say?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from app.cli_open import json_option, require_server
from app.cli_output import print_json
from app.config import ConfigError, Settings, load_settings
from app.config_models import Problem
from app.config_text import flat as flat
from app.config_text import without_password as without_password

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
@json_option
def check(path: Path | None, as_json: bool) -> None:
    """Print every problem of the configuration at once (status 1), or what was understood (status 0)."""
    settings = _loaded(path, as_json=as_json, tries=True)
    if as_json:
        _print_problems(settings.path, (), settings.warnings)
        return
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
@json_option
def show(path: Path | None, as_json: bool) -> None:
    """Print the effective values, with defaults; of a secret only where it comes from."""
    settings = _loaded(path)
    if as_json:
        print_json(dict(flat(settings)))
        return
    for key, value in flat(settings):
        click.echo(f"{key} = {value}")


commands: tuple[click.Command, ...] = (config,)


def _loaded(path: Path | None, *, as_json: bool = False, tries: bool = False) -> Settings:
    """The settings; with problems, print them all and end with status 1. `tries`: whether data_dir can be used, too."""
    require_server()
    try:
        settings = load_settings(path, os.environ)
        if tries:
            _try_data_dir(settings)
        return settings
    except ConfigError as error:
        if as_json:
            _print_problems(error.path, error.problems)
        for problem in error.problems:
            click.echo(f"problem: {problem}", err=True)
        count = len(error.problems)
        click.echo(f"{error.path or 'no file'}: {count} problem{'s' if count != 1 else ''}", err=True)
        raise click.exceptions.Exit(1) from None


def _try_data_dir(settings: Settings) -> None:
    """By a file without a name, in data_dir or where it is to be made. ConfigError when that fails."""
    place = settings.data_dir
    try:
        there = next(each for each in (place, *place.parents) if _exists(each))
        # The embedded Redis' own directory is another user's where modsync ran as that user before.
        for each in (there, *(part for part in (place / "redis",) if _exists(part))):
            with tempfile.TemporaryFile(dir=each):
                pass
    except (OSError, ValueError) as error:
        what = f"can be neither written nor made: {getattr(error, 'strerror', None) or error}"
        problem = Problem("data_dir", what, "Give a directory where modsync's user may write, and check as that user.")
        raise ConfigError([problem], settings.path) from error


def _exists(place: Path) -> bool:
    """Also a link that leads nowhere. Errors: OSError, ValueError, where nobody can tell."""
    try:
        place.lstat()
    except FileNotFoundError:
        return False
    return True


def _print_problems(path: Path | None, problems: Iterable[Problem], warnings: Iterable[object] = ()) -> None:
    told = [{"key": each.key, "what": each.what, "fix": each.fix} for each in problems]
    print_json({"path": str(path) if path else None, "problems": told, "warnings": [str(each) for each in warnings]})


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
