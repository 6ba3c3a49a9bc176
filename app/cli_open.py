"""What the commands need of modsync: on the server its settings and parts, elsewhere its API; and who asks."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from app.domain.errors import SyncError

if TYPE_CHECKING:
    from app.bootstrap import Container
    from app.config_models import Settings
    from app.services.operator import Operator

URL = "MODSYNC_URL"
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def json_option(command: Decorated) -> Decorated:
    """Adds --json, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def reason_option(said: str = "Why, for the audit log.") -> Callable[[Decorated], Decorated]:
    """Adds --reason: every command has it that does something which the audit log tells of."""
    return click.option("--reason", default="", metavar="TEXT", callback=_readable, help=said)


def _readable(_context: click.Context, _option: click.Parameter, reason: str) -> str:
    from app.cli_output import printable

    return printable(reason)


def is_remote() -> bool:
    """True when --server or $MODSYNC_URL names a server: then everything is asked of its API."""
    return bool(os.environ.get(URL, "").strip())


def open_operator() -> Operator:
    """What people ask and do, here or over the API; nothing connects yet. Error: ConfigError."""
    if is_remote():
        from app.cli_remote import open_remote

        return open_remote(os.environ)
    from app.operator_local import LocalOperator

    return LocalOperator(open_container(), actor())


def require_server() -> None:
    """For commands that need modsync's own machine. Error: server_only, when another one is named."""
    if is_remote():
        context = click.get_current_context(silent=True)
        name = context.command_path if context else "this command"
        raise SyncError("server_only", f"`{name}` works on modsync's own machine, and {URL} names another one")


def open_settings() -> Settings:
    """The settings that --config, $MODSYNC_CONFIG or the usual places name. Errors: ConfigError, server_only."""
    require_server()
    from app.config import load_settings

    return load_settings(None, os.environ)


def open_container() -> Container:
    """The service's parts; nothing connects yet. Errors: ConfigError, server_only."""
    settings = open_settings()
    from app.bootstrap import Container

    return Container(settings)


def actor() -> str:
    """Who asks, for the record: `cli:<login name>`, or the user's number where it has no name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return f"cli:{name[:100]}"
