"""Pipelines: how one comes about, moves through its states, is retried and canceled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sandbox.gitlab.ci_file import CiConfig, ci_text, local_reader, parse
from tests.sandbox.gitlab.ci_variables import rule_variables
from tests.sandbox.gitlab.errors import ApiError, base_error
from tests.sandbox.gitlab.model import Job, JobSpec, Level, Pipeline, Project, User, Variable
from tests.sandbox.gitlab.namespaces import ROLES
from tests.sandbox.gitlab.protection import can_run_pipeline
from tests.sandbox.gitlab.repository import Ref
from tests.sandbox.gitlab.world import World

ACTIVE = ("created", "waiting_for_resource", "preparing", "pending", "running")
_ROLE_LEVELS = dict(zip(ROLES, (Level.ADMIN + 1, Level.DEVELOPER, Level.MAINTAINER, Level.OWNER), strict=True))
_HEADS, _TAGS = "refs/heads/", "refs/tags/"


@dataclass(frozen=True)
class Order:
    """What somebody wants a pipeline for; `ref` is a short or a full name."""

    ref: str
    source: str
    user: User
    variables: Mapping[str, Variable] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    payload: str | None = None


def create(world: World, project: Project, order: Order) -> Pipeline:
    """Make a pipeline with its jobs, in state `created`. Raises ApiError 400 `{"message": {"base": [...]}}`."""
    _check_abilities(world, project, order)
    ref = _find_ref(world, project, order.ref)
    _check_ref(world, project, order, ref)
    _check_limit(world, project, order, ref)
    pipeline = _record(world, project, order, ref)
    text = ci_text(world, order.user, project, ref.commit)
    if text is None:
        raise base_error("Missing CI config file")
    local = local_reader(world, project, ref.commit)
    config = parse(text, rule_variables(world, project, pipeline), order.inputs, local)
    _populate(world, project, pipeline, config)
    return pipeline


def create_skipped(world: World, project: Project, user: User, ref: Ref) -> Pipeline:
    """What a push with `ci.skip` (or `[skip ci]`) leaves behind."""
    pipeline = _record(world, project, Order(ref.name, "push", user), ref)
    pipeline.status = "skipped"
    _publish(world, project, pipeline)
    return pipeline


def start(world: World, pipeline: Pipeline) -> None:
    """Let the first jobs be picked up; the caller has shown the pipeline as `created` by then."""
    refresh(world, pipeline)


def retry(world: World, pipeline: Pipeline) -> None:
    """Run again what failed or was canceled or skipped; nothing happens when there is none."""
    for number in list(pipeline.jobs):
        if world.jobs[number].status in ("failed", "canceled", "skipped"):
            _again(world, pipeline, world.jobs[number])
    pipeline.forced = None
    refresh(world, pipeline)


def cancel(world: World, pipeline: Pipeline) -> None:
    """Cancel what is still active; nothing happens when there is nothing, and that is a success, too."""
    for job in jobs_of(world, pipeline):
        if job.status in (*ACTIVE, "manual"):
            job.status, job.finished_at = "canceled", world.clock()
    refresh(world, pipeline)


def jobs_of(world: World, pipeline: Pipeline) -> list[Job]:
    return [world.jobs[number] for number in pipeline.jobs]


def refresh(world: World, pipeline: Pipeline) -> None:
    """Move waiting jobs on and derive the pipeline's status from its jobs; whoever waits is told."""
    blocked = False
    for stage in pipeline.stages:
        jobs = [job for job in jobs_of(world, pipeline) if job.spec.stage == stage]
        for job in jobs:
            if job.status == "created":
                job.status = "skipped" if blocked else ("manual" if job.spec.manual else "pending")
        blocked = blocked or any(_stops(job) for job in jobs)
        if any(job.status in ("pending", "running") for job in jobs):
            break
    if pipeline.status != "skipped" or pipeline.jobs:
        pipeline.status = _status([job for job in jobs_of(world, pipeline) if not _forgiven(job)])
    _announce(world, pipeline)


def finish(world: World, job: Job, status: str, reason: str | None = None) -> None:
    """End a running job; a failed one is tried again where its `retry` says so."""
    pipeline = world.pipelines[job.pipeline_id]
    if job.status == "running":
        job.status, job.failure_reason, job.finished_at = status, reason, world.clock()
        if status == "failed" and job.tries <= job.spec.retries and reason != "job_execution_timeout":
            _again(world, pipeline, job)
    refresh(world, pipeline)


def _again(world: World, pipeline: Pipeline, job: Job) -> None:
    """Put a new job in the place of an ended one."""
    job.retried = True
    fresh = _add_job(world, pipeline, job.spec)
    fresh.tries = job.tries + 1
    pipeline.jobs[pipeline.jobs.index(job.id)] = pipeline.jobs.pop()


