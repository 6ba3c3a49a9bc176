"""The audit log's entries, as docs/security.md has them: all that the code writes, and which commands do it, with a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_cli_help import ALL

ROOT = Path(__file__).parents[2]
# Commands that do nothing which the audit log tells of by their name: they look, or run a process, or act elsewhere.
LOOKING = {
    "now", "runs", "show", "watch", "gosum", "explain", "modules", "failures", "pauses", "deliveries", "sources",
    "sources guide", "token list", "audit verify", "audit export", "notify list", "doctor", "doctor explain", "doctor proxy",
    "config check", "config show", "gitlab check", "mirrors list", "mirrors findings",
    "db current", "db check", "checksum", "module-zip",
    "completion",
}  # fmt: skip
# `send` comes in as a delivery, `notify test` goes out, the rest is modsync's own upkeep and processes.
ELSEWHERE = {"send", "notify test", "db upgrade", "db backup", "web", "worker", "sweeper", "redis"}


def table() -> dict[str, set[str]]:
    """Action -> the commands that do it, from the page."""
    part = (ROOT / "docs/security.md").read_text().partition("| entry | object | by |")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in part.splitlines()[2:]]
    return {
        action: {found.removesuffix(" --fix") for found in re.findall(r"`modsync ([^`]+)`", by)}
        for actions, _, by in rows
        for action in re.findall(r"`([^`]+)`", actions)
    }


def written() -> set[str]:
    """The actions of all entries that the code writes."""
    files = [*(ROOT / "app").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]
    return {action for path in files for node in ast.walk(ast.parse(path.read_text())) for action in _actions(node)}


def _actions(node: ast.AST) -> Iterator[str]:
    """Of `append(connection, actor, ACTION, ...)`, `audit.append(actor, ACTION, ...)` and `Note(actor, ACTION, thing)`."""
    if not isinstance(node, ast.Call) or len(node.args) < 3:
        return
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ("append", "Note"):
        yield from (
            each.value for each in node.args[1:3] if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )


def test_the_table_has_every_entry_and_no_other() -> None:
    assert written() == set(table())


def test_every_command_is_known_as_acting_or_not() -> None:
    acting = set().union(*table().values())
    assert set(ALL) == acting | LOOKING | ELSEWHERE
    assert not acting & (LOOKING | ELSEWHERE)


@pytest.mark.parametrize("name", ALL)
def test_what_the_audit_log_tells_of_has_a_reason(name: str) -> None:
    has = any("--reason" in option.opts for option in ALL[name].params)
    assert has == (name in set().union(*table().values()))
