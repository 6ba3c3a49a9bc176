"""The shape of modsync's settings: frozen tables whose field descriptions are the advice a wrong value is answered with.

A secret is a `SecretStr` field `x`; in the file it is written as `x_env` or `x_file` (see app/config_read.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from app.config_athens import Athens, ClientSetup
from app.config_gitlab import Discovery, GitLab
from app.config_notify import Notify
from app.config_table import SourceSecret, Table
from app.config_types import Count, HttpUrl, Listen, Name, Network, Seconds
from app.config_upkeep import Limits, Reconcile, Retries
from app.domain.outgoing import proxy_for
from app.domain.proxies import KINDS
from app.domain.routing import Rule
from app.domain.signature import SigningPolicy


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the dotted key, what is wrong with it, what to do. Never holds a secret's value."""

    key: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.key}: {self.what}. {self.fix}"


class ConfigError(Exception):
    """The settings cannot be used; `problems` are all of them, and `path` is the file if found."""

    def __init__(self, problems: list[Problem], path: Path | None = None) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.path = path


class Web(Table):
    """[web]: the HTTP server. `secure_cookies` None stands for: yes when base_url is https."""

    listen: Listen = Field(
        default="127.0.0.1:8080",
        description="Give the address and port to listen on, like 127.0.0.1:8080 or [::]:8080.",
    )
    base_url: HttpUrl = Field(
        default="http://127.0.0.1:8080", description="Give the address at which people and platforms reach modsync."
    )
    workers: Count = Field(default=2, description="Give the number of web server processes.")
    threads: Count = Field(default=8, description="Give the number of threads in each web server process.")
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = Field(
        default=5 << 20, description="Give the largest webhook body in bytes, 1024 to 67108864."
    )
    secure_cookies: bool | None = Field(default=None, description="true, false, or leave it out to follow base_url.")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="List the networks of the proxies in front of modsync, like 10.0.0.5/32."
    )

    @property
    def cookies_are_secure(self) -> bool:
        """True when session cookies are for https only."""
        return self.base_url.startswith("https:") if self.secure_cookies is None else self.secure_cookies


class Access(Table):
    """[access]: who may use the API, the pages and the metrics."""

    admin_token: SecretStr = Field(description="The token for the API and for the login of the pages.")
    metrics_networks: tuple[Network, ...] = Field(
        default=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")),
        description="List the networks that may read /metrics without a token, like 10.0.0.0/8.",
    )


class Store(Table):
    """[store]: the database; after loading, `url` is an SQLAlchemy URL, never empty. May hold a password."""

    url: str = Field(
        default="", repr=False, description="Give a sqlite:/// or postgresql:// URL, or leave it out for SQLite."
    )


class Queue(Table):
    """[queue]: Redis; "" stands for the embedded server. May hold a password."""

    url: str = Field(default="", repr=False, description="Give a redis://, rediss:// or unix:// URL, or leave it out.")


class Worker(Table):
    """[worker]: processes for live and for backfill work; `lease_seconds` is how long a dead worker blocks a run."""

    live: Count = Field(default=2, description="Give the number of worker processes for live releases.")
    backfill: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=1, description="Give the number of worker processes for backfills; 0 leaves them to the live ones."
    )
    lease_seconds: Annotated[float, Field(ge=2, le=600)] = Field(
        default=6.0, description="Give the seconds after which a silent worker's run is taken over, 2 to 600."
    )


class Git(Table):
    """[git]."""

    timeout_seconds: Seconds = Field(default=600.0, description="Give the longest time of one git command in seconds.")


class Outgoing(Table):
    """[outgoing]: modsync's own connections. Paths are absolute after loading."""

    ca_file: Path | None = Field(default=None, description="Name a PEM file with the CA certificates to trust.")
    http_proxy: HttpUrl | None = Field(default=None, description="Give the HTTP proxy's URL, without credentials.")
    no_proxy: str = Field(default="", description="Give hosts reached without the HTTP proxy, with commas between.")
    ssh_key_file: Path | None = Field(default=None, description="Name the private key for ssh:// clone URLs.")
    known_hosts_file: Path | None = Field(default=None, description="Name the known_hosts file for ssh:// clone URLs.")

    def proxy_for(self, url: str) -> str | None:
        """The HTTP proxy for a request to this URL; None: it goes there directly."""
        return proxy_for(url, self.http_proxy, self.no_proxy)