def _status(jobs: list[Job]) -> str:
    found = {job.status for job in jobs}
    for status in ("running", "pending", "failed", "canceled", "manual"):
        if status in found:
            moving = status == "pending" and found & {"success", "failed"}
            return "running" if moving else status
    return "created" if "created" in found else ("skipped" if found == {"skipped"} else "success")


def _stops(job: Job) -> bool:
    return job.status in ("failed", "canceled", "skipped", "manual") and not job.spec.allow_failure


def _forgiven(job: Job) -> bool:
    return job.spec.allow_failure and job.status in ("failed", "manual", "skipped")


def _check_abilities(world: World, project: Project, order: Order) -> None:
    level = world.level(order.user, project)
    if project.settings["builds_access_level"] == "disabled" or not project.settings["jobs_enabled"]:
        raise base_error("Pipelines are disabled!")
    if level < Level.DEVELOPER:
        raise base_error("Insufficient permissions to create a new pipeline")
    role = str(project.settings["ci_pipeline_variables_minimum_override_role"])
    if order.variables and level < _ROLE_LEVELS[role]:
        raise base_error("Insufficient permissions to set pipeline variables")


def _check_ref(world: World, project: Project, order: Order, ref: Ref) -> None:
    short, tag = _short(ref)
    if not can_run_pipeline(project, short, tag, world.level(order.user, project)):
        raise base_error(
            f"You do not have sufficient permission to run a pipeline on '{short}'. "
            "Please select a different branch or contact your administrator for assistance."
        )


def _check_limit(world: World, project: Project, order: Order, ref: Ref) -> None:
    """Counted in windows of the clock, refused ones, too."""
    minute = int(world.clock().timestamp() // 60)
    count = world.next_id(f"order of {project.id} {order.user.username} {ref.commit} {minute}")
    if 0 < world.settings.pipelines_a_minute < count:
        raise base_error("Too many pipelines created in the last minute. Try again later.")


def _find_ref(world: World, project: Project, name: str) -> Ref:
    names = [name] if name.startswith((_HEADS, _TAGS)) else [_HEADS + name, _TAGS + name]
    found = [ref for one in names if (ref := world.repository(project).ref(one))]
    if not found:
        raise base_error("Reference not found")
    if len(found) > 1:
        raise base_error("Ref is ambiguous")
    return found[0]


def _record(world: World, project: Project, order: Order, ref: Ref) -> Pipeline:
    """A pipeline that nobody sees yet. A creation that is refused later uses up its id, as in GitLab."""
    short, tag = _short(ref)
    return Pipeline(
        id=world.next_id("pipeline"),
        iid=world.next_id(f"pipeline of {project.id}"),
        project_id=project.id,
        ref=short,
        tag=tag,
        sha=ref.commit,
        source=order.source,
        user=order.user,
        created_at=world.clock(),
        variables=dict(order.variables),
        trigger_payload=order.payload,
    )


def _populate(world: World, project: Project, pipeline: Pipeline, config: CiConfig) -> None:
    unknown = [job for job in config.jobs if job.stage not in config.stages]
    if unknown:
        raise base_error(f"{unknown[0].name} job: chosen stage {unknown[0].stage} does not exist")
    pipeline.name, pipeline.stages = config.name, config.stages
    for spec in config.jobs:
        _add_job(world, pipeline, spec)
    _publish(world, project, pipeline)


def _publish(world: World, project: Project, pipeline: Pipeline) -> None:
    world.pipelines[pipeline.id] = pipeline
    _announce(world, pipeline)


def _announce(world: World, pipeline: Pipeline) -> None:
    """Tell whoever waits, and webhooks when the state is another one."""
    shown = pipeline.forced or pipeline.status
    if shown != pipeline.announced:
        pipeline.announced = shown
        world.pipeline_changed(pipeline)
    world.changed.notify_all()


def _add_job(world: World, pipeline: Pipeline, spec: JobSpec) -> Job:
    job = Job(world.next_id("job"), pipeline.id, spec, world.clock())
    world.jobs[job.id] = job
    pipeline.jobs.append(job.id)
    return job


def _short(ref: Ref) -> tuple[str, bool]:
    tag = ref.name.startswith(_TAGS)
    return ref.name.removeprefix(_TAGS if tag else _HEADS), tag


def push_pipelines(world: World, project: Project, user: User, refs: list[Ref], skip: bool) -> list[Pipeline]:
    """The pipelines of one push: for its first four refs only, and none where the file or its rules say so."""
    made = []
    for ref in refs[:4]:
        message = str((world.repository(project).commit(ref.commit) or {}).get("message", ""))
        if skip or "[skip ci]" in message.lower() or "[ci skip]" in message.lower():
            made.append(create_skipped(world, project, user, ref))
            continue
        try:
            made.append(create(world, project, Order(ref.name, "push", user)))
        except ApiError:
            continue
    return made
