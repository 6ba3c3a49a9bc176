"""How the API shows things: plain JSON, with the fields that GitLab gives and clients read."""

from datetime import datetime
from typing import Any

from tests.sandbox.gitlab.model import (
    Job,
    Level,
    Namespace,
    Pipeline,
    Project,
    ProtectedBranch,
    ProtectedTag,
    Token,
    Trigger,
    User,
    Variable,
)
from tests.sandbox.gitlab.world import World

_LEVEL_TEXT = {
    Level.NONE: "No one",
    Level.DEVELOPER: "Developers + Maintainers",
    Level.MAINTAINER: "Maintainers",
    Level.ADMIN: "Admins",
}


def moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def user(one: User) -> dict[str, Any]:
    return {"id": one.id, "username": one.username, "name": one.username, "state": "active", "bot": False}


def token(one: Token) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "revoked": one.revoked,
        "active": not one.revoked,
        "created_at": moment(one.created_at),
        "scopes": list(one.scopes),
        "user_id": one.user.id,
        "expires_at": one.expires_at.isoformat() if one.expires_at else None,
        "last_used_at": None,
    }


def namespace(world: World, one: Namespace) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "path": one.path.rpartition("/")[2],
        "kind": one.kind,
        "full_path": one.path,
        "parent_id": one.parent_id,
        "web_url": f"{world.url}/{'groups/' if one.kind == 'group' else ''}{one.path}",
    }


def group(world: World, one: Namespace) -> dict[str, Any]:
    return {
        **namespace(world, one),
        "full_name": one.path.replace("/", " / "),
        "visibility": one.visibility,
        "created_at": moment(one.created_at),
        "description": "",
        "project_creation_level": "developer",
        "subgroup_creation_level": "maintainer",
    }


def project(world: World, one: Project, viewer: User | None) -> dict[str, Any]:
    space, web = world.namespaces[one.namespace_id], f"{world.url}/{one.path}"
    return {
        "id": one.id,
        "name": one.name,
        "path": one.leaf,
        "path_with_namespace": one.path,
        "name_with_namespace": f"{space.name} / {one.name}",
        "description": one.description,
        "namespace": namespace(world, space),
        "default_branch": one.default_branch,
        "empty_repo": world.repository(one).is_empty(),
        "visibility": one.visibility,
        "archived": one.archived,
        "created_at": moment(one.created_at),
        "web_url": web,
        "http_url_to_repo": f"{web}.git",
        "permissions": {"project_access": {"access_level": world.level(viewer, one)}, "group_access": None},
        **one.settings,
    }


def protected_branch(one: ProtectedBranch) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "push_access_levels": [_access(one.push)],
        "merge_access_levels": [_access(one.merge)],
        "unprotect_access_levels": [],
        "allow_force_push": one.allow_force_push,
        "code_owner_approval_required": False,
        "inherited": False,
    }


def protected_tag(one: ProtectedTag) -> dict[str, Any]:
    return {"name": one.name, "create_access_levels": [_access(one.create)]}


def variable(one: Variable) -> dict[str, Any]:
    return {
        "key": one.key,
        "value": one.value,
        "variable_type": one.kind,
        "masked": one.masked,
        "protected": one.protected,
        "raw": one.raw,
        "environment_scope": "*",
        "description": None,
    }


def trigger(one: Trigger, viewer: User) -> dict[str, Any]:
    """Only its owner sees a trigger's token whole; others get the first four characters."""
    return {
        "id": one.id,
        "description": one.description,
        "token": one.secret if one.user is viewer else one.secret[:4],
        "created_at": moment(one.created_at),
        "updated_at": moment(one.created_at),
        "last_used": None,
        "owner": user(one.user),
    }


def pipeline(world: World, one: Pipeline) -> dict[str, Any]:
    """A pipeline as lists show it: no variables, whatever it was made with."""
    return {
        "id": one.id,
        "iid": one.iid,
        "project_id": one.project_id,
        "name": one.name,
        "sha": one.sha,
        "ref": one.ref,
        "status": one.forced or one.status,
        "source": one.source,
        "created_at": moment(one.created_at),
        "updated_at": moment(_last_change(world, one)),
        "web_url": f"{world.url}/{world.projects[one.project_id].path}/-/pipelines/{one.id}",
    }


def pipeline_detail(world: World, one: Pipeline) -> dict[str, Any]:
    jobs = [world.jobs[number] for number in one.jobs]
    started = min((job.started_at for job in jobs if job.started_at), default=None)
    ended = [job.finished_at for job in jobs]
    finished = max((at for at in ended if at), default=None) if None not in ended else None
    return {
        **pipeline(world, one),
        "before_sha": "0" * 40,
        "tag": one.tag,
        "yaml_errors": None,
        "user": user(one.user),
        "started_at": moment(started),
        "finished_at": moment(finished),
        "duration": int((finished - started).total_seconds()) if finished and started else None,
        "queued_duration": (started - one.created_at).total_seconds() if started else None,
        "coverage": None,
        "detailed_status": {"text": one.forced or one.status, "group": one.forced or one.status},
    }


def job(world: World, one: Job) -> dict[str, Any]:
    owner = world.pipelines[one.pipeline_id]
    return {
        "id": one.id,
        "name": one.spec.name,
        "stage": one.spec.stage,
        "status": one.status,
        "ref": owner.ref,
        "tag": owner.tag,
        "allow_failure": one.spec.allow_failure,
        "created_at": moment(one.created_at),
        "started_at": moment(one.started_at),
        "finished_at": moment(one.finished_at),
        "failure_reason": one.failure_reason,
        "pipeline": pipeline(world, owner),
        "user": user(owner.user),
        "web_url": f"{world.url}/{world.projects[owner.project_id].path}/-/jobs/{one.id}",
    }


def _access(level: int) -> dict[str, Any]:
    text = _LEVEL_TEXT.get(Level(level), "Maintainers")
    return {"id": level, "access_level": level, "access_level_description": text, "user_id": None, "group_id": None}


def _last_change(world: World, one: Pipeline) -> datetime:
    jobs = [world.jobs[number] for number in one.jobs]
    times = [at for job in jobs for at in (job.started_at, job.finished_at) if at]
    return max(times, default=one.created_at)
