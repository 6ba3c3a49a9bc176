"""Texts as rows of a query, by one parameter however many they are."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import ARRAY, Connection, FromClause, String, bindparam, func


def texts(connection: Connection, given: Sequence[str]) -> FromClause:
    """A table with a column `name`."""
    if connection.dialect.name == "postgresql":
        return (
            func.unnest(bindparam("names", list(given), ARRAY(String), unique=True))
            .table_valued("name")
            .render_derived()
        )
    rows = func.json_each(json.dumps(list(given))).table_valued("value")
    return rows.select().with_only_columns(rows.c.value.label("name")).subquery()
