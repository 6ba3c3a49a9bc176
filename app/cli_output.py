"""How the command line speaks: JSON, consoles, times, and errors with their exit status."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from app.config_models import ConfigError
from app.domain.errors import SyncError
from app.domain.run import Status
from app.services.operator import AnswerError
from app.services.views import View, as_json
from app.services.words import duration as duration

NO, USAGE, CONFIGURATION, UNAVAILABLE, NOT_ALLOWED = 1, 2, 3, 4, 5
_STATUS_OF_CODE = {
    "bad_request": USAGE, "server_only": USAGE, "unauthorized": NOT_ALLOWED, "forbidden_role": NOT_ALLOWED,
    "forbidden_scope": NOT_ALLOWED,
    "cross_site": NOT_ALLOWED,
    **dict.fromkeys(
        ("store_unavailable", "queue_unavailable", "busy", "source_rate_limited", "too_many_attempts", "internal",
         "server_unreachable", "server_wrong"), UNAVAILABLE,
    ),
}  # fmt: skip
# A pipe has no width: lines are as long as they are.
_NO_TERMINAL_WIDTH = 10_000

STYLES: dict[str, str] = {
    Status.DONE: "green", Status.FAILED: "bold red", Status.REJECTED: "magenta", Status.QUEUED: "dim",
    Status.MIRROR: "cyan", Status.PIPELINE: "cyan", Status.VERIFY: "cyan", "ok": "green", "retry": "yellow", "bad": "bold red",
}  # fmt: skip


def explain_error(error: Exception) -> int | None:
    """Print an error that a person can act on to stderr and return the exit status; None for a defect of ours."""
    if isinstance(error, ConfigError):
        for problem in error.problems:
            click.echo(f"error: {printable(str(problem))}", err=True)
        return CONFIGURATION
    if not isinstance(error, SyncError):
        return None
    click.echo(f"error: {error.code}: {printable(error.message)}", err=True)
    click.echo(f"advice: {printable(_advice(error))}", err=True)
    return exit_status(error)


def exit_status(error: SyncError) -> int:
    """The command's exit status for an error; the table is in docs/cli.md."""
    return _STATUS_OF_CODE.get(error.code, NO)


def _advice(error: SyncError) -> str:
    if error.code == "store_unavailable" and not isinstance(error, AnswerError):
        return "Check the database; `modsync db check` says whether it has the schema, `modsync db upgrade` makes it."
    return error.advice


def print_json(value: Any) -> None:
    """A view, or JSON's own types, indented; nothing but ASCII, so it cannot upset a terminal."""
    click.echo(json.dumps(value.as_json() if isinstance(value, View) else as_json(value), indent=2))


def console() -> Console:
    """stdout: colours on a terminal only, and no markup, for most texts come from outside."""
    made = Console(markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = _NO_TERMINAL_WIDTH
    return made


def coloured(word: str) -> Text:
    """A status or an outcome in its colour."""
    return Text(word, STYLES.get(word, ""))


def printable(text: str) -> str:
    """Text from outside without what a terminal would obey; line ends stay."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def local(moment: datetime | None) -> str:
    """A time in the reader's zone (TZ), to the second; "-" for none."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"
