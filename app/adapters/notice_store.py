"""NoticeStore on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, delete, exists, func, select, text, update

from app.adapters.database import reading, writing
from app.adapters.notice_books import read_books, write_book
from app.adapters.rows import insert_ignoring
from app.adapters.tables_notify import notices, open_failures, outcomes, receivers
from app.domain.notice_forms import Notice
from app.domain.notify import Event, Outcome
from app.domain.run import Status
from app.services.notify import Claimed, Decide, ReceiverState, Verdict

_LOCK = 7173003  # pg_advisory_xact_lock; SQLite's BEGIN IMMEDIATE needs none
_OPEN = ("gathering", "waiting")


class SqlNoticeStore:
    """See NoticeStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def settle(self, names: Sequence[str], choose: Decide, limit: int, now: datetime) -> int:
        """See NoticeStore."""
        with reading(self._engine) as connection:  # most looks find nothing, and must not hold up who writes
            if connection.execute(select(outcomes.c.number).limit(1)).first() is None:
                return 0
        with writing(self._engine) as connection:
            _lock(connection)
            numbers, new = _outcomes(connection, limit)
            before = read_books(connection, names, new, now)
            for name, book in choose(before, new).items():
                write_book(connection, name, before[name], book)
            connection.execute(delete(outcomes).where(outcomes.c.number.in_(numbers)))
        return len(numbers)

    def claim(self, receiver: str, now: datetime, until: datetime) -> Claimed | None:
        """See NoticeStore: a message is closed for others in the same transaction."""
        oldest = _next(receiver, now)
        with reading(self._engine) as connection:
            if connection.execute(oldest).first() is None:
                return None
        with writing(self._engine) as connection:
            _lock(connection)
            found = connection.execute(oldest).scalar_one_or_none()
            if found is None:
                return None
            taken = {
                "state": "waiting", "due_at": until, "tries": notices.c.tries + 1,
                "sent_at": func.coalesce(notices.c.sent_at, now),
            }  # fmt: skip
            changed = update(notices).where(notices.c.id == found).values(taken).returning(notices)
            row = connection.execute(changed).mappings().one()
        return Claimed(_notice(row), row["tries"], row["sent_at"])

    def record(self, receiver: str, claimed: Claimed, verdict: Verdict, now: datetime) -> bool:
        """See NoticeStore."""
        mine = (notices.c.id == claimed.notice.id) & (notices.c.tries == claimed.tries) & (notices.c.state == "waiting")
        values: dict[str, Any] = {"answer": verdict.answer}
        if verdict.again_at:
            values["due_at"] = verdict.again_at
        else:
            values |= {"state": "delivered" if verdict.delivered else "given_up", "ended_at": now}
        with writing(self._engine) as connection:
            if connection.execute(update(notices).where(mine).values(values)).rowcount != 1:
                return False
            _count(connection, receiver, verdict, now)
        return True

    def states(self) -> Sequence[ReceiverState]:
        """See NoticeStore."""
        waits = select(notices.c.receiver, func.count(), func.min(notices.c.created_at))
        waits = waits.where(notices.c.state.in_(_OPEN)).group_by(notices.c.receiver)
        with reading(self._engine) as connection:
            waiting = {name: (count, oldest) for name, count, oldest in connection.execute(waits)}
            known = {row["name"]: dict(row) for row in connection.execute(select(receivers)).mappings()}
        return [_state(name, known.get(name, {}), waiting.get(name)) for name in sorted({*known, *waiting})]

    def prune(self, before: datetime, unfetched: datetime) -> int:
        """See NoticeStore."""
        with writing(self._engine) as connection:
            _give_up_forgotten(connection, unfetched)
            told = connection.execute(delete(notices).where(notices.c.ended_at < before)).rowcount
            open_ones = connection.execute(delete(open_failures).where(open_failures.c.told_at < before)).rowcount
        return told + open_ones


def _next(receiver: str, now: datetime) -> Select[tuple[str]]:
    """The oldest that is due; no recovery while a message of before with its code is still being tried."""
    due = (notices.c.receiver == receiver) & notices.c.state.in_(_OPEN) & (notices.c.due_at <= now)
    recovery, other = notices.c.event == Event.RECOVERED.value, notices.alias()
    tried = (other.c.receiver == receiver) & (other.c.code == notices.c.code) & (other.c.state == "waiting")
    before = (other.c.event != Event.RECOVERED.value) & (other.c.created_at <= notices.c.created_at)
    held = recovery & exists().where(tried, before)
    return select(notices.c.id).where(due, ~held).order_by(notices.c.created_at, recovery, notices.c.id).limit(1)


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _outcomes(connection: Connection, limit: int) -> tuple[list[int], list[Outcome]]:
    rows = connection.execute(select(outcomes).order_by(outcomes.c.number).limit(limit)).mappings().all()
    fields = [name for name in Outcome.__dataclass_fields__ if name != "status"]
    new = [Outcome(status=Status(row["status"]), **{name: row[name] for name in fields}) for row in rows]
    return [row["number"] for row in rows], new


def _notice(row: RowMapping) -> Notice:
    return Notice(row["id"], Event(row["event"]), row["code"], row["count"], tuple(row["items"]), row["created_at"])


def _count(connection: Connection, name: str, verdict: Verdict, now: datetime) -> None:
    insert_ignoring(connection, receivers, {"name": name, "delivered": 0, "given_up": 0, "answer": ""})
    values: dict[str, Any] = {"answer": verdict.answer}
    if verdict.delivered:
        values |= {"delivered": receivers.c.delivered + 1, "delivered_at": now, "failing_since": None}
    else:
        values["failing_since"] = func.coalesce(receivers.c.failing_since, now)
        values["given_up"] = receivers.c.given_up + (0 if verdict.again_at else 1)
    connection.execute(update(receivers).where(receivers.c.name == name).values(values))


def _state(name: str, row: Mapping[str, Any], waiting: tuple[int, datetime] | None) -> ReceiverState:
    count, oldest = waiting or (0, None)
    return ReceiverState(**{"name": name, **row}, waiting=count, oldest_at=oldest)


def _give_up_forgotten(connection: Connection, before: datetime) -> None:
    old = notices.c.state.in_(_OPEN) & (notices.c.created_at < before)
    ended = {"state": "given_up", "ended_at": notices.c.created_at, "answer": "nobody sends to this receiver any more"}
    connection.execute(update(notices).where(old).values(ended))
