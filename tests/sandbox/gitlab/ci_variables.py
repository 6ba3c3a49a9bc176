"""The variables of a pipeline and of its jobs, in GitLab's order of precedence."""

from urllib.parse import urlsplit

from tests.sandbox.gitlab.ci_rules import expand
from tests.sandbox.gitlab.model import Job, Pipeline, Project, Variable
from tests.sandbox.gitlab.protection import branch_rules, tag_rules
from tests.sandbox.gitlab.world import World


def rule_variables(world: World, project: Project, pipeline: Pipeline) -> dict[str, str]:
    """What `rules` and `workflow` see, the file's own variables aside: predefined, instance, project, pipeline."""
    shared = {one.key: one.value for one in _configured(world, project, pipeline)}
    return {**predefined(world, project, pipeline), **shared}


def job_variables(world: World, job: Job) -> list[Variable]:
    """What a job's process gets, expanded and with later ones over earlier ones."""
    pipeline = world.pipelines[job.pipeline_id]
    project = world.projects[pipeline.project_id]
    own = {**predefined(world, project, pipeline), **_of_job(job), **job.spec.variables}
    everything = {key: Variable(key, value) for key, value in own.items()}
    everything.update({one.key: one for one in _configured(world, project, pipeline)})
    if pipeline.trigger_payload is not None:
        everything["TRIGGER_PAYLOAD"] = Variable("TRIGGER_PAYLOAD", pipeline.trigger_payload, raw=True)
    known = {key: one.value for key, one in everything.items()}
    return [_expanded(one, known) for one in everything.values()]


def predefined(world: World, project: Project, pipeline: Pipeline) -> dict[str, str]:
    server = urlsplit(world.url)
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER": "yes",
        "CI_SERVER_URL": world.url,
        "CI_SERVER_HOST": server.hostname or "",
        "CI_API_V4_URL": f"{world.url}/api/v4",
        "CI_PROJECT_ID": str(project.id),
        "CI_PROJECT_NAME": project.leaf,
        "CI_PROJECT_PATH": project.path,
        "CI_PROJECT_NAMESPACE": project.path.rpartition("/")[0],
        "CI_PROJECT_URL": f"{world.url}/{project.path}",
        "CI_DEFAULT_BRANCH": project.default_branch or "",
        "CI_PIPELINE_ID": str(pipeline.id),
        "CI_PIPELINE_IID": str(pipeline.iid),
        "CI_PIPELINE_SOURCE": pipeline.source,
        "CI_PIPELINE_URL": f"{world.url}/{project.path}/-/pipelines/{pipeline.id}",
        "CI_COMMIT_SHA": pipeline.sha,
        "CI_COMMIT_SHORT_SHA": pipeline.sha[:8],
        "CI_COMMIT_REF_NAME": pipeline.ref,
        "CI_COMMIT_TAG" if pipeline.tag else "CI_COMMIT_BRANCH": pipeline.ref,
        "CI_COMMIT_REF_PROTECTED": "true" if _is_protected(project, pipeline) else "false",
        "GITLAB_USER_LOGIN": pipeline.user.username,
    }


def _of_job(job: Job) -> dict[str, str]:
    return {"CI_JOB_ID": str(job.id), "CI_JOB_NAME": job.spec.name, "CI_JOB_STAGE": job.spec.stage}


def _configured(world: World, project: Project, pipeline: Pipeline) -> list[Variable]:
    """Instance, project, then pipeline variables; protected ones only where the ref is protected."""
    stored = [*world.settings.variables.values(), *project.variables.values()]
    protected = _is_protected(project, pipeline)
    return [*(one for one in stored if protected or not one.protected), *pipeline.variables.values()]


def _is_protected(project: Project, pipeline: Pipeline) -> bool:
    return bool((tag_rules if pipeline.tag else branch_rules)(project, pipeline.ref))


def _expanded(one: Variable, known: dict[str, str]) -> Variable:
    if one.raw or one.kind == "file" or "$" not in one.value:
        return one
    others = {key: value for key, value in known.items() if key != one.key}
    return Variable(one.key, expand(one.value, others), one.kind, one.masked, one.protected)
