"""A GitLab in memory for tests of the services: passes the same contract as the real adapter (test_gitlab_contract.py)."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from app.domain.errors import SyncError
from app.services.ports import MirrorProject, Pipeline


@dataclass
class MadePipeline:
    """A pipeline as it was asked for, and as it is now; `job` is (name, page, last log lines) of the failed one.

    `by_runner`: it failed because its runner did.
    """

    project: int
    ref: str
    variables: Mapping[str, str]
    now: Pipeline
    job: tuple[str, str, str] | None = None
    by_runner: bool = False


@dataclass
class FakeGitLab:
    """ports.GitLab over dictionaries. `groups` are full paths; pipelines are named `modsync <MODSYNC_RUN>`.

    Tests push() refs, move pipelines with finish(), make the next calls of a method fail with fail(), and lose the
    answer of a creation that took place with cut_next_creation(), or takes place only when finish_creations() is called, with
    cut_next_creation(late=True); `late` are those under way. `calls` lists the methods called; `on_remove` is told
    the project and the ref of a tag that is removed.
    """

    groups: set[str] = field(default_factory=lambda: {"mirrors"})
    url: str = "https://gitlab.example"
    projects: dict[str, MirrorProject] = field(default_factory=dict)
    refs: dict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    pipelines: dict[int, MadePipeline] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    on_remove: Callable[[int, str], object] | None = None
    _failures: dict[str, deque[SyncError]] = field(default_factory=lambda: defaultdict(deque))
    _cuts: deque[bool] = field(default_factory=deque)
    late: list[Callable[[], object]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fail(self, method: str, *errors: SyncError) -> None:
        """The next calls of `method` raise these, one each."""
        self._failures[method].extend(errors)

    def cut_next_creation(self, *, late: bool = False) -> None:
        """The next pipeline is made, but its answer is lost; `late`: it is made by finish_creations()."""
        self._cuts.append(late)

    def finish_creations(self) -> None:
        """GitLab comes to the end of what it was asked to create and did not answer."""
        while self.late:
            self.late.pop(0)()

    def push(self, project: int, ref: str, sha: str) -> None:
        """Put a full ref at a commit."""
        self.refs[project][ref] = sha

    def finish(self, pipeline: int, status: str, log: str = "", *, by_runner: bool = False) -> None:
        """Show another status; with `failed`, a job `precache` failed with this log, maybe by the runner's fault."""
        made = self.pipelines[pipeline]
        made.by_runner = by_runner
        made.now = replace(made.now, status=status)
        made.job = ("precache", f"{made.now.web_url}/job", log) if status == "failed" else None

    def ensure_project(self, path: str) -> MirrorProject:
        with self._lock:
            self._enter("ensure_project")
            if path not in self.projects:
                self._make_groups(path.rpartition("/")[0])
                number, web = len(self.projects) + 1, f"{self.url}/{path}"
                self.projects[path] = MirrorProject(number, path, f"{web}.git", web)
            return self.projects[path]

    def find_project(self, path: str) -> MirrorProject | None:
        with self._lock:
            self._enter("find_project")
            return self.projects.get(path)

    def below(self, prefix: str, after: int) -> list[tuple[int, str]]:
        """Two at a time."""
        self._enter("below")
        found = sorted((made.id, path) for path, made in self.projects.items() if path.startswith(f"{prefix}/"))
        return [each for each in found if each[0] > after][:2]

    def remove_tag(self, project: int, tag: str) -> None:
        self._enter("remove_tag")
        self._project(project)
        self.refs[project].pop(f"refs/tags/{tag}", None)
        if self.on_remove:
            self.on_remove(project, f"refs/tags/{tag}")

    def create_pipeline(self, project: int, ref: str, variables: Mapping[str, str]) -> Pipeline:
        self._enter("create_pipeline")
        self._project(project)
        sha = self._sha(project, ref)
        if not self._cuts:
            return self._create(project, ref, sha, variables)
        if self._cuts.popleft():
            self.late.append(lambda: self._create(project, ref, sha, variables))
        else:
            self._create(project, ref, sha, variables)
        raise SyncError("gitlab_unreachable", "GitLab, create pipeline: the answer was cut off")

    def _create(self, project: int, ref: str, sha: str, variables: Mapping[str, str]) -> Pipeline:
        number = len(self.pipelines) + 1
        page = f"{self.url}/-/pipelines/{number}"
        made = Pipeline(number, "created", sha, page, f"modsync {variables.get('MODSYNC_RUN', '')}".strip())
        self.pipelines[number] = MadePipeline(project, ref, dict(variables), made)
        return made

    def find_pipeline(self, project: int, name: str) -> Pipeline | None:
        self._enter("find_pipeline")
        self._project(project)
        found = [made.now for made in self.pipelines.values() if made.project == project and made.now.name == name]
        return found[-1] if found else None

    def pipeline(self, project: int, pipeline: int) -> Pipeline:
        self._enter("pipeline")
        return self._pipeline(project, pipeline).now

    def retry_pipeline(self, project: int, pipeline: int) -> Pipeline | None:
        self._enter("retry_pipeline")
        made = self._pipeline(project, pipeline)
        if not made.by_runner:
            return None
        made.by_runner, made.now = False, replace(made.now, status="pending")
        return made.now

    def failed_job(self, project: int, pipeline: int) -> tuple[str, str, str] | None:
        self._enter("failed_job")
        return self._pipeline(project, pipeline).job

    def _enter(self, method: str) -> None:
        self.calls.append(method)
        if self._failures[method]:
            raise self._failures[method].popleft()

    def _make_groups(self, path: str) -> None:
        top = path.partition("/")[0]
        if top not in self.groups:
            raise SyncError("group_missing", f"GitLab, find group {top}: it does not exist or is hidden")
        parts = path.split("/")
        self.groups |= {"/".join(parts[: end + 1]) for end in range(len(parts))}

    def _project(self, project: int) -> None:
        if all(one.id != project for one in self.projects.values()):
            raise SyncError("project_missing", f"GitLab, project {project}: 404: 404 Project Not Found")

    def _sha(self, project: int, ref: str) -> str:
        names = (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}")
        found = next((self.refs[project][name] for name in names if name in self.refs[project]), None)
        if found is None:
            raise SyncError("push_not_visible", f"GitLab, create pipeline on {ref}: 400: base: Reference not found")
        return found

    def _pipeline(self, project: int, pipeline: int) -> MadePipeline:
        self._project(project)
        made = self.pipelines.get(pipeline)
        if made is None or made.project != project:
            raise SyncError("gitlab_refused", f"GitLab, read pipeline {pipeline}: 404: 404 Pipeline Not Found")
        return made
