"""Which of GitLab's pipeline webhooks say that a pipeline of ours has ended."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.pipeline_event import PipelineEnded, parse_event

RUN = "r0kz3v7m2c5q8x1b4n6d"


def body(**attributes: Any) -> dict[str, Any]:
    """As GitLab sends it, with what modsync does not look at; `user`, `commit` and `merge_request` may be null."""
    given = {"id": 31, "iid": 3, "name": f"modsync {RUN}-2", "ref": "ci-sync", "status": "success", "variables": []}
    return {
        "object_kind": "pipeline", "object_attributes": {**given, **attributes}, "user": None, "commit": None,
        "merge_request": None, "project": {"id": 7, "path_with_namespace": "go-mirrors/a/b"}, "builds": [],
    }  # fmt: skip


@pytest.mark.parametrize("status", ["success", "failed", "canceled", "skipped", "manual"])
def test_an_ended_pipeline_names_its_run(status: str) -> None:
    assert parse_event(body(status=status)) == PipelineEnded(RUN, 7, 31, status)


def test_the_variable_names_it_where_the_name_does_not() -> None:
    variables = [{"key": "OTHER", "value": "x"}, {"key": "MODSYNC_RUN", "value": f"{RUN}-1"}]
    found = parse_event(body(name=None, variables=variables))
    assert found is not None
    assert found.run == RUN


@pytest.mark.parametrize(
    "attributes",
    [
        {"status": "running"}, {"status": "a new one"}, {"status": None}, {"id": "31"}, {"id": True}, {"name": "other"},
        {"name": f"modsync {RUN}"}, {"name": "modsync '; DROP TABLE runs"}, {"name": None, "variables": None},
        {"name": None, "variables": ["x", {"key": "MODSYNC_RUN", "value": 5}]}, {"name": ["modsync"]},
    ],
)  # fmt: skip
def test_everything_else_is_no_event(attributes: dict[str, Any]) -> None:
    assert parse_event(body(**attributes)) is None


@pytest.mark.parametrize(
    "changed", [{"object_kind": "push"}, {"object_attributes": []}, {"project": None}, {"project": {}}]
)
def test_another_shape_is_no_event(changed: dict[str, Any]) -> None:
    assert parse_event({**body(), **changed}) is None
