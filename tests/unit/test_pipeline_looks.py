"""How often a pipeline is looked at, for as long as it may take."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.modules import ModulePath, Version
from app.services.ports import Pipeline
from app.services.stages import Wait
from app.services.stages.pipeline import PipelineOptions, PipelineRequest, PipelineStage

NOW = datetime(2026, 11, 28, tzinfo=UTC)


class Running:
    """A GitLab whose pipeline does not end."""

    def pipeline(self, project: int, number: int) -> Pipeline:
        return Pipeline(number, "running", "a" * 40, "https://gitlab.example/p/1")


@pytest.mark.parametrize(
    ("polls", "seconds"), [(0, 1.0), (1, 1.5), (8, 25.62890625), (9, 30.0), (2_000, 30.0), (10**6, 30.0)]
)
def test_the_pauses_grow_up_to_the_longest_however_many_there_were(polls: int, seconds: float) -> None:
    state: dict[str, Any] = {"intent": "modsync r-1", "fence": 1, "id": 7, "polls": polls}
    request = PipelineRequest(
        "r-1", 1, 3, "v1.0.0", ModulePath.parse("go.example/x"), Version.parse("v1.0.0"), "a" * 40, state, NOW, NOW
    )
    stage = PipelineStage(Running(), PipelineOptions())  # type: ignore[arg-type]  # nothing else is asked
    found = stage.run(request, {})
    assert isinstance(found, Wait)
    assert found.seconds == seconds
