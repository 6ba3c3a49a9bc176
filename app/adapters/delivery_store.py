"""DeliveryStore on SQLite or PostgreSQL."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    update,
)

from app.adapters.database import reading, writing
from app.adapters.tables import deliveries, delivery_runs, runs, secret_uses
from app.domain.run import Status
from app.services.deliveries import DeliveryFilter
from app.services.delivery_views import MOST_USES, DeliveryDetail, DeliveryRunView, DeliverySummary, SecretUse
from app.services.stores import StoredDelivery

# What a person would want to begin anew; a duplicate of another run or a moved version is settled.
_FEW = 2000  # deliveries of a source: so many are read and put in order
_SETTLED = ("duplicate_release", "version_moved", "superseded")
_WRONG = or_(runs.c.status == Status.FAILED, and_(runs.c.status == Status.REJECTED, runs.c.error.not_in(_SETTLED)))


class SqlDeliveryStore:
    """See DeliveryStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, wanted: DeliveryFilter, after: tuple[datetime, str] | None, limit: int) -> list[DeliverySummary]:
        """See DeliveryStore."""
        with reading(self._engine) as connection:
            query = select(*_LISTED).where(*_conditions(wanted, after), *_few(connection, wanted))
            newest = query.order_by(deliveries.c.last_seen_at.desc(), deliveries.c.id.desc()).limit(limit)
            rows = connection.execute(newest).mappings().all()
            made = _runs(connection, [row["id"] for row in rows])
        return [DeliverySummary(**_summary(row), runs=tuple(made[row["id"]])) for row in rows]

    def detail(self, delivery: str) -> DeliveryDetail | None:
        """See DeliveryStore."""
        with reading(self._engine) as connection:
            row = _row(connection, delivery)
            made = _runs(connection, [delivery])
        if row is None:
            return None
        text, encoding = _text(row["body"])
        return DeliveryDetail(
            **_summary(row), runs=tuple(made[delivery]), kept=not row["pruned"], headers=row["headers"], body=text,
            body_encoding=encoding,
        )  # fmt: skip

    def stored(self, delivery: str) -> StoredDelivery | None:
        """See DeliveryStore."""
        with reading(self._engine) as connection:
            row = _row(connection, delivery)
        return StoredDelivery(**{name: row[name] for name in StoredDelivery.__dataclass_fields__}) if row else None

    def secret_uses(self) -> Sequence[SecretUse]:
        """See DeliveryStore."""
        with reading(self._engine) as connection:
            rows = [*_kept(connection), *connection.execute(select(secret_uses))]
            uses = _added(rows)
            return [_with_skew(connection, use) for use in uses]

    def prune(self, before: datetime, limit: int) -> int:
        """See DeliveryStore: a delivery that no run refers to goes, of the others headers and body go."""
        last = deliveries.c.last_seen_at
        old = and_(deliveries.c.pruned.is_(False), last < before)
        with writing(self._engine) as connection:
            query = select(deliveries.c.id).where(old).order_by(last).limit(limit)
            ids = connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
            if ids:
                forget(connection, ids)
        return len(ids)


_LISTED = [column for column in deliveries.c if column.name not in ("headers", "body")]


def _conditions(wanted: DeliveryFilter, after: tuple[datetime, str] | None) -> list[ColumnElement[bool]]:
    last = deliveries.c.last_seen_at
    found: list[ColumnElement[bool]] = []
    if wanted.source:
        # Not by the index of sources, which knows another order; where it names few, _few enters it.
        found.append(deliveries.c.source.concat("") == wanted.source)
    if wanted.verdict:
        found.append(deliveries.c.verdict == wanted.verdict)
    if wanted.verdict in ("ignored", "refused"):
        found.append(deliveries.c.verdict != literal_column("'accepted'"))  # the index's own condition
    if wanted.since:
        found.append(last >= wanted.since)
    if wanted.until:
        found.append(last < wanted.until)
    if after:
        found += [last <= after[0], or_(last < after[0], deliveries.c.id < after[1])]
    return found


