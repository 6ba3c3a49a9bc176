"""GitLab's pipeline webhook, as far as modsync believes it: that a certain pipeline of a certain run has ended.

Shape: GitLab, "Webhook events", pipeline events. Lenient: a body of another shape is no event for us, and never an error,
for GitLab disables hooks that answer 4xx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.ids import parse_job_id

ENDED = frozenset({"success", "failed", "canceled", "skipped", "manual"})
_NAME = "modsync "


@dataclass(frozen=True, slots=True)
class PipelineEnded:
    """A pipeline that was made for `run` and does not move by itself any more."""

    run: str
    project: int
    pipeline: int
    status: str


def parse_event(body: Mapping[str, Any]) -> PipelineEnded | None:
    """The event, None for everything else: other kinds, pipelines that still run, pipelines of somebody else."""
    attributes, project = body.get("object_attributes"), body.get("project")
    if body.get("object_kind") != "pipeline" or not isinstance(attributes, dict) or not isinstance(project, dict):
        return None
    run, status = _run(attributes), attributes.get("status")
    numbers = project.get("id"), attributes.get("id")
    if run is None or not isinstance(status, str) or status not in ENDED or not all(map(_is_id, numbers)):
        return None
    return PipelineEnded(run, int(project["id"]), int(attributes["id"]), status)


def _is_id(number: object) -> bool:
    """A number that a database can have given."""
    return type(number) is int and 0 < number < 2**63


def _run(attributes: Mapping[str, Any]) -> str | None:
    """The run by the pipeline's name (workflow:name of the template), else by the variable MODSYNC_RUN."""
    name = attributes.get("name")
    if isinstance(name, str) and name.startswith(_NAME):
        return _run_of(name.removeprefix(_NAME))
    given = attributes.get("variables")
    pairs = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    return next((_run_of(each.get("value")) for each in pairs if each.get("key") == "MODSYNC_RUN"), None)


def _run_of(key: object) -> str | None:
    """From `<run>-<attempt>`."""
    found = parse_job_id(f"{key}-1") if isinstance(key, str) else None
    return found.run if found else None
