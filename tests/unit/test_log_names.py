"""Events have static names, so that they can be counted, searched and alerted on: what varies is a field beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for name in ("app", "workers") for path in (ROOT / name).rglob("*.py"))
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def is_logger(node: ast.expr) -> bool:
    """`log`, `_log`, `self._log`, or what getLogger() gave."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr == "getLogger"
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.strip("_") in ("log", "logger", "logging")


def names(tree: ast.AST) -> Iterator[tuple[int, list[ast.expr]]]:
    """(line, the arguments from the event's name on) of each log call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_logger(node.func.value):
            if node.func.attr in LEVELS:
                yield node.lineno, node.args
            elif node.func.attr == "log":
                yield node.lineno, node.args[1:]


def is_static(arguments: list[ast.expr]) -> bool:
    """One literal that is an identifier, and nothing to put into it."""
    if len(arguments) != 1 or not isinstance(arguments[0], ast.Constant):
        return False
    return isinstance(arguments[0].value, str) and arguments[0].value.isidentifier()


def test_every_event_has_a_static_name() -> None:
    found = [(path, *each) for path in SOURCES for each in names(ast.parse(path.read_text()))]
    assert len(found) > 90, "the log calls are not found any more"
    assert [f"{path.relative_to(ROOT)}:{line}" for path, line, arguments in found if not is_static(arguments)] == []


@pytest.mark.parametrize(
    "call",
    [
        'log.info(f"run_{x}")', 'log.warning("run " + x)', 'log.error("run %s failed", x)', "_log.info(name)",
        'log.info("two words")', 'logging.getLogger("x").exception(f"{x}")', "log.log(level, name)", "self._log.info()",
    ],
)  # fmt: skip
def test_what_varies_is_found(call: str) -> None:
    assert [is_static(arguments) for _, arguments in names(ast.parse(call))] == [False]
