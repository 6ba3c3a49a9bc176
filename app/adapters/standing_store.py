"""StandingStore on SQLite or PostgreSQL: each question enters an index and looks at a bounded number of rows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, case, func, or_, select

from app.adapters.database import reading
from app.adapters.tables import UtcDateTime, credentials, duties, pauses, repositories, runs
from app.adapters.tables_notify import notices, outcomes
from app.domain.access import Kind
from app.domain.errors import SERVED_OTHER
from app.domain.run import ACTIVE, ENDED, Lane, Status
from app.services.duty import HOLD_SECONDS
from app.services.ports import Clock
from app.services.set_back import SKEW
from app.services.standing import MOST, LaneStanding, Outbox, Reconciled, Standing

# Counted in the index alone, without the rows.
_MOST_IN_FLIGHT = 100_000
_DAY = timedelta(days=1)
SHORT_LIVED = timedelta(days=14)
"""The alert ModsyncTokenEnds comes so long before: a token that never had longer would keep it on, and hide the next one."""


class SqlStandingStore:
    """See StandingStore. `receivers`: the configured ones of notifications, by name (None: all that the database knows)."""

    def __init__(self, engine: Engine, clock: Clock, receivers: Collection[str] | None = None) -> None:
        self._engine, self._clock, self._receivers = engine, clock, receivers

    def standing(self) -> Standing:
        """See StandingStore."""
        now = self._clock.now()
        with reading(self._engine) as connection:
            return Standing(
                in_flight={each: _scalar(connection, in_flight(each)) for each in Status if each in ACTIVE},
                ended=_ended(connection, now - _DAY),
                lanes={each: _lane(connection, each, now) for each in Lane},
                sweeper_seconds=_sweeper(connection, now),
                reconciled=_reconciled(connection, now),
                outbox=_outbox(connection, now, self._receivers),
                pauses=_scalar(connection, select(func.count()).select_from(pauses)),
                api_token_ends=_api_token(connection, now),
            )


def in_flight(status: Status) -> Select[Any]:
    """How many runs are in this state."""
    return _counted(select(runs.c.status).where(runs.c.status == status).limit(_MOST_IN_FLIGHT))


def ended(status: Status, since: datetime) -> Select[Any]:
    """How many runs ended so since then, of the newest MOST; what a person cancelled is nothing to be mended."""
    columns = (runs.c.ended_at, runs.c.error)
    newest = select(*columns).where(runs.c.status == status).order_by(runs.c.created_at.desc()).limit(MOST)
    found = newest.subquery()
    counted = found.c.error.is_distinct_from("cancelled")
    return select(func.count()).select_from(found).where(found.c.ended_at >= since, counted)


def unserved(code: str, since: datetime) -> Select[Any]:
    """How many runs were rejected with this one of SERVED_OTHER since then, of the newest MOST."""
    rejected = runs.c.status.concat("") == Status.REJECTED  # not by the index of states, where many others are
    newest = select(runs.c.ended_at).where(runs.c.error == code, rejected).order_by(runs.c.created_at.desc())
    found = newest.limit(MOST).subquery()
    return select(func.count()).select_from(found).where(found.c.ended_at >= since)


def lane(which: Lane, now: datetime) -> Select[Any]:
    """LaneStanding's numbers as a row."""
    columns = (runs.c.due_at, runs.c.lease_until, runs.c.job_at, runs.c.created_at, runs.c.attempt, runs.c.error)
    waiting = select(*columns).where(runs.c.active, runs.c.lane == which)
    found = waiting.order_by(runs.c.due_at).limit(MOST).subquery().c
    due = and_(found.due_at <= now, or_(found.lease_until.is_(None), found.lease_until < now))
    first_try = and_(found.attempt == 1, or_(found.error.is_(None), found.error != "paused"))
    numbers: Select[Any] = select(
        _number(due).label("due"),
        _first(due, found.due_at).label("due_since"),
        _first(and_(due, found.job_at.is_(None)), found.due_at).label("jobless_since"),
        _number(found.lease_until >= now).label("held"),
        _number(found.lease_until < now).label("lost"),
        _first(first_try, found.created_at).label("flight_since"),
    )
    return numbers


