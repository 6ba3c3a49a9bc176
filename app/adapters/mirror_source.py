"""The repository that a mirror is of, in the database: kept with the mirror's row, under whose lease it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, bindparam, select, update

from app.adapters.access_store import append
from app.adapters.database import writing
from app.adapters.fences import take_in_order
from app.adapters.repository_store import learn_mirrors, unknown_mirrors
from app.adapters.tables import mirrors, repositories, runs
from app.domain.errors import SyncError
from app.domain.mirror_source import source_url
from app.domain.run import Status
from app.services.mirror_source import SourceMoved, SourceOrder
from app.services.stores import MirrorLease

_PART = 1000
_NOBODY = "configuration"  # who changed it where no person did

# Made once, before workers fork: to make a statement takes longer than to run it.
_PUSHED = (
    select(runs.c.target)
    .where(runs.c.mirror == bindparam("of"), runs.c.pushed_at.is_not(None))
    .order_by(runs.c.created_at.desc(), runs.c.id.desc())
    .limit(1)
)
_NOTED = select(repositories.c.clone_url, repositories.c.reconciled_at).where(repositories.c.mirror == bindparam("of"))
_RECORD = update(mirrors).where(
    mirrors.c.path == bindparam("on"), mirrors.c.fence == bindparam("held"), mirrors.c.lease_owner == bindparam("by"),
    mirrors.c.source_url.is_distinct_from(bindparam("is_of")),
)  # fmt: skip


class SqlMirrorSourceStore:
    """MirrorSourceStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def move(self, order: SourceOrder, now: datetime) -> SourceMoved:
        """See MirrorSourceStore."""
        with writing(self._engine) as connection:
            # Runs before the mirror, as whoever renews a lease takes them.
            open_runs = take_in_order(connection, runs.c.mirror == order.mirror, runs.c.status != Status.DONE)
            query = select(mirrors).where(mirrors.c.path == order.mirror).with_for_update()
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise SyncError("not_found", f"there is no mirror {order.mirror[:80]!r}")
            moved = SourceMoved(order.mirror, known_source(connection, row), order.source)
            if moved.before == moved.after:
                raise SyncError("bad_request", f"to: {order.mirror} is of {moved.after} already", field="to")
            _move(connection, order, row)
            _follow(connection, open_runs, str(moved.before), order.clone_url)
            append(
                connection, order.actor, "mirror.source", f"mirror:{order.mirror}", now, reason=order.reason,
                before={"source": moved.before or ""}, after={"source": moved.after},
            )  # fmt: skip
        return moved


def _move(connection: Connection, order: SourceOrder, row: RowMapping) -> None:
    """The fence keeps whoever works there from another push; reconcile is to compare with the new one."""
    nobodys = {"fence": row["fence"] + 1, "lease_owner": None, "lease_until": None}
    of = mirrors.c.path == order.mirror
    connection.execute(update(mirrors).where(of).values(source_url=order.source, **nobodys))
    learn_mirrors(connection, unknown_mirrors(connection, [order.mirror]))
    noted = repositories.c.mirror == order.mirror
    connection.execute(update(repositories).where(noted).values(clone_url=order.clone_url))


def _follow(connection: Connection, ids: Sequence[str], before: str, clone_url: str) -> None:
    """Runs that were told of with the repository's old place: a replay of them comes from the new one."""
    for begin in range(0, len(ids), _PART):
        query = select(runs.c.id, runs.c.event).where(runs.c.id.in_(ids[begin : begin + _PART]))
        for run_id, event in connection.execute(query).all():
            if _form(event.get("repo_url") or "") == before:
                told = {**event, "repo_url": clone_url}
                connection.execute(update(runs).where(runs.c.id == run_id).values(event=told))


def known_source(connection: Connection, mirror: RowMapping) -> str | None:
    """What a row of `mirrors` is the mirror of: as recorded, else (it is older than that) as what went there last says.

    None: nothing did. A repository that was only noted counts where the mirror was made or compared with it.
    """
    if mirror["source_url"] is not None:
        return str(mirror["source_url"])
    of = {"of": mirror["path"]}
    pushed = connection.execute(_PUSHED, of).scalar_one_or_none()
    if pushed is not None:
        return _form(pushed["clone_url"])
    noted = connection.execute(_NOTED, of).one_or_none()
    made = noted is not None and (mirror["project_id"] is not None or noted.reconciled_at is not None)
    return _form(noted.clone_url) if noted and made else None


def keep_source(connection: Connection, mirror: RowMapping) -> str | None:
    """The same, and from now on it is recorded."""
    found = known_source(connection, mirror)
    if found is not None and mirror["source_url"] is None:
        connection.execute(update(mirrors).where(mirrors.c.path == mirror["path"]).values(source_url=found))
    return found


def record_source(connection: Connection, lease: MirrorLease, now: datetime) -> None:
    """What the lease says that the mirror becomes the mirror of; nothing where the lease is another's by now.

    A change is audited: the configuration's own word changed it (services/mirror_source.py).
    """
    if lease.becomes is None:
        return
    mine = {"on": lease.path, "held": lease.fence, "by": lease.owner, "is_of": lease.becomes}
    changed = connection.execute(_RECORD, {**mine, "source_url": lease.becomes}).rowcount == 1
    if changed and lease.source_url is not None:
        append(
            connection, _NOBODY, "mirror.source", f"mirror:{lease.path}", now, reason="the rule names another clone URL",
            before={"source": lease.source_url}, after={"source": lease.becomes},
        )  # fmt: skip


def _form(clone_url: str) -> str | None:
    """None for what is no clone URL (any more)."""
    try:
        return source_url(clone_url)
    except SyncError:
        return None
