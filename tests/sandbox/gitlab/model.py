"""What the stand-in GitLab knows: plain records, changed only under the world's lock."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any


class Level(IntEnum):
    """Access levels, as GitLab numbers them."""

    NONE = 0
    GUEST = 10
    REPORTER = 20
    DEVELOPER = 30
    MAINTAINER = 40
    OWNER = 50
    ADMIN = 60


VISIBILITY = {"private": 0, "internal": 10, "public": 20}


@dataclass
class User:
    id: int
    username: str
    admin: bool = False


@dataclass
class Token:
    id: int
    name: str
    secret: str = field(repr=False)
    user: User
    scopes: tuple[str, ...]
    expires_at: date | None
    created_at: datetime
    revoked: bool = False
    bot: bool = False  # a project's or a group's token, or a service account's


@dataclass
class Namespace:
    """A group, a subgroup, or a user's own namespace; `path` is the full one."""

    id: int
    path: str
    name: str
    kind: str
    parent_id: int | None
    visibility: str
    created_at: datetime
    members: dict[str, int] = field(default_factory=dict)


@dataclass
class ProtectedBranch:
    """`name` may hold `*`; the levels are the least that may push or merge."""

    id: int
    name: str
    push: int = Level.MAINTAINER
    merge: int = Level.MAINTAINER
    allow_force_push: bool = False


@dataclass
class ProtectedTag:
    name: str
    create: int = Level.MAINTAINER


@dataclass
class Variable:
    """A CI/CD variable; `kind` is `env_var` or `file`."""

    key: str
    value: str = field(repr=False)
    kind: str = "env_var"
    masked: bool = False
    protected: bool = False
    raw: bool = False


@dataclass
class Trigger:
    id: int
    description: str
    secret: str = field(repr=False)
    user: User
    created_at: datetime


@dataclass
class Limits:
    """What refuses a push; zero means no limit. Sizes in bytes."""

    pack_bytes: int = 0
    file_bytes: int = 0
    repository_bytes: int = 0
    read_only: bool = False


@dataclass
class Project:
    """`path` is the full one; `settings` holds what the API may edit and nothing else depends on."""

    id: int
    path: str
    name: str
    namespace_id: int
    repository: Path
    visibility: str
    created_at: datetime
    settings: dict[str, Any]
    description: str | None = None
    archived: bool = False
    default_branch: str | None = None
    members: dict[str, int] = field(default_factory=dict)
    protected_branches: dict[str, ProtectedBranch] = field(default_factory=dict)
    protected_tags: dict[str, ProtectedTag] = field(default_factory=dict)
    triggers: dict[int, Trigger] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @property
    def leaf(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass
class JobSpec:
    """One job of a CI file, as far as the runner needs it; `timeout` in seconds."""

    name: str
    stage: str
    script: list[str]
    variables: dict[str, str]
    image: str = ""
    retries: int = 0
    timeout: float = 3600.0
    allow_failure: bool = False
    manual: bool = False


@dataclass
class Job:
    id: int
    pipeline_id: int
    spec: JobSpec
    created_at: datetime
    status: str = "created"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failure_reason: str | None = None
    retried: bool = False
    tries: int = 1
    trace: bytearray = field(default_factory=bytearray)


@dataclass
class Pipeline:
    """`ref` is the short name, `tag` says which kind; `forced` is a status that a test has put over the jobs' own,
    `announced` the last one that webhooks know of."""

    id: int
    iid: int
    project_id: int
    ref: str
    tag: bool
    sha: str
    source: str
    user: User
    created_at: datetime
    variables: dict[str, Variable]
    name: str | None = None
    status: str = "created"
    forced: str | None = None
    announced: str = "created"
    stages: tuple[str, ...] = ()
    jobs: list[int] = field(default_factory=list)
    trigger_payload: str | None = field(default=None, repr=False)
