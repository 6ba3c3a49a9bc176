"""The body of a pipeline event, after GitLab's documentation ("Webhook events", pipeline events)."""

from datetime import datetime
from typing import Any

from tests.sandbox.gitlab import views
from tests.sandbox.gitlab.model import Job, Pipeline, Project
from tests.sandbox.gitlab.world import World


def pipeline_event(world: World, one: Pipeline) -> dict[str, Any]:
    """The event as of now; `variables` come with their values, as GitLab sends them."""
    project = world.projects[one.project_id]
    return {
        "object_kind": "pipeline",
        "object_attributes": _attributes(world, one, project),
        "merge_request": None,
        "user": {**views.user(one.user), "avatar_url": None, "email": "[REDACTED]"},
        "project": _project(world, project),
        "commit": _commit(world, one, project),
        "builds": [_build(world.jobs[number], one) for number in one.jobs],
    }


def _attributes(world: World, one: Pipeline, project: Project) -> dict[str, Any]:
    shown = views.pipeline_detail(world, one)
    same = ("id", "iid", "name", "ref", "tag", "sha", "before_sha", "source", "status", "duration", "queued_duration")
    return {
        **{name: shown[name] for name in same},
        "detailed_status": shown["status"],
        "stages": list(one.stages),
        "created_at": _moment(one.created_at),
        "finished_at": _moment(max(_ends(world, one), default=None)),
        "variables": [{"key": each.key, "value": each.value} for each in one.variables.values()],
        "url": f"{world.url}/{project.path}/-/pipelines/{one.id}",
    }


def _project(world: World, project: Project) -> dict[str, Any]:
    web = f"{world.url}/{project.path}"
    return {
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "web_url": web,
        "avatar_url": None,
        "git_ssh_url": "",
        "git_http_url": f"{web}.git",
        "namespace": world.namespaces[project.namespace_id].name,
        "visibility_level": {"private": 0, "internal": 10, "public": 20}[project.visibility],
        "path_with_namespace": project.path,
        "default_branch": project.default_branch,
        "ci_config_path": project.settings.get("ci_config_path"),
    }


def _commit(world: World, one: Pipeline, project: Project) -> dict[str, Any] | None:
    found = world.repository(project).commit(one.sha)
    return found and {
        "id": one.sha,
        "message": found["message"],
        "url": f"{world.url}/{project.path}/-/commit/{one.sha}",
    }


def _build(job: Job, one: Pipeline) -> dict[str, Any]:
    return {
        "id": job.id,
        "stage": job.spec.stage,
        "name": job.spec.name,
        "status": job.status,
        "created_at": _moment(job.created_at),
        "started_at": _moment(job.started_at),
        "finished_at": _moment(job.finished_at),
        "failure_reason": job.failure_reason,
        "when": "manual" if job.spec.manual else "on_success",
        "manual": job.spec.manual,
        "allow_failure": job.spec.allow_failure,
        "user": views.user(one.user),
        "runner": None,
        "artifacts_file": {"filename": None, "size": None},
    }


def _ends(world: World, one: Pipeline) -> list[datetime]:
    return [at for number in one.jobs if (at := world.jobs[number].finished_at)]


def _moment(at: datetime | None) -> str | None:
    """Webhooks write times otherwise than the API does."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else None
