"""WakeStore on SQLite or PostgreSQL: a waiting run becomes due, once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select, update

from app.adapters.database import writing
from app.adapters.rows import next_job
from app.adapters.tables import runs
from app.domain.pipeline_event import PipelineEnded
from app.domain.run import Stage


class SqlWakeStore:
    """See WakeStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def wake(self, event: PipelineEnded, now: datetime) -> tuple[str, str, str] | None:
        """See WakeStore. A run that is due and has a job needs no help; one that somebody works on is looked at again then.

        One that is due and has none would wait for the sweeper's next look.
        """
        which = (runs.c.id == event.run) & runs.c.active & (runs.c.stage == Stage.PIPELINE)
        with writing(self._engine) as connection:
            row = connection.execute(select(runs).where(which).with_for_update()).mappings().one_or_none()
            if row is None or not _meant(row["facts"], event):
                return None
            if row["lease_until"] and row["lease_until"] >= now:
                # Its worker may have asked GitLab just before the end: record() finds this mark.
                connection.execute(update(runs).where(which).values(job_at=now))
                return None
            if row["due_at"] <= now and row["job_at"]:
                return None
            job = next_job(connection, event.run, row["attempt"])
            connection.execute(update(runs).where(which).values(due_at=now, job=job, job_at=now))
        return job, str(row["lane"]), str(row["delivery"])


def _meant(facts: Mapping[str, Any], event: PipelineEnded) -> bool:
    """True when the run waits for this very pipeline; one whose id is not recorded yet may look, too."""
    project, pipeline = facts.get("project", {}).get("id"), facts.get("pipeline", {}).get("id")
    return project == event.project and pipeline in (None, event.pipeline)
