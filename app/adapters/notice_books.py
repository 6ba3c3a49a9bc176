"""What receivers know, read from and written to the tables, inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, or_, select, update

from app.adapters.rows import plain
from app.adapters.tables_notify import notices, open_failures
from app.domain.notify import Book, Cause, Draft, Event, OpenFailure, Outcome
from app.domain.run import Status

# The longest interval between two messages that can be configured.
_LAST = timedelta(days=1)


def read_books(
    connection: Connection, names: Sequence[str], about: Sequence[Outcome], now: datetime
) -> dict[str, Book]:
    """What these receivers know of the runs and versions of these outcomes, and their open messages."""
    failures: dict[str, dict[tuple[str, str], OpenFailure]] = {name: {} for name in names}
    for row in _failures(connection, names, about):
        failures[row["receiver"]][row["run_id"], row["code"]] = _failure(row)
    drafts: dict[str, dict[Cause, Draft]] = {name: {} for name in names}
    for row in _drafts(connection, names):
        drafts[row["receiver"]][Event(row["event"]), row["code"]] = _draft(row)
    last = _last(connection, names, now)
    return {name: Book(failures[name], drafts[name], last[name]) for name in names}


def write_book(connection: Connection, name: str, before: Book, after: Book) -> None:
    """Write what changed."""
    for key, failure in after.failures.items():
        if before.failures.get(key) != failure:
            _forget(connection, name, key)
            connection.execute(insert(open_failures).values(receiver=name, **_fields(failure)))
    for key in before.failures.keys() - after.failures.keys():
        _forget(connection, name, key)
    known, wanted = _by_id(before), _by_id(after)
    for notice in known.keys() - wanted.keys():
        connection.execute(delete(notices).where(notices.c.id == notice, notices.c.state == "gathering"))
    for notice, draft in wanted.items():
        if known.get(notice) != draft:
            _write(connection, name, draft, new=notice not in known)


def _by_id(book: Book) -> dict[str, Draft]:
    return {draft.id: draft for draft in book.drafts.values()}


def _failures(connection: Connection, names: Sequence[str], about: Sequence[Outcome]) -> Sequence[RowMapping]:
    runs, versions = {each.run_id for each in about}, {each.version for each in about if each.version}
    same = open_failures.c.module.in_({each.module for each in about}) & open_failures.c.version.in_(versions)
    query = select(open_failures).where(open_failures.c.receiver.in_(names))
    return connection.execute(query.where(or_(open_failures.c.run_id.in_(runs), same))).mappings().all()


def _drafts(connection: Connection, names: Sequence[str]) -> Sequence[RowMapping]:
    query = select(notices).where(notices.c.receiver.in_(names), notices.c.state == "gathering")
    return connection.execute(query).mappings().all()


def _last(connection: Connection, names: Sequence[str], now: datetime) -> dict[str, dict[Cause, datetime]]:
    cause = (notices.c.receiver, notices.c.event, notices.c.code)
    sent = func.max(notices.c.sent_at)
    lately = (notices.c.created_at > now - 2 * _LAST) & notices.c.sent_at.is_not(None)
    query = select(*cause, sent).where(notices.c.receiver.in_(names), lately).group_by(*cause)
    found: dict[str, dict[Cause, datetime]] = {name: {} for name in names}
    for receiver, event, code, at in connection.execute(query):
        found[receiver][Event(event), code] = at
    return found


def _failure(row: RowMapping) -> OpenFailure:
    fields = [name for name in OpenFailure.__dataclass_fields__ if name != "status"]
    return OpenFailure(status=Status(row["status"]), **{name: row[name] for name in fields})


def _fields(failure: OpenFailure) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in OpenFailure.__dataclass_fields__}


def _draft(row: RowMapping) -> Draft:
    plain_values = {name: row[name] for name in ("id", "code", "count", "created_at", "due_at")}
    return Draft(event=Event(row["event"]), items=tuple(row["items"]), **plain_values)


def _write(connection: Connection, name: str, draft: Draft, *, new: bool) -> None:
    changed = {"count": draft.count, "items": plain({"items": list(draft.items)})["items"],
               "created_at": draft.created_at, "due_at": draft.due_at}  # fmt: skip
    if not new:
        connection.execute(update(notices).where(notices.c.id == draft.id).values(changed))
        return
    first = {"id": draft.id, "receiver": name, "event": draft.event.value, "code": draft.code, "state": "gathering",
             "tries": 0, "answer": ""}  # fmt: skip
    connection.execute(insert(notices).values({**first, **changed}))


def _forget(connection: Connection, name: str, key: tuple[str, str]) -> None:
    mine = (open_failures.c.receiver == name) & (open_failures.c.run_id == key[0]) & (open_failures.c.code == key[1])
    connection.execute(delete(open_failures).where(mine))
