"""Every command of `modsync`: its help, its examples, its --json, and its place in docs/cli.md."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app import cli_output
from app.cli import COMMANDS, LazyGroup, cli

PAGE = (Path(__file__).parents[2] / "docs/cli.md").read_text()
# They run until they are ended, print a script, JSON lines or a text for people, or write a file that was named.
WITHOUT_JSON = {
    "web", "worker", "sweeper", "redis", "completion", "audit export", "sources guide", "module-zip",
}  # fmt: skip


def walked(prefix: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            yield from walked(f"{prefix} {name}", each)
        if command.invoke_without_command:
            yield prefix, command
    else:
        yield prefix, command


def found() -> dict[str, click.Command]:
    context = click.Context(cli, info_name="modsync")
    tops = ((name, cli.get_command(context, name)) for name in COMMANDS)
    return {name: each for top, command in tops if command for name, each in walked(top, command)}


ALL = found()


def helped(name: str) -> str:
    """What --help prints."""
    command = ALL[name]
    return command.get_help(
        click.Context(command, info_name=f"modsync {name}", terminal_width=200, max_content_width=200)
    )


def examples(name: str) -> list[list[str]]:
    """The words of each example line that runs modsync, as far as it is modsync's."""
    text = re.split(r"Examples?:", helped(name), maxsplit=1)[-1]
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", text).splitlines()]
    return [words(line) for line in lines if re.search(r"\bmodsync\b", line)]


def words(line: str) -> list[str]:
    """What modsync gets of a shell's line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&<>;")
    lexer.whitespace_split = True
    all_words = list(lexer)
    mine = all_words[all_words.index("modsync") + 1 :]
    ends = [at for at, word in enumerate(mine) if set(word) <= set("|&<>;0123456789") and not word.isdigit()]
    return mine[: ends[0]] if ends else mine


@pytest.mark.parametrize("name", ALL)
def test_it_has_examples_that_it_understands(name: str) -> None:
    shown = examples(name)
    own = [
        each for each in shown if " ".join(each).removeprefix("--config /etc/modsync/modsync.toml ").startswith(name)
    ]
    assert own, "no example of the command itself"
    for each in shown:
        understood(each)


def understood(arguments: list[str]) -> None:
    """Parse as click does, without running anything. A usage error fails; files of examples need not be here."""
    context = cli.make_context("modsync", list(arguments))
    command: click.Command = cli
    while isinstance(command, click.Group) and (getattr(context, "_protected_args", []) or context.args):
        rest = [*getattr(context, "_protected_args", []), *context.args]
        name, command_, rest = command.resolve_command(context, rest)
        assert command_ is not None
        command = command_
        try:
            context = command.make_context(name, rest, parent=context)
        except click.BadParameter as error:
            if not re.search("does not exist|No such file", error.message):
                raise
            return


@pytest.mark.parametrize("name", ALL)
def test_it_tells_scripts_in_json(name: str) -> None:
    has = any("--json" in option.opts for option in ALL[name].params)
    assert has == (name not in WITHOUT_JSON)


@pytest.mark.parametrize("name", ALL)
def test_it_is_in_the_page(name: str) -> None:
    assert re.search(rf"`modsync {re.escape(name)}[` \[]", PAGE), f"docs/cli.md does not tell of `modsync {name}`"


@pytest.mark.parametrize("name", ALL)
def test_every_option_says_what_it_is_for(name: str) -> None:
    silent = [each.opts for each in ALL[name].params if isinstance(each, click.Option) and not each.help]
    assert silent == []


def test_the_page_has_the_table_of_exit_statuses() -> None:
    told = {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    names = ("NO", "USAGE", "CONFIGURATION", "UNAVAILABLE", "NOT_ALLOWED")
    assert told == {0, 130, *(getattr(cli_output, name) for name in names)}


def test_the_page_names_no_command_that_is_not_there() -> None:
    for line in re.findall(r"`modsync ([a-z][a-z -]*?)[`\[A-Z<|]", PAGE):
        name = line.strip().partition(" -")[0].strip()
        assert any(each == name or each.startswith(f"{name} ") or name.startswith(f"{each} ") for each in ALL), name


def test_now_is_listed_with_all_that_it_says() -> None:
    context = click.Context(cli, info_name="modsync", terminal_width=200, max_content_width=200)
    (line,) = (each for each in cli.get_help(context).splitlines() if each.strip().startswith("now "))
    assert "health" in line
    assert "service level" in line


@pytest.mark.parametrize(
    ("stopped", "status", "said"),
    [(KeyboardInterrupt(), 130, "interrupted"), (click.Abort(), 1, "Aborted"), (None, 130, "interrupted")],
)
def test_an_interrupted_command_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, stopped: BaseException | None, status: int, said: str
) -> None:
    """A question that is answered by Ctrl+C, too; "no" is an answer."""

    @click.command("now")
    def stops() -> None:
        if stopped:
            raise stopped
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise click.Abort from None

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: stops)
    result = CliRunner().invoke(cli, ["now"])
    assert (result.exit_code, said in result.output) == (status, True)
