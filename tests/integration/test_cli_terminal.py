"""What `modsync` shows on a terminal, and not in a pipe: bars of long work, colours. Each in a pseudo terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

from app.adapters.database import writing
from app.adapters.tables import mirrors
from tests.integration.cli_world import MODSYNC, TIMEOUT, Cli
from tests.integration.databases import sqlite_only
from tests.integration.stored import TARGET, Stored
from tests.integration.web_world import free_port

BAR = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
ESCAPE = "\x1b["
MIRRORS = 3


@pytest.fixture
def cli(tmp_path: Path, engine: Engine) -> Cli:
    """Of three mirrors, for each two failed runs and their deliveries; at GitLab's and the sources' port nobody listens."""
    made = Cli(tmp_path, engine.url.render_as_string(hide_password=False))
    away = f"http://127.0.0.1:{free_port()}"
    text = (tmp_path / "modsync.toml").read_text()
    text = text.replace("https://gitlab.corp.example", away).replace("https://git.corp.example", away)
    (tmp_path / "modsync.toml").write_text(f"{text}[sandbox]\nenabled = true\n")
    filled(engine, away)
    return made


def filled(engine: Engine, away: str) -> None:
    stored = Stored(engine)
    stored.now = datetime.now(UTC) - timedelta(minutes=5)
    for number in range(MIRRORS):
        name = f"platform/m{number}"
        target = replace(TARGET, clone_url=f"{away}/{name}.git", mirror=f"go-mirrors/{name}")
        for version, error in (("v1.0.0", "tag_missing"), ("v1.1.0", "tag_moved")):
            run = stored.release(version=version, module=f"go.corp.example/{name}", target=target).run_id
            stored.fail(run, error=error)
        row = {"path": target.mirror, "project_id": number, "fence": 0, "updated_at": stored.now}
        with writing(engine) as connection:
            connection.execute(insert(mirrors).values(**row))


def in_terminal(cli: Cli, *arguments: str) -> str:
    """All that the command wrote to its terminal, 100 cells wide."""
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen(
        [MODSYNC, *arguments], cwd=cli.home, env=cli.environment | {"TERM": "xterm-256color"},
        stdin=its, stdout=its, stderr=its, start_new_session=True,
    )  # fmt: skip
    os.close(its)
    written = b""
    with suppress(OSError):  # EIO: nobody has the terminal open any more
        while chunk := os.read(mine, 65536):
            written += chunk
    os.close(mine)
    process.wait(TIMEOUT)
    return written.decode()


def plain(text: str) -> str:
    """Without what moves the cursor and colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@sqlite_only
@pytest.mark.parametrize(
    ("pipe", "terminal", "total"),
    [
        ("replay --failed tag_moved --yes", "replay --failed tag_missing --yes", MIRRORS),
        ("redeliver --failed --since 1h", "redeliver --failed --since 1h", 2 * MIRRORS),
        ("mirrors check", "mirrors check", MIRRORS),
        ("reconcile --all", "reconcile --all", MIRRORS),
    ],
)
def test_long_work_has_a_bar_on_a_terminal_and_none_in_a_pipe(cli: Cli, pipe: str, terminal: str, total: int) -> None:
    piped = cli(*pipe.split())
    assert piped.out
    assert BAR not in piped.out + piped.err
    assert ESCAPE not in piped.out + piped.err
    shown = plain(in_terminal(cli, *terminal.split()))
    assert BAR in shown, shown
    assert re.search(rf"\b{total}/{total}\b", shown), shown


@sqlite_only
def test_states_have_colours_on_a_terminal_and_none_in_a_pipe(cli: Cli) -> None:
    (run, *_) = (each["id"] for each in cli("runs", "--json").json["items"])
    for arguments in (("watch", run), ("runs",), ("show", run)):
        assert ESCAPE in in_terminal(cli, *arguments)
        assert ESCAPE not in cli(*arguments).out
        quiet = Cli.__new__(Cli)
        quiet.home, quiet.environment = cli.home, cli.environment | {"NO_COLOR": "1"}
        assert not re.search(r"\x1b\[[0-9;]*3[1-7]m", in_terminal(quiet, *arguments))
