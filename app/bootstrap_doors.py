"""The doors to the outside, built from the settings: database, queue, git, GitLab, proxies, registries."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import Engine

from app.adapters.database import connect
from app.adapters.embedded_redis import socket_url
from app.adapters.gitlab_login import GitLabLogin
from app.adapters.static_proxy import StaticProxy
from app.adapters.system import SystemClock
from app.bootstrap_refusals import GitRefusals, is_gitlab
from app.bootstrap_sources import (
    SourceFiles,
    clone_credential,
    gigabytes,
    registry_bases,
    registry_options,
    text_of,
)
from app.config_models import Proxy, Settings
from app.domain.run import Lane
from app.domain.signature import TrustedKeys
from app.services.checksum import zip_sums
from app.services.gitlab_login import TokenWatch
from app.services.host_limits import HostLimits
from app.services.measuring import Tally, share
from app.services.ports import GoProxy
from app.services.registry import Registries
from app.services.stages.mirror import Signing
from app.services.stopping import Stop
from app.telemetry import secret_values

if TYPE_CHECKING:
    from app.adapters.git import Credential, GitDoor
    from app.adapters.git_resolve import Resolver
    from app.adapters.gitlab import GitLabApi, GitLabOptions
    from app.adapters.gitlab_client import Guard
    from app.adapters.go_proxy import GoProxyClient
    from app.adapters.job_queue import RqJobQueue
    from app.adapters.shared_sums import RedisSums

# Their libraries (python-gitlab, GitPython, rq, requests) cost most of a second: a command that only reads needs none.
_HEAVY = ("git", "git_archive", "git_resolve", "gitlab", "go_proxy", "job_queue", "shared_sums")


class Doors:
    """What a process needs of the outside, built at first use; nothing connects before it is used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.stop = Stop()
        self.tally = Tally()

    def preload(self) -> None:
        """Import every door now: a process that forks does it once, and not each of its children."""
        for name in _HEAVY:
            importlib.import_module(f"app.adapters.{name}")

    @property
    def redis_url(self) -> str:
        """Redis as configured, or the embedded server's socket."""
        return self.settings.queue.url or socket_url(self.settings.data_dir)

    @property
    def cache_dir(self) -> Path:
        """Where this host keeps the bare caches."""
        return self.settings.data_dir / "cache"

    @cached_property
    def tmp_dir(self) -> Path:
        """Where downloads are kept while they are looked at; on the data's disk, not in a small /tmp."""
        directory = self.settings.data_dir / "tmp"
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return directory

    @cached_property
    def engine(self) -> Engine:
        """The database."""
        return connect(self.settings.store.url, pool_size=self.settings.web.threads)

    @cached_property
    def queue(self) -> RqJobQueue:
        """RQ's queues, one for each lane."""
        from app.adapters.job_queue import RqJobQueue

        return RqJobQueue(self.redis_url, shared=self.settings.worker.backfill == 0)

    @cached_property
    def sums(self) -> RedisSums:
        """What all processes counted, and what Redis knows beside."""
        from app.adapters.shared_sums import RedisSums

        alone = self.settings.worker.backfill == 0
        return RedisSums(self.redis_url, [Lane.LIVE.value] if alone else [each.value for each in Lane])

    def share(self) -> None:
        """Share what this process counted; a Redis that is away costs it those numbers, and half a second."""
        share(self.tally, self.sums)

    @cached_property
    def resolver(self) -> Resolver | None:
        """Looks sources' names up, so that they can be checked and pinned; None in the sandbox, which is on this machine."""
        from app.adapters.git_resolve import SystemResolver

        return None if self.settings.sandbox.enabled else SystemResolver()

    @cached_property
    def source_files(self) -> SourceFiles:
        """What `go` makes of a source's files."""
        return SourceFiles(lambda: self.tmp_dir)

    @cached_property
    def git(self) -> GitDoor:
        """The door to git."""
        from app.adapters.git import GitDoor, GitOptions

        settings = self.settings
        outgoing = settings.outgoing
        options = GitOptions(
            cache_dir=self.cache_dir, timeout_seconds=settings.git.timeout_seconds, ca_file=outgoing.ca_file,
            http_proxy=outgoing.http_proxy, no_proxy=outgoing.no_proxy, ssh_key_file=outgoing.ssh_key_file,
            known_hosts_file=outgoing.known_hosts_file,
            min_free_bytes=gigabytes(settings.limits.min_free_gigabytes), tally=self.tally,
            protocols=("https", "ssh", "http", "file") if settings.sandbox.enabled else ("https", "ssh"),
            resolver=self.resolver, refused=self._refusals.refused,
            limited=self._refusals.limited, held=self._refusals.held,
        )  # fmt: skip
        return GitDoor(options, self.credential)

    def credential(self, url: str) -> Credential | None:
        """The credentials for a git URL: GitLab's for GitLab, a source's for what its allow-list names."""
        from app.adapters.git import Credential

        settings = self.settings
        if is_gitlab(settings, url):
            self.gitlab_login.check()
            return Credential(settings.gitlab.username, settings.gitlab.token)
        return clone_credential(settings, url)

    @cached_property
    def _refusals(self) -> GitRefusals:
        return GitRefusals(self.settings, lambda: self.limits, lambda: self.gitlab_login, lambda: self.gitlab)

    @cached_property
    def limits(self) -> HostLimits:
        """Which hosts are left alone because they told somebody to ask less often."""
        from app.adapters.job_queue import redis_for_enqueue
        from app.adapters.shared_holds import SharedHolds

        return HostLimits(SharedHolds(redis_for_enqueue(self.redis_url)))

    @cached_property
    def gitlab_guard(self) -> Guard:
        """What is asked before each request to GitLab's API."""
        from app.adapters.gitlab_guard import ApiGuard

        return ApiGuard(self.gitlab_login, self.limits, urlsplit(self.settings.gitlab.url).netloc)

    @cached_property
    def gitlab_login(self) -> GitLabLogin:
        """What is known of modsync's login at GitLab, shared by all processes."""
        gitlab = self.settings.gitlab
        host, token = urlsplit(gitlab.url).netloc, gitlab.token.get_secret_value()
        return GitLabLogin(self.engine, self.clock, host, token, gitlab.breaker_seconds)

    @cached_property
    def token_watch(self) -> TokenWatch:
        """Looks when GitLab's token ends."""
        return TokenWatch(self.gitlab_login, self.gitlab.token, self.clock)

    @cached_property
    def gitlab(self) -> GitLabApi:
        """The door to GitLab's API."""
        from app.adapters.gitlab import GitLabApi
        from app.adapters.job_queue import redis_for_enqueue
        from app.adapters.shared_seen import SharedSeen

        seen = SharedSeen(redis_for_enqueue(self.redis_url))
        return GitLabApi(self._gitlab_options(), self.gitlab_guard, self.tally, seen)

    @cached_property
    def gitlab_unguarded(self) -> GitLabApi:
        """The same for a person's single question, also while modsync itself leaves GitLab alone."""
        from app.adapters.gitlab import GitLabApi

        return GitLabApi(self._gitlab_options())

    def _gitlab_options(self) -> GitLabOptions:
        from app.adapters.gitlab import GitLabOptions

        gitlab, outgoing = self.settings.gitlab, self.settings.outgoing
        return GitLabOptions(
            url=gitlab.url, token=gitlab.token, branch=gitlab.branch, ci_config_path=gitlab.ci_config_path,
            visibility=gitlab.visibility, pipeline_parameters=gitlab.pipeline_parameters,
            trigger_token=gitlab.trigger_token, timeout_seconds=gitlab.timeout_seconds,
            ca_file=text_of(outgoing.ca_file), http_proxy=outgoing.proxy_for(gitlab.url), secrets=secret_values(self.settings),
        )  # fmt: skip

    @cached_property
    def proxies(self) -> Mapping[str, GoProxy]:
        """The private proxies by name; a static one without an address is read where modsync writes it."""
        return {**self.static_proxies, **{each.name: self._proxy(each) for each in self.settings.proxies if each.url}}

    @cached_property
    def static_proxies(self) -> Mapping[str, StaticProxy]:
        """The proxies that modsync writes itself, by name."""
        base = self.settings.path.parent
        return {each.name: StaticProxy(base / each.directory) for each in self.settings.proxies if each.directory}

    @cached_property
    def signing(self) -> Mapping[str, Signing]:
        """What each source's tags have to be."""
        return {
            each.name: Signing(
                each.signatures, TrustedKeys(text_of(each.ssh_signers_file), text_of(each.gpg_keys_file))
            )
            for each in self.settings.sources
        }

    @cached_property
    def registries(self) -> Registries:
        """The module registries that rules name as sources."""
        bases = registry_bases(self.settings)
        files = self.source_files
        return Registries({base: self._registry(base) for base in bases}, zip_sums, files.sums, files.attributes)

    def _registry(self, base: str) -> GoProxyClient:
        from app.adapters.go_proxy import GoProxyClient

        options = registry_options(self.settings, base, self.credential(f"{base}/x"), self.resolver)
        return GoProxyClient(options, self.tmp_dir, self.tally)

    def _proxy(self, proxy: Proxy) -> GoProxyClient:
        from app.adapters.go_proxy import GoProxyClient, ProxyOptions

        outgoing = self.settings.outgoing
        return GoProxyClient(
            ProxyOptions(
                name=proxy.name, url=proxy.url, kind=proxy.kind, token=proxy.token, username=proxy.username,
                password=proxy.password, timeout_seconds=proxy.timeout_seconds, ca_file=text_of(outgoing.ca_file),
                http_proxy=outgoing.proxy_for(proxy.url), min_free=gigabytes(self.settings.limits.min_free_gigabytes),
            ),
            self.tmp_dir, self.tally,
        )  # fmt: skip


def owner() -> str:
    """Who holds a lease, for people: the host and the process; the fence, not the name, decides."""
    return f"{host()}:{os.getpid()}"


def host() -> str:
    """This machine's name."""
    return socket.gethostname()[:80]
