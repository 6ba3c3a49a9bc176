"""The only door to GitLab's API: implements ports.GitLab through python-gitlab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gitlab.v4.objects import Project
from pydantic import SecretStr

from app.adapters import gitlab_answers as answers
from app.adapters.gitlab_client import Client, Door, Failure, Guard
from app.adapters.gitlab_drift import GitLabInspector
from app.adapters.gitlab_errors import Call
from app.adapters.gitlab_project import Projects, Seen, Wanted
from app.adapters.gitlab_rules import Patience
from app.adapters.gitlab_trace import MOST_BYTES, read_trace
from app.adapters.http_session import Transport
from app.services.gitlab_login import TokenInfo
from app.services.measuring import Tally
from app.services.ports import MirrorProject, Pipeline

_LOG_LINES = 30
_LOG_BYTES = 256 * 1024
_PAGE = 100


@dataclass(frozen=True, slots=True)
class GitLabOptions:
    """One GitLab and how its mirror projects shall be.

    `url` is the base URL (a relative root included). `ci_config_path` (empty: left alone) names the pre-cache pipeline's
    file, also in another project (`precache.yml@platform/ci-templates`). `variables_role` is who may set pipeline
    variables; it is left alone where parameters go as `inputs` (GitLab 18.1 and newer). `secrets`: what else no answer of
    GitLab's, a job's log above all, may bring into ours. `timeout_seconds` bounds each wait for an answer, `total_seconds`
    (None: four times that) a whole one, `max_log` the bytes that are read of a job's log.
    """

    url: str
    token: SecretStr
    branch: str = "ci-sync"
    ci_config_path: str = ""
    visibility: Literal["private", "internal", "public"] = "private"
    pipeline_parameters: Literal["variables", "inputs"] = "variables"
    trigger_token: SecretStr | None = None
    variables_role: Literal["developer", "maintainer", "owner"] = "maintainer"
    timeout_seconds: float = 30.0
    total_seconds: float | None = None
    max_log: int = MOST_BYTES
    ca_file: str | None = None
    http_proxy: str | None = field(default=None, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def wanted(self) -> Wanted:
        """The mirror projects' settings, as the project API names them."""
        settings: dict[str, Any] = {
            "auto_devops_enabled": False,
            # releases share the branch: the next one's pipeline must not cancel this one's
            "auto_cancel_pending_pipelines": "disabled",
            # with it GitLab refuses pointers whose objects it lacks; pointers are what go takes of a repository
            "lfs_enabled": False,
        }
        if self.ci_config_path:
            settings["ci_config_path"] = self.ci_config_path
        if self.pipeline_parameters == "variables":
            settings["ci_pipeline_variables_minimum_override_role"] = self.variables_role
        return Wanted(self.branch, self.visibility, settings)


