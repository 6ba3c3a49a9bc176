"""The stand-in's state, its clock and its one lock, with the look-ups that everything else uses."""

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from tests.sandbox.gitlab.model import Job, Level, Namespace, Pipeline, Project, Token, User, Variable
from tests.sandbox.gitlab.repository import Repository, write_hooks

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Settings:
    """The instance's own settings; tests change them as they like.

    `variables_role` is what a new project gets for `ci_pipeline_variables_minimum_override_role` (strict since 18.0).
    `read_only` is "" or the way in which the instance refuses writes: "instance" or "maintenance".
    `failed_logins` within `failed_seconds` ban an address for `ban_seconds`: from git, or (`old_ban`) from everything.
    `pipelines_a_minute`: so many of one project, user and commit are made in each minute by the clock; 0: any number.
    `totals_limit`: lists longer than this are answered without totals.
    `ci_file` stands in for a project's missing CI file, where a demo wants no project for it.
    """

    version: str = "18.5.1-ee"
    variables_role: str = "no_one_allowed"
    default_branch_protection: bool = True
    push_to_create: bool = True
    read_only: str = ""
    retry_after: int = 1
    failed_logins: int = 30
    failed_seconds: int = 180
    ban_seconds: int = 3600
    old_ban: bool = False
    pipelines_a_minute: int = 0
    totals_limit: int = 10_000
    ci_file: Path | None = None
    variables: dict[str, Variable] = field(default_factory=dict)


class World:
    """Everything the stand-in knows. Take `lock` to read or change more than one thing; `changed` tells who waits.

    `pipeline_changed` is called with a pipeline that has got another state; it must not block.
    """

    def __init__(self, root: Path, clock: Clock = system_clock) -> None:
        self.root, self.clock, self.settings = root, clock, Settings()
        self.url = ""
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.pipeline_changed: Callable[[Pipeline], None] = lambda pipeline: None
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        self.namespaces: dict[int, Namespace] = {}
        self.projects: dict[int, Project] = {}
        self.moved: dict[str, int] = {}
        self.pipelines: dict[int, Pipeline] = {}
        self.jobs: dict[int, Job] = {}
        self._ids: Counter[str] = Counter()
        write_hooks(self.hooks)
        self.user("root").admin = True

    @property
    def hooks(self) -> Path:
        return self.root / "hooks"

    @property
    def repositories(self) -> Path:
        return self.root / "repositories"

    def next_id(self, kind: str) -> int:
        """1 for the first of its kind, then 2, and so on."""
        with self.lock:
            self._ids[kind] += 1
            return self._ids[kind]

    def user(self, username: str) -> User:
        """The user of this name, made with a namespace of its own when new."""
        with self.lock:
            if username not in self.users:
                self.users[username] = User(self.next_id("user"), username)
                self.add_namespace(username, kind="user", owner=username)
            return self.users[username]

    def add_namespace(
        self, path: str, *, kind: str = "group", owner: str = "", name: str = "", visibility: str = "private"
    ) -> Namespace:
        """Record a namespace whose path is known to be free and whose parent exists."""
        parent = self.namespace(path.rpartition("/")[0])
        space = Namespace(
            id=self.next_id("namespace"),
            path=path,
            name=name or path.rpartition("/")[2],
            kind=kind,
            parent_id=parent.id if parent else None,
            visibility=visibility,
            created_at=self.clock(),
            members={owner: Level.OWNER} if owner else {},
        )
        self.namespaces[space.id] = space
        return space

    def add_token(self, user: str, scopes: tuple[str, ...], expires_at: date | None) -> Token:
        with self.lock:
            number = self.next_id("token")
            secret = f"glpat-{secrets.token_urlsafe(15)}"
            token = Token(number, f"token-{number}", secret, self.user(user), scopes, expires_at, self.clock())
            self.tokens[secret] = token
            return token

    def namespace(self, path_or_id: str | int) -> Namespace | None:
        """A group or user namespace by id or full path (any letter case)."""
        if isinstance(path_or_id, int) or path_or_id.isdecimal():
            return self.namespaces.get(int(path_or_id))
        return next((one for one in self.namespaces.values() if one.path.lower() == path_or_id.lower()), None)

    def project(self, path_or_id: str | int) -> Project | None:
        """A project by id or full path (any letter case); a former path is not followed."""
        if isinstance(path_or_id, int) or path_or_id.isdecimal():
            return self.projects.get(int(path_or_id))
        return next((one for one in self.projects.values() if one.path.lower() == path_or_id.lower()), None)

    def moved_project(self, path: str) -> Project | None:
        """The project that used to live at this path."""
        return self.projects.get(self.moved.get(path.lower(), 0))

    def repository(self, project: Project) -> Repository:
        return Repository(project.repository)

    def level(self, user: User | None, thing: Namespace | Project) -> int:
        """The user's access level, inherited from the namespaces above."""
        if user is None:
            return Level.NONE
        if user.admin:
            return Level.ADMIN
        return max((members.get(user.username, 0) for members in self._memberships(thing)), default=0)

    def can_see(self, user: User | None, thing: Namespace | Project) -> bool:
        if thing.visibility == "public" or (thing.visibility == "internal" and user is not None):
            return True
        return self.level(user, thing) > Level.NONE or (isinstance(thing, Namespace) and self._has_child(user, thing))

    def children(self, namespace: Namespace) -> list[Namespace]:
        return [one for one in self.namespaces.values() if one.parent_id == namespace.id]

    def _has_child(self, user: User | None, namespace: Namespace) -> bool:
        """Whoever belongs to something below a group sees the group itself."""
        prefix = f"{namespace.path}/"
        below: list[Namespace | Project] = [*self.namespaces.values(), *self.projects.values()]
        return any(one.path.startswith(prefix) and self.level(user, one) > 0 for one in below)

    def _memberships(self, thing: Namespace | Project) -> Iterator[dict[str, int]]:
        yield thing.members
        above = thing.namespace_id if isinstance(thing, Project) else thing.parent_id
        while above is not None:
            namespace = self.namespaces[above]
            yield namespace.members
            above = namespace.parent_id
