"""Rolling upgrades on both databases: rows of the release before survive, and its code goes on working beside ours."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    and_,
    inspect,
    select,
)
from sqlalchemy.types import TypeEngine

import migrations
from app.adapters import migrate
from app.adapters.database import connect

REVISIONS = [each.revision for each in reversed(list(ScriptDirectory(migrations.__path__[0]).walk_revisions()))]
STEPS = list(pairwise(REVISIONS))
NOW = datetime(2026, 11, 22, tzinfo=UTC)
# No release changes or removes its rows (but adds some), and since 0009 the database refuses it.
NEVER_CHANGED = frozenset({"audit"})


def _value(kind: TypeEngine[Any], number: int) -> object:
    """Something that fits: the same text everywhere, so that rows refer to each other."""
    given: list[tuple[type[TypeEngine[Any]], object]] = [
        (JSON, {"n": number}), (Boolean, True), (Integer, number), (DateTime, NOW), (LargeBinary, b"x"),
    ]  # fmt: skip
    return next((value for each, value in given if isinstance(kind, each)), f"v{number}")


def _tables(engine: Engine) -> list[Table]:
    found = MetaData()
    found.reflect(engine)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _write(connection: Connection, tables: list[Table], number: int) -> None:
    """As the code of that schema does: every column that it knows, and no other."""
    for table in tables:
        connection.execute(table.insert().values({each.name: _value(each.type, number) for each in table.columns}))


def _key(table: Table, number: int) -> ColumnElement[bool]:
    return and_(*(column == _value(column.type, number) for column in table.primary_key.columns))


def _change(connection: Connection, tables: list[Table], number: int) -> None:
    """As the code of that schema may: any column that it knows, but for what names the row or another one."""
    for table in tables:
        fixed = {*table.primary_key.columns, *(key.parent for key in table.foreign_keys)}
        values = {each.name: _value(each.type, number + 10) for each in table.columns if each not in fixed}
        if values:
            assert connection.execute(table.update().where(_key(table, number)).values(values)).rowcount == 1, table


def _remove(connection: Connection, tables: list[Table], number: int) -> None:
    """As retention does: what refers to others first."""
    for table in reversed(tables):
        assert connection.execute(table.delete().where(_key(table, number))).rowcount == 1, table


def _count(connection: Connection, table: Table) -> int:
    return len(connection.execute(select(*table.columns)).all())


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_rows_survive_and_the_code_of_before_goes_on(empty_database_url: str, before: str, after: str) -> None:
    migrate.upgrade(empty_database_url, before)
    engine = connect(empty_database_url)
    old = _tables(engine)
    with engine.begin() as connection:
        _write(connection, old, 1)

    migrate.upgrade(empty_database_url, after)
    with engine.begin() as connection:
        assert [_count(connection, table) for table in old] == [1] * len(old)
        _write(connection, old, 2)  # a process that was not restarted yet
    names = {each.name for each in old}
    found = _tables(engine)
    new, added = ([table for table in found if (table.name in names) is known] for known in (True, False))
    with engine.connect() as connection:
        assert {_count(connection, table) for table in new} == {2}
    changed = [table for table in old if table.name not in NEVER_CHANGED]
    for number in (1, 2):  # from before the upgrade, and from after it
        with engine.begin() as connection:
            _write(connection, added, number)  # ours, beside it
            _change(connection, changed, number)
            _remove(connection, changed, number)
    with engine.connect() as connection:
        assert {table.name for table in new if _count(connection, table)} == NEVER_CHANGED & names
    engine.dispose()


def test_the_steps_are_all_there() -> None:
    assert len(STEPS) >= 4
    assert STEPS[-1][1] == migrate.head()


def test_a_process_of_the_release_before_starts_on_a_newer_database(
    empty_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    migrate.upgrade(empty_database_url)
    engine = connect(empty_database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    migrate.upgrade(empty_database_url)
    assert "database_newer" in caplog.messages
    assert migrate.at_head(empty_database_url)
    assert migrate.current(empty_database_url) == "9999"
    assert "runs" in inspect(engine).get_table_names()
    engine.dispose()


def test_an_old_database_is_not_taken_for_a_newer_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    migrate.upgrade(url, REVISIONS[-2])
    assert not migrate.at_head(url)
    assert not migrate.is_newer(migrate.current(url))
