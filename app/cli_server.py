"""`modsync db`, `web`, `worker`, `sweeper`, `redis`: the service's own processes and its database."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

import click

from app.adapters import migrate
from app.adapters.backup import backup
from app.adapters.embedded_redis import is_only_server, make_directories, server_command
from app.adapters.job_queue import where
from app.cli_open import json_option, open_settings, require_server
from app.cli_output import NO, print_json
from app.config_models import ConfigError, Problem


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@click.group(
    "db",
    short_help="Bring the database to the newest schema, or look at it.",
    epilog="""\b
Examples:
  modsync db check || modsync db upgrade
  modsync db backup /backup/modsync.db""",
)
def db() -> None:
    """Bring the database to the newest schema, or look at it."""


@db.command("upgrade", epilog=_examples("modsync db upgrade"))
@json_option
def upgrade(as_json: bool) -> None:
    """Bring the database to the newest schema; safe to repeat, and for several at once."""
    url = open_settings().store.url
    migrate.upgrade(url)
    found = migrate.current(url)
    _say(found, as_json)
    if migrate.is_newer(found):
        click.echo(
            f"the database is newer than this modsync, which needs {migrate.head()}: it was left as it is", err=True
        )


@db.command("current", epilog=_examples("modsync db current --json"))
@json_option
def current(as_json: bool) -> None:
    """Print the schema revision of the database ("none" for an empty one)."""
    _say(migrate.current(open_settings().store.url), as_json)


@db.command("check", epilog=_examples("modsync db check || modsync db upgrade"))
@json_option
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Say whether the database has the schema that this modsync needs: status 0 or 1."""
    found, needed = migrate.current(open_settings().store.url), migrate.head()
    fits = found == needed or migrate.is_newer(found)
    if as_json:
        print_json({"revision": found, "needed": needed, "ok": fits})
    elif found == needed:
        click.echo(f"the database is at {needed}, as it should be")
    elif fits:
        click.echo(f"the database is at {found}, of a newer modsync; this one needs {needed}, which is fine")
    else:
        click.echo(f"the database is at {found or 'none'}, needed is {needed}: run `modsync db upgrade`")
    ctx.exit(0 if fits else NO)


@db.command("backup", epilog=_examples("modsync db backup /backup/modsync.db"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def backup_command(file: Path, as_json: bool) -> None:
    """Copy the SQLite database to FILE while modsync works; for PostgreSQL use pg_dump."""
    backup(open_settings().store.url, file)
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        click.echo(f"{file}: {size} bytes, checked")


@click.command(
    "web",
    short_help="Serve webhooks, API and pages (gunicorn).",
    epilog=_examples("modsync web", "modsync --config /etc/modsync/modsync.toml web"),
)
def web() -> None:
    """Serve webhooks, the API and the pages until SIGTERM; the database is brought to the newest schema first.

    With the database away it starts all the same: /readyz says so, and webhooks are answered 503.
    """
    open_settings()  # problems of the configuration are told here, in words, not by gunicorn
    arguments = ["-m", "gunicorn", "-c", "python:app.gunicorn_conf", "app.wsgi:create()"]
    _become([sys.executable, *arguments])


@click.command(
    "worker",
    short_help="Bring releases through.",
    epilog=_examples("modsync worker --processes 4", "modsync worker --queue backfill"),
)
@click.option(
    "--queue", type=click.Choice(["live", "backfill"]), default="live", show_default=True, help="Whose jobs it takes."
)
@click.option("--processes", type=click.IntRange(1, 1024), help="Else as the configuration's [worker] says.")
def worker(queue: str, processes: int | None) -> None:
    """Bring releases through until SIGTERM; what is under way goes on elsewhere or later."""
    _work(["worker", "--queue", queue, *(["--processes", str(processes)] if processes else [])])


@click.command("sweeper", short_help="Give jobs to runs that have none.", epilog=_examples("modsync sweeper"))
def sweeper() -> None:
    """Give jobs to runs that should be at work and have none, until SIGTERM; one or more of it may run."""
    _work(["sweeper"])


@click.command(
    "redis", short_help="Run the embedded Redis, where none is configured.", epilog=_examples("modsync redis")
)
def redis() -> None:
    """Run the embedded Redis in the data directory until SIGTERM.

    Where the configuration names a Redis, this only says so and waits for SIGTERM, so that one Procfile serves both.
    """
    settings = open_settings()
    if not settings.queue.url:
        _become(_embedded_redis(settings.data_dir))
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    click.echo(f"Redis is configured ({where(settings.queue.url)}): no embedded one is started")
    signal.sigwait(ends)


commands: tuple[click.Command, ...] = (db, web, worker, sweeper, redis)


def _say(revision: str | None, as_json: bool) -> None:
    if as_json:
        print_json({"revision": revision})
    else:
        click.echo(revision or "none")


def _embedded_redis(data_dir: Path) -> list[str]:
    try:
        make_directories(data_dir)
        alone = is_only_server(data_dir)
    except (OSError, ValueError) as error:
        what = f"cannot hold the embedded Redis: {getattr(error, 'strerror', None) or error}"
        raise ConfigError([Problem("data_dir", what, "Give a directory where modsync's user may write.")]) from error
    if not alone:
        raise click.ClickException(f"an embedded Redis runs already in {data_dir}")
    return server_command(data_dir)


def _work(arguments: list[str]) -> None:
    require_server()
    # By name: the command line and the workers are siblings, neither is built on the other (see pyproject.toml).
    importlib.import_module("workers.__main__").main(arguments)


def _become(command: list[str]) -> None:
    """Turn this process into another program: it gets our signals, and we leave nothing behind."""
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - our own interpreter or server, no shell