def _few(connection: Connection, wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    """A source with few deliveries names them: who walks all of them by time might look for its next one for long."""
    found = [_failed(connection)] if wanted.failed else []
    return [*found, *(_of_source(connection, wanted.source) if wanted.source else [])]


def _of_source(connection: Connection, source: str) -> list[ColumnElement[bool]]:
    some = select(deliveries.c.id).where(deliveries.c.source == source).limit(_FEW)
    found = connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()
    return [deliveries.c.id.in_(select(some.subquery().c.id))] if found < _FEW else []


def _failed(connection: Connection) -> ColumnElement[bool]:
    """Refused, or of a run that failed: where these are few they name their deliveries."""
    refused = (deliveries.c.verdict == "refused") & (deliveries.c.verdict != literal_column("'accepted'"))
    own = select(delivery_runs.c.delivery).join(runs, runs.c.id == delivery_runs.c.run_id).where(_WRONG)
    if all(_count_of(connection, each) < _FEW for each in (Status.FAILED, Status.REJECTED)):
        turned_away = select(deliveries.c.id).where(refused)
        return deliveries.c.id.in_(own.union_all(turned_away))
    # One look for each delivery, along the list: as an EXISTS PostgreSQL would read all runs first.
    looked = own.with_only_columns(literal(1)).where(delivery_runs.c.delivery == deliveries.c.id).limit(1)
    return or_(deliveries.c.verdict == "refused", looked.scalar_subquery() == 1)


def _count_of(connection: Connection, status: Status) -> int:
    some = select(runs.c.id).where(runs.c.status == status).limit(_FEW).subquery()
    found: int = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return found


def _row(connection: Connection, delivery: str) -> RowMapping | None:
    return connection.execute(select(deliveries).where(deliveries.c.id == delivery)).mappings().one_or_none()


def _summary(row: RowMapping) -> dict[str, Any]:
    skew = row["skew_ms"]
    same = ("id", "source", "scheme", "verdict", "reason", "received_at", "last_seen_at", "seen")
    values = {name: row[name] for name in same}
    return {
        **values, "secret": row["secret_id"], "message": row["note"],
        "skew_seconds": None if skew is None else skew / 1000,
    }  # fmt: skip


def _runs(connection: Connection, ids: Sequence[str]) -> dict[str, list[DeliveryRunView]]:
    columns = (runs.c.id, runs.c.module, runs.c.version, runs.c.status, runs.c.error, delivery_runs.c.duplicate)
    query = select(delivery_runs.c.delivery, *columns).join(runs, runs.c.id == delivery_runs.c.run_id)
    found: dict[str, list[DeliveryRunView]] = defaultdict(list)
    for row in connection.execute(query.where(delivery_runs.c.delivery.in_(ids)).order_by(runs.c.id)).mappings():
        values = {name: row[name] for name in DeliveryRunView.__dataclass_fields__}
        found[row["delivery"]].append(DeliveryRunView(**{**values, "status": Status(row["status"])}))
    return found


def _text(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), "base64"


def _kept(connection: Connection) -> Iterator[tuple[str, str, int, datetime]]:
    """(source, secret, deliveries up to MOST_USES, when the last one came): an index's entry at a time, for secrets are few."""
    source, secret = deliveries.c.source, deliveries.c.secret_id
    key = _following(connection)
    while key:
        which = (source == key[0], secret == key[1])
        some = select(deliveries.c.id).where(*which).limit(MOST_USES).subquery()
        last = select(func.max(deliveries.c.last_seen_at)).where(*which).scalar_subquery()
        count, at = connection.execute(select(select(func.count()).select_from(some).scalar_subquery(), last)).one()
        yield *key, count, at
        key = _following(connection, source == key[0], secret > key[1]) or _following(connection, source > key[0])


def _following(connection: Connection, *behind: ColumnElement[bool]) -> tuple[str, str] | None:
    """The first (source, secret) there."""
    source, secret = deliveries.c.source, deliveries.c.secret_id
    row = connection.execute(select(source, secret).where(*behind).order_by(source, secret).limit(1)).one_or_none()
    return (row.source, row.secret_id) if row else None


def _added(rows: Sequence[tuple[Any, ...]]) -> list[SecretUse]:
    """What is kept and what was pruned, together. What reconcile made itself (MADE_HERE) was signed by no secret."""
    sums: dict[tuple[str, str], tuple[int, datetime]] = {}
    for source, secret, count, last in rows:
        if not secret:
            continue
        before = sums.get((source, secret))
        sums[source, secret] = (count + before[0], max(last, before[1])) if before else (count, last)
    return [SecretUse(*key, *sums[key]) for key in sorted(sums)]


def _with_skew(connection: Connection, use: SecretUse) -> SecretUse:
    which = (deliveries.c.source == use.source) & (deliveries.c.secret_id == use.secret)
    query = select(deliveries.c.skew_ms).where(which).order_by(deliveries.c.last_seen_at.desc()).limit(1)
    skew = connection.execute(query).scalar_one_or_none()
    return SecretUse(use.source, use.secret, use.count, use.last_used_at, None if skew is None else skew / 1000)


def is_referred_to() -> ColumnElement[bool]:
    """A run came with this delivery, or of it."""
    came, of_it = delivery_runs.c.delivery == deliveries.c.id, runs.c.delivery == deliveries.c.id
    return or_(exists().where(came), exists().where(of_it))


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Remove these deliveries; one that a run refers to is emptied."""
    chosen = deliveries.c.id.in_(ids)
    referred = is_referred_to()
    key = (deliveries.c.source, deliveries.c.secret_id)
    gone = select(*key, func.count(), func.max(deliveries.c.last_seen_at)).where(chosen, ~referred).group_by(*key)
    for source, secret, count, last in connection.execute(gone).all():
        _count(connection, source, secret, count, last)
    connection.execute(delete(deliveries).where(chosen, ~referred))
    connection.execute(update(deliveries).where(chosen).values(headers={}, body=b"", pruned=True))


def _count(connection: Connection, source: str, secret: str, count: int, last: datetime) -> None:
    which = (secret_uses.c.source == source) & (secret_uses.c.secret_id == secret)
    old = connection.execute(select(secret_uses).where(which).with_for_update()).mappings().one_or_none()
    if old is None:
        row = {"source": source, "secret_id": secret, "count": count, "last_used_at": last}
        connection.execute(insert(secret_uses).values(row))
        return
    grown = {"count": old["count"] + count, "last_used_at": max(old["last_used_at"], last)}
    connection.execute(update(secret_uses).where(which).values(grown))
