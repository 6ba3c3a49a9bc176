"""What the commands need of the service: its settings, its parts, who asks."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.adapters.read_store import SqlReadStore
from app.bootstrap import Container
from app.config import Settings, load_settings
from app.services.queries import Queries, Routing

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def json_option(command: Decorated) -> Decorated:
    """Adds --json, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def open_settings() -> Settings:
    """The settings that --config, $MODSYNC_CONFIG or the usual places name. Error: ConfigError."""
    return load_settings(None, os.environ)


def open_container() -> Container:
    """The service's parts; nothing connects yet. Error: ConfigError."""
    return Container(open_settings())


def open_queries(container: Container) -> Queries:
    """The reading half."""
    settings = container.settings
    allow = {source.name: source.allow for source in settings.sources}
    routing = Routing(container.rules, allow, settings.sandbox.enabled)
    return Queries(SqlReadStore(container.engine, container.clock), routing)


def actor() -> str:
    """Who asks, for the record: `cli:<login name>`, or the user's number where it has no name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return f"cli:{name[:100]}"
