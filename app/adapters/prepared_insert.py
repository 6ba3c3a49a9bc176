"""INSERT ... ON CONFLICT DO NOTHING of many rows, compiled once: SQLAlchemy's way to it costs more than the database's.

What turns a value into the driver's comes from SQLAlchemy, for each table and dialect, at first use. SQLite takes some rows
with each statement (between two statements Python lets other threads go first), PostgreSQL all rows of all tables with one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

from app.adapters.database import HURRY_MS
from app.adapters.tables_base import UtcDateTime

# A statement of its own for it would cost each webhook another way to the server and back.
_HURRIED = f" WHERE (SELECT set_config('lock_timeout', '{HURRY_MS}', true)) IS NOT NULL"

Row = Mapping[str, Any]
Bind = Callable[[Any], Any]
Rows = Sequence[tuple[Table, Sequence[Row]]]
"""Of each table some rows, all with the same columns; in the order in which they are inserted."""

_SIZES = (32, 16, 8, 4, 2, 1)  # rows of one statement: few different ones, for each is compiled and kept by SQLite


def insert_all(connection: Connection, rows: Rows) -> bool:
    """Insert all of them; False when one stood already: the caller then rolls the transaction back.

    On PostgreSQL the transaction waits for another one's row for HURRY_MS from then on.
    Errors: DBAPIError, sqlite3.Error. ValueError when a row would need a default of its table's.
    """
    made = [(prepared(table, connection.dialect, frozenset(some[0])), some) for table, some in rows if some]
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        return all(each.into(driver, some) == len(some) for each, some in made)
    counts = [len(some) for _, some in made]
    given = [[_json(some), *counts[max(0, at - 1) : at]] for at, (_, some) in enumerate(made)]
    statement = _chained(tuple(each for each, _ in made))
    return bool(connection.exec_driver_sql(statement, tuple(chain(*given))).scalar_one() == counts[-1])


class PreparedInsert:
    """For one table and dialect, and rows that all have the columns `names`."""

    def __init__(self, table: Table, dialect: Dialect, names: frozenset[str]) -> None:
        given = {name: None for name in table.columns.keys() if name in names}  # noqa: SIM118 - it is no mapping
        compiled = insert(table).values(given).compile(dialect=dialect)
        if unnamed := set(compiled.params) - names:
            raise ValueError(
                f"a new row of {table.name} has to say its {sorted(unnamed)}: no default is filled in here"
            )
        quote = dialect.identifier_preparer.quote
        self.table, self.columns = quote(table.name), ", ".join(quote(name) for name in given)
        self._places = f"({', '.join('?' * len(given))})"
        self._binds = [(name, _bind(table, dialect, name)) for name in given]

    def into(self, driver: Any, rows: Sequence[Row]) -> int:
        """Insert by SQLite's driver; how many of the rows were new. Errors: sqlite3.Error."""
        values = [self._values(row) for row in rows]
        return sum(driver.execute(self._statement(len(some)), list(chain(*some))).rowcount for some in _parts(values))

    def _statement(self, count: int) -> str:
        places = ", ".join([self._places] * count)
        return f"INSERT INTO {self.table} ({self.columns}) VALUES {places} ON CONFLICT DO NOTHING"  # noqa: S608 - names of ours

    def _values(self, row: Row) -> list[Any]:
        return [row[name] if bind is None else bind(row[name]) for name, bind in self._binds]


def _parts(rows: Sequence[list[Any]]) -> Iterator[Sequence[list[Any]]]:
    at = 0
    while at < len(rows):
        size = next(size for size in _SIZES if size <= len(rows) - at)
        yield rows[at : at + size]
        at += size


@lru_cache(64)
def _chained(inserts: Sequence[PreparedInsert]) -> str:
    """PostgreSQL: all tables in one statement, each only when all rows of the one before were new; how many the last got."""
    steps = []
    for number, each in enumerate(inserts):
        into = f"INSERT INTO {each.table} ({each.columns}) SELECT {each.columns}"
        given = f"FROM json_populate_recordset(NULL::{each.table}, %s::json)"
        after = f" WHERE (SELECT count(*) FROM step{number - 1}) = %s" if number else _HURRIED  # noqa: S608
        steps.append(f"step{number} AS ({into} {given}{after} ON CONFLICT DO NOTHING RETURNING 1)")
    return f"WITH {', '.join(steps)} SELECT count(*) FROM step{len(steps) - 1}"  # noqa: S608 - names of ours


def _json(rows: Sequence[Row]) -> str:
    return json.dumps([dict(row) for row in rows], default=_text)


def _text(value: object) -> str:
    """Bytes as PostgreSQL reads them, times with their zone."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _bind(table: Table, dialect: Dialect, name: str) -> Bind | None:
    kind = table.columns[name].type
    bind = kind.dialect_impl(dialect).bind_processor(dialect)
    # One moment is in most columns of times, and takes longer to write than to find again.
    return lru_cache(64)(bind) if bind and isinstance(kind, UtcDateTime) else bind


@lru_cache(64)
def prepared(table: Table, dialect: Dialect, names: frozenset[str]) -> PreparedInsert:
    """The same one each time. ValueError when a row would need a default of the table's."""
    return PreparedInsert(table, dialect, names)
