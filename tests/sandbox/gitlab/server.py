"""The stand-in GitLab as tests and the demo hold it."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.sandbox.gitlab.app import make_api
from tests.sandbox.gitlab.auth import Doorkeeper
from tests.sandbox.gitlab.faults import Faults, Request
from tests.sandbox.gitlab.git_door import PATH, GitDoor
from tests.sandbox.gitlab.jobs import JobBoard
from tests.sandbox.gitlab.model import Namespace, Pipeline, Project, Variable
from tests.sandbox.gitlab.namespaces import create_project, move_project
from tests.sandbox.gitlab.pipelines import refresh
from tests.sandbox.gitlab.webhooks import Webhooks
from tests.sandbox.gitlab.world import Clock, Settings, World, system_clock
from tests.sandbox.serve import LoopbackServer

_NOT_FOUND = b'{"error":"404 Not Found"}'
_MONTH = timedelta(days=30)


class GitLab:
    """API v4 and git over HTTP on loopback; all its files are below `root`. A context manager: entering starts.

    `faults.add(match, action, times)` breaks single requests; `settings` are the instance's; `jobs` is the runner's
    side; `webhooks` are sent when a pipeline changes. State lives as long as the object does, also across `stop()` and
    `start()`, on the same port.
    """

    def __init__(self, root: Path, *, port: int = 0, clock: Clock = system_clock) -> None:
        self.world = World(root, clock)
        door = Doorkeeper(self.world)
        self._api, self._git = make_api(self.world, door), GitDoor(self.world, door)
        self.faults = Faults(self._route)
        self._server = LoopbackServer(self.faults, port)
        self.world.url = self._server.url
        self.jobs = JobBoard(self.world)
        self.webhooks = Webhooks(self.world)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def settings(self) -> Settings:
        return self.world.settings

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of the answers."""
        return list(self.faults.requests)

    def start(self) -> None:
        self.faults.stopped.clear()
        self._server.start()
        self.webhooks.start()

    def stop(self) -> None:
        """Refuse and cut connections; `start()` brings the same state back."""
        self.faults.stopped.set()
        self._server.stop()
        self.webhooks.stop()

    def close(self) -> None:
        self.faults.stopped.set()
        self._server.close()
        self.webhooks.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def create_group(self, path: str, *, owner: str = "modsync", visibility: str = "private") -> Namespace:
        """The group at this full path, its parents made as needed; an existing one is returned as it is."""
        with self.world.lock:
            self.world.user(owner)
            parts = path.split("/")
            spaces = ["/".join(parts[: end + 1]) for end in range(len(parts))]
            return [self._group(space, owner, visibility) for space in spaces][-1]

    def create_token(
        self,
        *,
        user: str = "modsync",
        scopes: Iterable[str] = ("api", "write_repository"),
        expires_at: date | None = None,
        eternal: bool = False,
        bot: bool = False,
    ) -> str:
        """A personal access token's secret; it ends in 30 days, on `expires_at` (excluded), or never (`eternal`).

        `bot`: as projects, groups and service accounts have them.
        """
        end = None if eternal else expires_at or self.world.clock().date() + _MONTH
        token = self.world.add_token(user, tuple(scopes), end)
        token.bot = bot
        return token.secret

    def create_project(self, path: str, files: Mapping[str, str] | None = None, *, owner: str = "modsync") -> Project:
        """A project at this full path with these files on `main`, or empty; its group is made as needed."""
        space, _, leaf = path.rpartition("/")
        with self.world.lock:
            namespace = self.create_group(space, owner=owner)
            given = {"namespace_id": namespace.id, "path": leaf, "initialize_with_readme": bool(files)}
            project = create_project(self.world, self.world.user(owner), given)
            if files:
                self.world.repository(project).seed("main", files, "Add files")
            return project

    def project(self, path: str) -> Project:
        """The project at this path. Raises KeyError."""
        found = self.world.project(path)
        if found is None:
            raise KeyError(path)
        return found

    def has_project(self, path: str) -> bool:
        return self.world.project(path) is not None

    def refs(self, path: str) -> dict[str, str]:
        """Full ref names of a project and the commits behind them."""
        return {ref.name: ref.commit for ref in self.world.repository(self.project(path)).refs()}

    def add_member(self, path: str, user: str, level: int) -> None:
        """Give a user an access level on a project or a group."""
        with self.world.lock:
            self.world.user(user)
            thing = self.world.project(path) or self.world.namespace(path)
            if thing is None:
                raise KeyError(path)
            thing.members[user] = level

    def revoke(self, secret: str) -> None:
        self.world.tokens[secret].revoked = True

    def move_project(self, old: str, new: str) -> None:
        """Transfer and rename; the group of `new` must exist."""
        space, _, leaf = new.rpartition("/")
        with self.world.lock:
            namespace = self.world.namespace(space)
            if namespace is None:
                raise KeyError(space)
            move_project(self.world, self.project(old), namespace, leaf)

    def set_variable(
        self, key: str, value: str, *, project: str = "", masked: bool = False, file: bool = False
    ) -> None:
        """A CI/CD variable of the instance, or of a project."""
        store = self.project(project).variables if project else self.settings.variables
        store[key] = Variable(key, value, "file" if file else "env_var", masked)

    def pipelines(self, path: str) -> list[Pipeline]:
        """A project's pipelines, oldest first."""
        number = self.project(path).id
        with self.world.lock:
            return [one for one in self.world.pipelines.values() if one.project_id == number]

    def force_status(self, pipeline: int, status: str | None) -> None:
        """Show any status, also one that GitLab does not have yet; None shows the real one again."""
        with self.world.lock:
            self.world.pipelines[pipeline].forced = status
            refresh(self.world, self.world.pipelines[pipeline])

    def trace(self, pipeline: int) -> str:
        """The logs of a pipeline's present jobs, one after the other."""
        with self.world.lock:
            found = [self.world.jobs[number].trace for number in self.world.pipelines[pipeline].jobs]
            return "\n".join(bytes(trace).decode("utf-8", "replace") for trace in found)

    def wait_for_pipeline(self, pipeline: int, *statuses: str, timeout: float = 30.0) -> str:
        """Block until the pipeline shows one of these statuses; returns the one it has then (or at the timeout)."""
        one = self.world.pipelines[pipeline]
        with self.world.changed:
            self.world.changed.wait_for(lambda: (one.forced or one.status) in statuses, timeout)
            return one.forced or one.status

    def _group(self, path: str, owner: str, visibility: str) -> Namespace:
        return self.world.namespace(path) or self.world.add_namespace(path, owner=owner, visibility=visibility)

    def _route(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ["PATH_INFO"])
        if PATH.fullmatch(path):
            return self._git(environ, start_response)
        if path.startswith("/api/v4/"):
            return self._api(environ, start_response)
        length = ("Content-Length", str(len(_NOT_FOUND)))
        start_response("404 Not Found", [("Content-Type", "application/json"), length])
        return [_NOT_FOUND]
