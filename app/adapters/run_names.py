"""Runs whose names change: what intake could not know of a release, its commit or a new rule tells."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, RowMapping, delete, select, update

from app.adapters.names_store import remember
from app.adapters.release_claims import claim_release
from app.adapters.rows import hold_release
from app.adapters.tables import releases, runs
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.run import Run, semantic_key


def renamed(connection: Connection, row: RowMapping, module: ModulePath) -> RowMapping:
    """The run under its module's path, where no rule knew it before. Error: not_replayable (another run brings that)."""
    key = semantic_key(module.text, row["version"], row["ref"], row["commit"])
    other = connection.execute(select(runs.c.id).where(runs.c.semantic == key)).scalar_one_or_none()
    if other is not None:
        raise SyncError("not_replayable", f"run {other} already brings {module}@{row['version']}")
    remember(connection, [module.text])  # the names are learnt from new runs only
    changed = update(runs).where(runs.c.id == row["id"]).values(module=module.text, semantic=key).returning(runs)
    return connection.execute(changed).mappings().one()


def hold_both(connection: Connection, run: Run, module: ModulePath, version: Version) -> None:
    """Take the rows of the run's own release and of the other one, in the order of their names; see hold_release."""
    for name in sorted([(run.module, run.version or ""), (module.text, version.text)]):
        hold_release(connection, *name)


def move_claim(
    connection: Connection, run: Run, module: ModulePath, version: Version, now: datetime
) -> SyncError | None:
    """Let the run hold another release instead of its own, which nobody pushed; the error when it may not."""
    refusal = claim_release(connection, module.text, version.text, run.id, run.commit, now)
    if refusal is None:
        own = (releases.c.module == run.module) & (releases.c.version == run.version) & (releases.c.run_id == run.id)
        connection.execute(delete(releases).where(own, releases.c.pushed_at.is_(None)))
        remember(connection, [module.text])
    return refusal