def undelivered(receivers: Collection[str] | None = None) -> Select[int, Any]:
    """How many notices wait, and since when the first does: a try that was refused does not make it younger."""
    wanted = [notices.c.state.in_(("gathering", "waiting"))]
    if receivers is not None:  # what a receiver that was removed is owed nobody waits for
        wanted.append(notices.c.receiver.in_(sorted(receivers)))
    since = func.coalesce(notices.c.sent_at, notices.c.due_at, type_=UtcDateTime()).label("since")
    waiting = select(since).where(*wanted).limit(MOST).subquery()
    return select(func.count(), func.min(waiting.c.since, type_=UtcDateTime())).select_from(waiting)


def _ended(connection: Connection, since: datetime) -> dict[Status, int]:
    """By state; what was rejected for what the proxy serves is counted as what failed (is_failure)."""
    found = {each: _scalar(connection, ended(each, since)) for each in Status if each in ENDED}
    wrong = sum(_scalar(connection, unserved(code, since)) for code in sorted(SERVED_OTHER))
    failed, rejected = found[Status.FAILED] + wrong, max(found[Status.REJECTED] - wrong, 0)
    return {**found, Status.FAILED: failed, Status.REJECTED: rejected}


def _lane(connection: Connection, which: Lane, now: datetime) -> LaneStanding:
    row = connection.execute(lane(which, now)).one()
    return LaneStanding(
        row.due or 0, _age(row.due_since, now) or 0.0, _age(row.jobless_since, now) or 0.0, row.held or 0,
        row.lost or 0, _age(row.flight_since, now) or 0.0,
    )  # fmt: skip


def _sweeper(connection: Connection, now: datetime) -> float | None:
    until = connection.execute(select(duties.c.until).where(duties.c.name == "sweep")).scalar_one_or_none()
    # Far ahead of now: a clock was set back, and nothing is known of who swept last.
    if until is None or until - now > SKEW + timedelta(seconds=HOLD_SECONDS):
        return None
    return _age(until - timedelta(seconds=HOLD_SECONDS), now)


def _reconciled(connection: Connection, now: datetime) -> Reconciled:
    at = repositories.c.reconciled_at
    # One question each: a minimum and a maximum in one would read all of the index.
    last, oldest = (_scalar(connection, select(find(at)).where(at.is_not(None))) for find in (func.max, func.min))
    never = _scalar(connection, _counted(select(at).where(at.is_(None)).limit(MOST)))
    return Reconciled(_age(last, now), _age(oldest, now), never)


def _outbox(connection: Connection, now: datetime, receivers: Collection[str] | None) -> Outbox:
    waiting, due = connection.execute(undelivered(receivers)).one()
    untold = _scalar(connection, _counted(select(outcomes.c.number).limit(MOST)))
    return Outbox(waiting, _age(due, now) or 0.0, untold)


def _api_token(connection: Connection, now: datetime) -> float | None:
    """When the first of the API's tokens ends; one that was made for a short time is not awaited."""
    valid = (credentials.c.kind == Kind.TOKEN, credentials.c.revoked_at.is_(None), credentials.c.expires_at > now)
    query = select(credentials.c.created_at, credentials.c.expires_at).where(*valid)
    lives = connection.execute(query.order_by(credentials.c.expires_at).limit(MOST)).all()
    return next((ends.timestamp() for made, ends in lives if ends - made > SHORT_LIVED), None)


def _scalar(connection: Connection, query: Select[Any]) -> Any:
    return connection.execute(query).scalar_one()


def _counted(query: Select[Any]) -> Select[Any]:
    return select(func.count()).select_from(query.subquery())


def _number(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((condition, 1), else_=0))


def _first(condition: ColumnElement[bool], column: ColumnElement[datetime]) -> ColumnElement[Any]:
    return func.min(case((condition, column)))


def _age(since: datetime | None, now: datetime) -> float | None:
    """Seconds; a clock of another host may be ahead of ours."""
    return max((now.astimezone(UTC) - since).total_seconds(), 0.0) if since else None
