"""A run's statements are learnt before the fork: nothing of it is kept, and a job makes no statement's text anew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.sql.compiler import SQLCompiler

from app.adapters.database import connect, reading
from app.adapters.rehearsal import rehearse
from app.adapters.tables import metadata
from app.domain.errors import SyncError
from tests.integration.flow_world import FlowWorld

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_nothing_is_kept(database_url: str) -> None:
    engine = connect(database_url)

    def counts() -> dict[str, int]:
        with reading(engine) as connection:
            tables = metadata.sorted_tables
            return {one.name: connection.execute(select(func.count()).select_from(one)).scalar_one() for one in tables}

    before = counts()
    rehearse(engine, NOW)
    rehearse(engine, NOW)
    assert counts() == before
    engine.dispose()


def test_a_run_learns_little_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = FlowWorld(tmp_path)
    rehearse(world.engine, NOW)
    run = world.take().run_id
    made: list[str] = []
    compile_ = SQLCompiler.__init__

    def noted(self: SQLCompiler, *args: object, **kwargs: object) -> None:
        compile_(self, *args, **kwargs)  # type: ignore[arg-type]
        made.append(self.string)

    monkeypatch.setattr(SQLCompiler, "__init__", noted)
    world.advance(run)
    assert world.run(run).stage == "pipeline"
    assert [text for text in made if "mirrors" in text or "FROM pauses" in text or text.startswith("UPDATE runs")] == []


def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="store_unavailable"):
        rehearse(connect(f"sqlite:///{tmp_path}/empty.db"), NOW)