class Proxy(Table):
    """[[proxies]]: a private Go module proxy."""

    name: Name = Field(default="default", description="Give the proxy a name for rules to refer to.")
    kind: Literal["any", "athens", "artifactory", "goproxy", "gitlab", "static"] = Field(
        default="any", description='Choose "any", "athens", "artifactory", "goproxy", "gitlab" or "static".'
    )
    url: HttpUrl = Field(default="", description="Give the GOPROXY base URL, as clients set it.")
    directory: str = Field(default="", description="Name the directory that modsync writes, for a static proxy.")
    token: SecretStr | None = Field(default=None, description="The bearer token for the proxy.")
    username: str = Field(default="", description="Give the user name that goes with the password.")
    password: SecretStr | None = Field(default=None, description="The password for the proxy.")
    wait_seconds: Seconds | None = Field(
        default=None,
        description="Give the longest wait for the proxy to have a version, or leave it out for the kind's.",
    )
    timeout_seconds: Seconds = Field(
        default=60.0, description="Give the longest wait for an answer, or its next part, in seconds."
    )

    @property
    def patience(self) -> float:
        """Seconds to wait for a version: as set, else as proxies of this kind need."""
        return KINDS[self.kind].wait if self.wait_seconds is None else self.wait_seconds


class Source(Table):
    """[[sources]]: a module platform that sends webhooks."""

    name: Name = Field(description="Give the source a name: it is part of its webhook's address.")
    scheme: Literal["article", "github", "gitea", "forgejo", "gitlab-token", "standard-webhooks", "artifactory"] = (
        Field(
            description="Choose how the platform signs: article, github, gitea, forgejo, gitlab-token, standard-webhooks"
            " or artifactory."
        )
    )
    secrets: tuple[SourceSecret, ...] = Field(
        description='List at least one: secrets = [{ id = "2026-11", env = "NAME" }].', min_length=1
    )
    allow: tuple[str, ...] = Field(
        default=(), description="List the clone URLs that are allowed: https://git.corp.example/**."
    )
    signatures: SigningPolicy = Field(
        default=SigningPolicy.OFF, description='Choose "off", "warn" or "require" for signed tags.'
    )
    ssh_signers_file: Path | None = Field(default=None, description="Name an allowed_signers file, as for ssh-keygen.")
    gpg_keys_file: Path | None = Field(default=None, description="Name a file with OpenPGP public keys.")
    clone_username: str = Field(default="oauth2", min_length=1, description="Give the user name for cloning over HTTP.")
    clone_token: SecretStr | None = Field(default=None, description="The token for cloning over HTTP.")
    prereleases: bool = Field(default=True, description="true or false: bring versions like v1.2.0-rc.1 through.")
    tag_events: bool = Field(default=True, description="true or false: also take tags that no release was made of yet.")
    rate_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        default=6000, description="Give the signed requests that a minute may bring, 0 for no limit."
    )
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=2000, description="Give the signed requests that may come at once, at least 1."
    )


class RuleTable(Table):
    """[[rules]]: which modules go where; the first that matches wins."""

    modules: str = Field(description="Give a module path pattern, like go.corp.example/{team}/{repo}.")
    mirror: str = Field(description="Give the GitLab project's path, like go-mirrors/{team}/{repo}.")
    clone: str = Field(default="", description="Give the clone URL, like https://git.corp.example/{team}/{repo}.git.")
    content: Literal["git", "goproxy"] = Field(
        default="git", description='Choose "git", or "goproxy" where clone is a module registry\'s address.'
    )
    source: str = Field(default="", description="Name a source, or leave it out for any.")
    tags: Literal["require", "make"] = Field(default="require", description='Choose "require" or "make".')
    proxy: str = Field(default="default", description="Name a proxy.")


class Log(Table):
    """[log]."""

    format: Literal["json", "console"] = Field(default="json", description='Choose "json" or "console".')
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description='Choose "debug", "info", "warning" or "error".'
    )


class Sandbox(Table):
    """[sandbox]: for tests and the demo only."""

    enabled: bool = Field(
        default=False, description="true allows loopback, file and http clone URLs; never in production."
    )


class Settings(Table):
    """All of it. Paths are absolute; `origins` says where values outside the file came from (dotted key -> "$NAME")."""

    path: Path
    data_dir: Path
    web: Web
    access: Access
    store: Store
    queue: Queue
    worker: Worker
    git: Git
    outgoing: Outgoing
    gitlab: GitLab
    discovery: Discovery
    athens: Athens
    setup: ClientSetup
    proxies: tuple[Proxy, ...]
    sources: tuple[Source, ...]
    rules: tuple[RuleTable, ...]
    retry: Retries
    reconcile: Reconcile
    limits: Limits
    log: Log
    sandbox: Sandbox
    notify: tuple[Notify, ...] = ()
    origins: Mapping[str, str] = Field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()

    @property
    def routing(self) -> tuple[Rule, ...]:
        """The rules as app.domain.routing takes them."""
        return tuple(Rule(**rule.model_dump()) for rule in self.rules)

    def source(self, name: str) -> Source | None:
        """The source of this name, None when there is none."""
        return next((source for source in self.sources if source.name == name), None)

    def proxy(self, name: str) -> Proxy | None:
        """The proxy of this name, None when there is none."""
        return next((proxy for proxy in self.proxies if proxy.name == name), None)
