"""ReconciledReads on SQLite or PostgreSQL."""

from __future__ import annotations

from sqlalchemy import Engine, RowMapping, func, or_, select

from app.adapters.database import reading
from app.adapters.tables import repositories
from app.services.reconciled import LastReconcile, RepositoryRow, add_up
from app.services.views import ErrorView, Page

_ASKED = or_(repositories.c.reconciled_at.is_not(None), repositories.c.error.is_not(None))
_WINDOW = 1000  # repositories that one page of those that need a person reads at most
_MOST = 2000  # that are added up


class SqlReconciledReads:
    """See ReconciledReads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def repositories(self, after: str | None, limit: int, *, people: bool) -> Page[RepositoryRow]:
        """See ReconciledReads. A page of few may have a next one: findings are JSON, so that each row is looked at."""
        query = select(repositories).where(repositories.c.mirror > (after or "")).order_by(repositories.c.mirror)
        most = _WINDOW if people else limit
        with reading(self._engine) as connection:
            found = [_row(each) for each in connection.execute(query.limit(most + 1)).mappings()]
        wanted = [row for row in found[:most] if row.needs_a_person or not people]
        if len(wanted) > limit:
            return Page(tuple(wanted[:limit]), wanted[limit - 1].mirror)
        return Page(tuple(wanted), found[most - 1].mirror if len(found) > most else None)

    def repository(self, mirror: str) -> RepositoryRow | None:
        """See ReconciledReads."""
        query = select(repositories).where(repositories.c.mirror == mirror)
        with reading(self._engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
        return _row(row) if row else None

    def last(self, shown: int) -> LastReconcile:
        """See ReconciledReads; of very many the newest are added up."""
        query = select(repositories).where(_ASKED).order_by(repositories.c.reconciled_at.desc()).limit(_MOST)
        with reading(self._engine) as connection:
            known = connection.execute(select(func.count()).select_from(repositories)).scalar_one()
            rows = [_row(each) for each in connection.execute(query).mappings()]
        return add_up(known, rows, shown)


def _row(row: RowMapping) -> RepositoryRow:
    result = row["result"] or {}
    said = (result.get("error") or {}).get("message")
    return RepositoryRow(
        row["mirror"], row["source"], row["clone_url"], row["reconciled_at"], ErrorView.of(row["error"], said),
        result.get("tags", 0), result.get("counts", {}), tuple(result.get("runs", ())), result.get("adopted", 0),
        tuple(result.get("findings", ())),
    )  # fmt: skip
