"""INSERT ... ON CONFLICT DO NOTHING of many rows, compiled once: SQLAlchemy's way to it costs more than the database's.

The statement and what turns a value into the driver's come from SQLAlchemy, for each table and dialect, at first use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

Row = Mapping[str, Any]
Bind = Callable[[Any], Any]


class PreparedInsert:
    """For one table and dialect, and rows that all have the columns `names`."""

    def __init__(self, table: Table, dialect: Dialect, names: frozenset[str]) -> None:
        make = postgres_insert if dialect.name == "postgresql" else sqlite_insert
        given = {name: None for name in table.columns.keys() if name in names}  # noqa: SIM118 - it is no mapping
        compiled = make(table).values(given).on_conflict_do_nothing().compile(dialect=dialect)
        if unnamed := set(compiled.params) - names:
            raise ValueError(
                f"a new row of {table.name} has to say its {sorted(unnamed)}: no default is filled in here"
            )
        self._sql = str(compiled)
        self._order = tuple(compiled.positiontup or ()) if compiled.positional else None
        self._binds = {name: bind for name in given if (bind := _bind(table, dialect, name))}

    def __call__(self, connection: Connection, rows: Sequence[Row]) -> int:
        """How many of the rows were new; the others stand already. Errors: DBAPIError."""
        parameters = [self._parameters(row) for row in rows]
        return connection.exec_driver_sql(self._sql, parameters, {"preserve_rowcount": True}).rowcount

    def _parameters(self, row: Row) -> Any:
        bound = dict(row)
        for name, bind in self._binds.items():
            bound[name] = bind(bound[name])
        return bound if self._order is None else tuple([bound[name] for name in self._order])


def _bind(table: Table, dialect: Dialect, name: str) -> Bind | None:
    return table.columns[name].type.dialect_impl(dialect).bind_processor(dialect)


@lru_cache(64)
def prepared(table: Table, dialect: Dialect, names: frozenset[str]) -> PreparedInsert:
    """The same one each time. ValueError when a row would need a default of the table's."""
    return PreparedInsert(table, dialect, names)
