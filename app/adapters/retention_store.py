"""RetentionStore on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, select, union

from app.adapters.database import writing
from app.adapters.delivery_store import forget, is_referred_to
from app.adapters.names_store import forget as forget_names
from app.adapters.repository_store import learn_mirrors, unknown_mirrors
from app.adapters.tables import attempts, deliveries, delivery_runs, runs, steps
from app.services.delivery_views import MADE_HERE


class SqlRetentionStore:
    """See RetentionStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def prune_runs(self, ended_before: datetime, limit: int) -> int:
        """See RetentionStore."""
        query = (
            select(runs.c.id, runs.c.module, runs.c.mirror)
            .where(runs.c.ended_at < ended_before)
            .order_by(runs.c.ended_at)
            .limit(limit)
        )
        with writing(self._engine) as connection:
            chosen = connection.execute(query.with_for_update(skip_locked=True)).all()
            if chosen:
                # Where their releases came from has to be known without them, too.
                learn_mirrors(connection, unknown_mirrors(connection, {row.mirror for row in chosen}))
                _remove(connection, [row.id for row in chosen])
                forget_names(connection, {row.module for row in chosen})
        return len(chosen)


def _remove(connection: Connection, run_ids: Sequence[str]) -> None:
    told = select(delivery_runs.c.delivery).where(delivery_runs.c.run_id.in_(run_ids))
    of_them = select(runs.c.delivery).where(runs.c.id.in_(run_ids))
    delivery_ids = connection.execute(union(told, of_them)).scalars().all()
    for table in (steps, attempts, delivery_runs):
        connection.execute(delete(table).where(table.c.run_id.in_(run_ids)))
    connection.execute(delete(runs).where(runs.c.id.in_(run_ids)))
    # Of webhooks, those whose own days were over were kept only for these runs.
    over = select(deliveries.c.id).where(deliveries.c.id.in_(delivery_ids), deliveries.c.pruned)
    # One that intake holds comes again just now, and is kept.
    if ids := connection.execute(over.with_for_update(skip_locked=True)).scalars().all():
        forget(connection, ids)
    made_here = deliveries.c.id.in_(delivery_ids) & (deliveries.c.scheme == MADE_HERE)
    connection.execute(delete(deliveries).where(made_here, ~is_referred_to()))
