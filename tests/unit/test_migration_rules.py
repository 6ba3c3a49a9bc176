"""The rules of docs/upgrades.md, held for every migration after the first: expand now, contract a release later."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import migrations

VERSIONS = sorted(Path(migrations.__path__[0], "versions").glob("[0-9]*.py"))
LATER = [path for path in VERSIONS if not path.name.startswith("0001_")]
# What takes something away from the code of the release before, or holds it to what it does not know.
FORBIDDEN = {
    "drop_table", "drop_column", "rename_table", "alter_column", "drop_constraint", "create_unique_constraint",
    "create_check_constraint", "create_foreign_key", "create_primary_key", "execute", "bulk_insert",
}  # fmt: skip


# What only makes new things, by statements that alembic has no name for: triggers on a table that no release changes rows of.
ALLOWED = {"0009_push_intents": {"execute"}}


def faults(source: str) -> list[str]:
    """What the upgrade() in a migration's text does that the release before cannot live with."""
    tree = ast.parse(source)
    upgrade = next(each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "upgrade")
    calls = [each for each in ast.walk(upgrade) if isinstance(each, ast.Call)]
    made = {_text(call.args[0]) for call in calls if _name(call) == "create_table"}
    return [fault for call in calls if (fault := _fault(call, made))]


def _fault(call: ast.Call, made: set[str]) -> str | None:
    name = _name(call)
    if name in FORBIDDEN:
        return f"{name} (line {call.lineno})"
    if name == "add_column" and not _harmless(call.args[-1]):
        return f"add_column NOT NULL without a server_default (line {call.lineno})"
    if name == "create_index" and _keyword(call, "unique") is True and _text(call.args[1]) not in made:
        return f"unique index on a table that is there already (line {call.lineno})"
    return None


def _harmless(column: ast.expr) -> bool:
    assert isinstance(column, ast.Call)
    names = {each.arg for each in column.keywords}
    return _keyword(column, "nullable") is not False or "server_default" in names


def _keyword(call: ast.Call, name: str) -> object:
    value = next((each.value for each in call.keywords if each.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else None


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


@pytest.mark.parametrize("path", LATER, ids=lambda path: path.stem)
def test_a_migration_only_expands(path: Path) -> None:
    allowed = ALLOWED.get(path.stem, set())
    assert [each for each in faults(path.read_text()) if each.partition(" ")[0] not in allowed] == []


@pytest.mark.parametrize(
    "line",
    [
        'op.drop_column("runs", "job")',
        'op.drop_table("steps")',
        'op.rename_table("runs", "syncs")',
        'op.alter_column("runs", "job", nullable=False)',
        'op.add_column("runs", sa.Column("colour", sa.String(), nullable=False))',
        'op.create_index("ix", "runs", ["module"], unique=True)',
        'op.create_unique_constraint("uq", "runs", ["module"])',
        "op.execute('DELETE FROM runs')",
    ],
)
def test_what_breaks_the_release_before_is_found(line: str) -> None:
    assert len(faults(f"def upgrade():\n    {line}\n")) == 1


@pytest.mark.parametrize(
    "line",
    [
        'op.add_column("runs", sa.Column("colour", sa.String(), nullable=True))',
        'op.add_column("runs", sa.Column("colour", sa.String(), nullable=False, server_default="x"))',
        'op.create_index("ix", "runs", ["module"])',
        'op.create_table("t"); op.create_index("ix", "t", ["a"], unique=True)',
    ],
)
def test_what_only_expands_is_allowed(line: str) -> None:
    assert faults(f"def upgrade():\n    {line}\n") == []