class GitLabApi:
    """ports.GitLab over API v4; one object serves all threads. Every failure is a SyncError without the token in it."""

    def __init__(
        self, options: GitLabOptions, guard: Guard | None = None, tally: Tally | None = None, seen: Seen | None = None
    ) -> None:  # fmt: skip
        transport = Transport(
            options.timeout_seconds, ca_file=options.ca_file, http_proxy=options.http_proxy,
            total_seconds=options.total_seconds,
        )  # fmt: skip
        self._options = options
        more = (*options.secrets, *((options.trigger_token.get_secret_value(),) if options.trigger_token else ()))
        self._door = Door(options.url, options.token.get_secret_value(), transport, guard, more, tally)
        self._projects = Projects(self._door, options.wanted(), seen)

    def is_banned(self) -> bool:
        """Whether GitLab refuses all that this address asks, or does not answer; asked at once, past the guard."""
        return self._door.is_banned()

    def is_token_known(self) -> bool:
        """Whether GitLab says that it knows our token, good for this or not; asked past the guard. Error: rate_limited."""
        return self._door.is_token_known()

    def ensure_project(self, path: str) -> MirrorProject:
        """See ports.GitLab. The clone URL is built from our own base URL, for the push carries credentials."""
        return self._mirror(self._projects.ensure(path))

    def find_project(self, path: str) -> MirrorProject | None:
        """See ports.GitLab."""
        found = self._projects.protected(path)
        return self._mirror(found) if found else None

    def remove_tag(self, project: int, tag: str) -> None:
        """See ports.GitLab. Maintainers may remove protected tags by the API, and by no push."""
        call = Call("remove tag", f"{tag} of project {project}", missing="gitlab_refused", writes=True)
        answer = self._door.attempt(call, lambda gl: _lazy(gl, project).tags.delete(tag))
        if isinstance(answer, Failure) and (answer.status != 404 or answer.error.code == "project_missing"):
            raise answer.error

    def create_pipeline(self, project: int, ref: str, variables: Mapping[str, str]) -> Pipeline:
        """See ports.GitLab. `ref`: a branch, a tag, or a full ref. Sent once, whatever comes back.

        Errors: `no_ci_config`, `pipeline_refused`, `pipeline_skipped`, `forbidden`, `push_not_visible`, `rate_limited`.
        """
        body = {"ref": ref, **self._parameters(variables)}
        call = Call("create pipeline", f"on {ref} of project {project}", refused="pipeline_refused", writes=True)
        if self._options.trigger_token is not None:
            return self._triggered(call, project, ref, variables, self._options.trigger_token.get_secret_value())
        return self._door.ask(call, lambda gl: answers.pipeline(_lazy(gl, project).pipelines.create(body).asdict()))

    def find_pipeline(self, project: int, name: str) -> Pipeline | None:
        """See ports.GitLab. Needs GitLab 16.9; older ones ignore the filter, so names are compared here, too."""
        call = Call("find pipeline", f"{name} of project {project}")
        newest: dict[str, Any] = {"name": name, "order_by": "id", "sort": "desc", "per_page": _PAGE}
        listed = self._door.ask(
            call,
            lambda gl: [
                answers.pipeline(one.asdict()) for one in _lazy(gl, project).pipelines.list(get_all=False, **newest)
            ],
        )
        return next((one for one in listed if one.name == name), None)

    def pipeline(self, project: int, pipeline: int) -> Pipeline:
        """See ports.GitLab."""
        call = Call("read pipeline", f"{pipeline} of project {project}", missing="gitlab_refused")
        return self._door.ask(call, lambda gl: answers.pipeline(_lazy(gl, project).pipelines.get(pipeline).asdict()))

    def retry_pipeline(self, project: int, pipeline: int) -> Pipeline | None:
        """See ports.GitLab."""
        look = Call("list failed jobs", f"of pipeline {pipeline} of project {project}", missing="gitlab_refused")
        if not answers.failed_by_runner(self._door.ask(look, lambda gl: _failed_jobs(gl, project, pipeline))):
            return None
        call = Call("retry pipeline", f"{pipeline} of project {project}", refused="pipeline_refused", writes=True)
        path = f"/projects/{project}/pipelines/{pipeline}/retry"
        return self._door.ask(call, lambda gl: answers.pipeline(gl.post(path, {})))

    def failed_job(self, project: int, pipeline: int) -> tuple[str, str, str] | None:
        """See ports.GitLab. A log that cannot be had is said to be so in its place."""
        call = Call("list failed jobs", f"of pipeline {pipeline} of project {project}", missing="gitlab_refused")
        found = answers.guilty_job(self._door.ask(call, lambda gl: _failed_jobs(gl, project, pipeline)))
        return None if found is None else (found.name, found.web_url, self._log(project, found))

    def below(self, prefix: str, after: int) -> Sequence[tuple[int, str]]:
        """See unknown_mirrors.MirrorProjects. Paged by key (`id_after`): deep offsets cost GitLab a lot, and end at 50,000.

        GitLab's search is a wide one: a page without any project below the prefix is followed by the next.
        """
        call = Call("list projects", f"below {prefix or 'all groups'}")
        wanted: dict[str, Any] = {
            "order_by": "id", "sort": "asc", "simple": True, "archived": False, "per_page": _PAGE,
            **({"search": prefix, "search_namespaces": True} if prefix else {}),
        }  # fmt: skip
        while True:
            page = self._door.ask(call, lambda gl: _listed(gl, id_after=after, **wanted))  # noqa: B023
            found = [(number, path) for number, path in page if _is_below(path, prefix)]
            if found or not page:
                return found
            after = page[-1][0]

    def inspector(self, patience: Patience | None = None) -> GitLabInspector:
        """Looks whether mirrors are as this object would set them up."""
        return GitLabInspector(self._door, self._options.wanted(), patience)

    def token(self) -> TokenInfo:
        """What GitLab says of the token that this object uses; any scope may ask. GitLab: personal_access_tokens/self."""
        call = Call("read token", "of modsync itself", missing="gitlab_refused")
        return self._door.ask(call, lambda gl: answers.token(gl.http_get("/personal_access_tokens/self")))

    def close(self) -> None:
        """Close this thread's connections."""
        self._door.close()

    def _mirror(self, found: answers.ProjectAnswer) -> MirrorProject:
        clone_url = f"{self._options.url.rstrip('/')}/{found.path}.git"
        return MirrorProject(found.id, found.path, clone_url, found.web_url)

    def _triggered(self, call: Call, project: int, ref: str, variables: Mapping[str, str], token: str) -> Pipeline:
        """By a trigger token, which belongs to one project; GitLab answers 404 to a wrong one."""
        name = "inputs" if self._options.pipeline_parameters == "inputs" else "variables"
        body = {"ref": ref, "token": token, name: dict(variables)}
        path = f"/projects/{project}/trigger/pipeline"
        return self._door.ask(
            replace(call, missing="pipeline_refused"), lambda gl: answers.pipeline(gl.post(path, body))
        )

    def _parameters(self, variables: Mapping[str, str]) -> dict[str, Any]:
        if self._options.pipeline_parameters == "inputs":
            return {"inputs": dict(variables)}
        return {"variables": [{"key": key, "value": value} for key, value in variables.items()]}

    def _log(self, project: int, failed: answers.JobAnswer) -> str:
        """The last lines of a job's log, in bounded memory and time; those that came, where the rest did not."""
        tail = answers.Tail(_LOG_BYTES)
        call = Call("read log", f"of job {failed.id} of project {project}", missing="gitlab_refused")
        answer = self._door.attempt(call, lambda gl: read_trace(gl, project, failed.id, tail, self._options.max_log))
        if isinstance(answer, Failure) and not tail.bytes():
            return f"(log not available: {answer.error})"
        lines = answers.last_lines(tail.bytes(), _LOG_LINES, self._door.secrets)
        return lines if answer is True else f"{lines}\n(the log goes on: it is too long, or came too slowly)"


def _lazy(client: Client, project: int) -> Project:
    """A handle on a project; asks GitLab nothing."""
    return client.projects.get(project, lazy=True)


def _listed(client: Client, **wanted: Any) -> list[tuple[int, str]]:
    found = [answers.project(one.asdict()) for one in client.projects.list(get_all=False, **wanted)]
    return [(one.id, one.path) for one in found]


def _is_below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _failed_jobs(client: Client, project: int, pipeline: int) -> list[answers.JobAnswer]:
    jobs = _lazy(client, project).pipelines.get(pipeline, lazy=True).jobs
    return [answers.job(one.asdict()) for one in jobs.list(scope=["failed"], per_page=_PAGE, get_all=False)]
