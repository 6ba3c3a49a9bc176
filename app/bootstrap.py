"""The only place where adapters are built and handed to services."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy import Engine

from app.adapters.access_store import SqlAuditStore, SqlCredentialStore
from app.adapters.background_queue import BackgroundQueue
from app.adapters.database import connect
from app.adapters.delivery_store import SqlDeliveryStore
from app.adapters.duty_store import SqlDutyStore
from app.adapters.embedded_redis import socket_url
from app.adapters.flow_store import SqlFlowStore
from app.adapters.git import Credential, GitDoor, GitOptions
from app.adapters.git_archive import GitArchive
from app.adapters.git_resolve import SystemResolver
from app.adapters.gitlab import GitLabApi, GitLabOptions
from app.adapters.gitlab_login import GitLabLogin
from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.adapters.intake_batch import GroupedIntakeStore
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.job_queue import RqJobQueue
from app.adapters.job_registry import RqJobRegistries
from app.adapters.move_store import SqlMoveStore
from app.adapters.ops_store import SqlReplayStore, SqlSweepStore
from app.adapters.processes import end_orphans
from app.adapters.rate_limit import Rate, SharedRateLimit
from app.adapters.released_content import ReleasedContent
from app.adapters.scratch import remove_stale
from app.adapters.static_proxy import StaticProxy
from app.adapters.system import SystemClock, random_bits, random_secret
from app.adapters.wake_store import SqlWakeStore
from app.config_models import Proxy, Settings, Source
from app.domain.errors import SyncError
from app.domain.events import Policy
from app.domain.modules import RuleBroken
from app.domain.routing import Rule
from app.domain.signature import TrustedKeys
from app.domain.webhook import Secret
from app.services.access import Access
from app.services.branches import BranchResolver
from app.services.checksum import SourceUnreadable, module_sums, zip_sums
from app.services.deliveries import Deliveries, Pruning
from app.services.duty import Duty, DutyOptions
from app.services.flow import Flow, FlowOptions
from app.services.gitlab_login import TokenWatch
from app.services.intake import Intake, SourceOptions, id_maker
from app.services.moves import AcceptMove
from app.services.pipeline_hook import PipelineHook
from app.services.planning import Planner
from app.services.ports import GoProxy, JobQueue, SourceCopy
from app.services.registry import Registries
from app.services.replay import Replay
from app.services.stages.mirror import MirrorStage, Release, Signing
from app.services.stages.pipeline import PipelineOptions, PipelineStage
from app.services.stages.publish import PublishStage
from app.services.stages.verify import VerifyStage
from app.services.stopping import Stop
from app.services.sweep import Sweep, SweepOptions
from app.services.tidy import Tidy
from app.services.turn import MirrorTurn, TurnOptions

log = logging.getLogger(__name__)


class Container:
    """Everything a process needs, built at first use; nothing connects before it is used.

    `serves`: this is the web server, where nobody waits for Redis.
    """

    def __init__(self, settings: Settings, *, serves: bool = False) -> None:
        self.settings, self._serves = settings, serves
        self.clock = SystemClock()
        self.stop = Stop()

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
        return RqJobQueue(self.redis_url, shared=self.settings.worker.backfill == 0)

    @cached_property
    def audit(self) -> SqlAuditStore:
        """The audit log."""
        return SqlAuditStore(self.engine)

    @cached_property
    def access(self) -> Access:
        """Tokens, login links and sessions."""
        return Access(SqlCredentialStore(self.engine), self.audit, self.clock, self.new_id, random_secret)

    @cached_property
    def intake(self) -> Intake:
        """The intake service."""
        store = GroupedIntakeStore(self.engine) if self._serves else SqlIntakeStore(self.engine)
        return Intake(
            self.sources, self.planner, store, self.enqueuer, self.clock, self.new_id, self._rate_limit()
        )  # fmt: skip

    def _rate_limit(self) -> SharedRateLimit:
        rates = {source.name: Rate(source.rate_per_minute, source.burst) for source in self.settings.sources}
        return SharedRateLimit(self.settings.data_dir / "limits", rates)

    @cached_property
    def enqueuer(self) -> JobQueue:
        """Where requests leave their jobs: in the web server Redis is asked behind their backs."""
        return BackgroundQueue(self.queue) if self._serves else self.queue

    @cached_property
    def deliveries(self) -> Deliveries:
        """The delivery log."""
        return Deliveries(SqlDeliveryStore(self.engine), self.intake)

    @cached_property
    def pruning(self) -> Pruning:
        """Forgets old deliveries."""
        return Pruning(SqlDeliveryStore(self.engine), self.clock, self.settings.limits.delivery_days)

    @cached_property
    def sources(self) -> Mapping[str, SourceOptions]:
        """The sources by name, as intake knows them."""
        return {source.name: _source_options(source) for source in self.settings.sources}

    @cached_property
    def planner(self) -> Planner:
        """The rules, applied to events."""
        return Planner(self.sources, self.rules, self.new_id, sandbox=self.settings.sandbox.enabled)

    @cached_property
    def new_id(self) -> Callable[[str], str]:
        """Makes ids for runs and deliveries."""
        return id_maker(self.clock, random_bits)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The routing rules, in the file's order."""
        return self.settings.routing

    @cached_property
    def replay(self) -> Replay:
        """The replay service."""
        return Replay(SqlReplayStore(self.engine), self.enqueuer, self.clock, self.planner.today)

    @cached_property
    def moves(self) -> AcceptMove:
        """The service that lets released versions move."""
        return AcceptMove(SqlMoveStore(self.engine), self.enqueuer, self.clock, self.planner.today, self.new_id)

    @cached_property
    def sweep(self) -> Sweep:
        """The sweeper's service."""
        return Sweep(SqlSweepStore(self.engine), self.queue, self.clock, SweepOptions())

    @cached_property
    def tidy(self) -> Tidy:
        """Keeps RQ's lists true."""
        return Tidy(SqlDutyStore(self.engine), RqJobRegistries(self.redis_url), self.clock)

    @cached_property
    def sweep_duty(self) -> Duty:
        """This process's share in sweeping."""
        owner = f"{_owner()}:{random_bits(32):08x}"
        return Duty(SqlDutyStore(self.engine), self.clock, DutyOptions("sweep", owner))

    @cached_property
    def git(self) -> GitDoor:
        """The door to git."""
        settings = self.settings
        outgoing = settings.outgoing
        options = GitOptions(
            cache_dir=self.cache_dir, timeout_seconds=settings.git.timeout_seconds, ca_file=outgoing.ca_file,
            http_proxy=outgoing.http_proxy, ssh_key_file=outgoing.ssh_key_file,
            known_hosts_file=outgoing.known_hosts_file,
            min_free_bytes=gigabytes(settings.limits.min_free_gigabytes),
            protocols=("https", "ssh", "http", "file") if settings.sandbox.enabled else ("https", "ssh"),
            # Behind an HTTP proxy it is the proxy that looks names up, and often nobody else can.
            resolver=None if settings.sandbox.enabled or outgoing.http_proxy else SystemResolver(),
        )  # fmt: skip
        return GitDoor(options, self.credential)

    def credential(self, url: str) -> Credential | None:
        """The credentials for a git URL: GitLab's for GitLab, a source's for what its allow-list names."""
        settings = self.settings
        if _host(url) == _host(settings.gitlab.url):
            self.gitlab_login.check()
            return Credential(settings.gitlab.username, settings.gitlab.token)
        for source in settings.sources:
            if source.clone_token and any(_host(pattern) == _host(url) for pattern in source.allow):
                return Credential(source.clone_username, source.clone_token)
        return None

    @cached_property
    def gitlab_login(self) -> GitLabLogin:
        """What is known of modsync's login at GitLab, shared by all processes."""
        gitlab = self.settings.gitlab
        host, token = urlsplit(gitlab.url).netloc, gitlab.token.get_secret_value()
        return GitLabLogin(self.engine, self.clock, host, token, gitlab.breaker_seconds)

    @cached_property
    def pipeline_hook(self) -> PipelineHook:
        """Takes GitLab's pipeline webhooks."""
        secrets = [
            Secret(each.id, each.value.get_secret_value().encode()) for each in self.settings.gitlab.hook_secrets
        ]
        return PipelineHook(secrets, SqlWakeStore(self.engine), self.enqueuer, self.clock)

    @cached_property
    def token_watch(self) -> TokenWatch:
        """Looks when GitLab's token ends."""
        return TokenWatch(self.gitlab_login, self.gitlab.token, self.clock)

    @cached_property
    def gitlab(self) -> GitLabApi:
        """The door to GitLab's API."""
        return GitLabApi(self._gitlab_options(), self.gitlab_login)

    @cached_property
    def gitlab_unguarded(self) -> GitLabApi:
        """The same for a person's single question, also while modsync itself leaves GitLab alone."""
        return GitLabApi(self._gitlab_options())

    def _gitlab_options(self) -> GitLabOptions:
        gitlab, outgoing = self.settings.gitlab, self.settings.outgoing
        return GitLabOptions(
            url=gitlab.url, token=gitlab.token, branch=gitlab.branch, ci_config_path=gitlab.ci_config_path,
            visibility=gitlab.visibility, pipeline_parameters=gitlab.pipeline_parameters,
            trigger_token=gitlab.trigger_token, timeout_seconds=gitlab.timeout_seconds,
            ca_file=_text(outgoing.ca_file), http_proxy=outgoing.http_proxy,
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
            each.name: Signing(each.signatures, TrustedKeys(_text(each.ssh_signers_file), _text(each.gpg_keys_file)))
            for each in self.settings.sources
        }

    @cached_property
    def registries(self) -> Registries:
        """The module registries that rules name as sources."""
        bases = {rule.clone.rstrip("/") for rule in self.settings.rules if rule.content == "goproxy"}
        return Registries({base: self._registry(base) for base in bases}, zip_sums, self._source_h1)

    def _registry(self, base: str) -> GoProxyClient:
        settings, login = self.settings, self.credential(base)
        password = SecretStr(login.password.get_secret_value()) if login else None
        options = ProxyOptions(
            name="registry", url=base, username=login.username if login else "", password=password,
            timeout_seconds=settings.git.timeout_seconds,
            ca_file=_text(settings.outgoing.ca_file), http_proxy=settings.outgoing.http_proxy,
        )  # fmt: skip
        return GoProxyClient(options, self.tmp_dir)

    def _proxy(self, proxy: Proxy) -> GoProxyClient:
        outgoing = self.settings.outgoing
        return GoProxyClient(
            ProxyOptions(
                name=proxy.name, url=proxy.url, kind=proxy.kind, token=proxy.token, username=proxy.username,
                password=proxy.password, timeout_seconds=proxy.timeout_seconds, ca_file=_text(outgoing.ca_file),
                http_proxy=outgoing.http_proxy,
            ),
            self.tmp_dir,
        )  # fmt: skip

    @cached_property
    def flow(self) -> Flow:
        """What a worker drives runs with."""
        store, stage = (
            SqlFlowStore(self.engine),
            MirrorStage(self.git, self.gitlab, self._source_h1, self.registries, self.signing),
        )
        lease, branch = self.settings.worker.lease_seconds, self.settings.gitlab.branch
        turn = MirrorTurn(store, store, stage, self.clock, TurnOptions(branch=branch, lease_seconds=lease))
        branches = BranchResolver(
            store, SqlIntakeStore(self.engine), self.queue, stage, self.clock, lambda: self.new_id("r")
        )  # fmt: skip
        waits = {proxy.name: proxy.patience for proxy in self.settings.proxies}
        refused = self.gitlab_login.refused
        options = FlowOptions(_owner(), lease, self.settings.retry.policy, waits, refused)
        pipeline = PipelineStage(self.gitlab, self._pipeline_options())
        kinds: Mapping[str, str] = {proxy.name: proxy.kind for proxy in self.settings.proxies}
        content = ReleasedContent(self.git, self.registries, self.tmp_dir)
        verify = VerifyStage(self.proxies, zip_sums, content, kinds)
        publish = PublishStage(self.static_proxies, content.pack, zip_sums)
        addresses = {proxy.name: {"MODSYNC_PROXY_URL": proxy.url} for proxy in self.settings.proxies}
        return Flow(
            store, self.queue, self.clock, options, turn, branches, pipeline, verify, addresses, self.stop, publish
        )  # fmt: skip

    def _source_h1(self, cache: SourceCopy, release: Release, directory: str) -> str:
        try:
            archive = GitArchive(Path(cache.path()), scratch=self.tmp_dir)
            return module_sums(archive, release.commit, release.module, release.version, directory).h1_zip
        except RuleBroken as error:
            raise SyncError(
                "not_a_module", f"go would refuse {release.module}@{release.version}: {error.message}"
            ) from error
        except SourceUnreadable as error:
            raise SyncError("git_failed", f"the source's cache cannot be read: {error}") from error

    def tidy_host(self) -> None:
        """End the git processes of killed workers, and remove what they left in the temporary directory."""
        try:
            ended, removed = end_orphans(), remove_stale(self.tmp_dir)
        except OSError as error:
            log.warning("host_not_tidied", extra={"error": str(error)})
            return
        if ended or removed:
            log.warning("host_tidied", extra={"processes": len(ended), "directories": len(removed)})

    def _pipeline_options(self) -> PipelineOptions:
        gitlab = self.settings.gitlab
        ref = "tag" if gitlab.pipeline_ref == "tag" else gitlab.branch
        return PipelineOptions(
            ref, gitlab.pipeline_timeout_seconds, gitlab.poll_first_seconds, gitlab.poll_longest_seconds
        )


def _source_options(source: Source) -> SourceOptions:
    secrets = tuple(Secret(each.id, each.value.get_secret_value().encode()) for each in source.secrets)
    return SourceOptions(source.name, source.scheme, secrets, source.allow, Policy(prereleases=source.prereleases))


def gigabytes(number: float) -> int:
    """In bytes."""
    return int(number * 1_000_000_000)


def _owner() -> str:
    """Who holds a lease, for people: the host and the process; the fence, not the name, decides."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _text(path: Path | None) -> str | None:
    return str(path) if path else None
