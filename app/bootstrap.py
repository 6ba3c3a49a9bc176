"""The only place where adapters are built and handed to services."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cached_property
from math import ceil

from app.adapters.access_store import SqlAuditStore, SqlCredentialStore
from app.adapters.background_queue import BackgroundQueue
from app.adapters.delivery_store import SqlDeliveryStore
from app.adapters.duty_store import SqlDutyStore
from app.adapters.flow_store import SqlFlowStore
from app.adapters.intake_batch import GroupedIntakeStore
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.mirror_source import SqlMirrorSourceStore
from app.adapters.move_store import SqlMoveStore
from app.adapters.ops_store import SqlReplayStore, SqlSweepStore
from app.adapters.processes import end_orphans
from app.adapters.rate_limit import Rate, SharedRateLimit
from app.adapters.read_store import SqlReadStore
from app.adapters.released_content import ReleasedContent
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.scratch import remove_stale
from app.adapters.system import random_bits, random_secret
from app.adapters.wake_store import SqlWakeStore
from app.bootstrap_doors import Doors, owner
from app.config_models import Proxy, Settings, Source
from app.domain.events import Policy
from app.domain.routing import Rule
from app.domain.webhook import Secret
from app.services.access import Access
from app.services.branches import BranchResolver
from app.services.checksum import zip_sums
from app.services.deliveries import Deliveries, Pruning
from app.services.duty import Duty, DutyOptions
from app.services.flow import Flow, FlowOptions
from app.services.intake import Intake, SourceOptions, id_maker
from app.services.mirror_source import MoveSource
from app.services.moves import AcceptMove
from app.services.pipeline_hook import PipelineHook
from app.services.planning import Planner
from app.services.ports import JobQueue
from app.services.queries import Queries, Routing
from app.services.replay import Replay
from app.services.stages.mirror import MirrorStage
from app.services.stages.pipeline import PipelineOptions, PipelineStage
from app.services.stages.publish import PublishStage
from app.services.stages.verify import VerifyStage
from app.services.stores import StoredDelivery
from app.services.sweep import Sweep, SweepOptions
from app.services.tidy import Tidy
from app.services.turn import MirrorTurn, TurnOptions

log = logging.getLogger(__name__)


class Container(Doors):
    """Everything a process needs: the services over the doors.

    `serves`: this is the web server, where nobody waits for Redis.
    """

    def __init__(self, settings: Settings, *, serves: bool = False) -> None:
        super().__init__(settings)
        self._serves = serves

    @cached_property
    def audit(self) -> SqlAuditStore:
        """The audit log."""
        return SqlAuditStore(self.engine)

    @cached_property
    def access(self) -> Access:
        """Tokens, login links and sessions."""
        return Access(SqlCredentialStore(self.engine), self.clock, self.new_id, random_secret)

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
        return Deliveries(SqlDeliveryStore(self.engine), self.intake, self._note_redelivery)

    def _note_redelivery(self, actor: str, stored: StoredDelivery, reason: str) -> None:
        before = {"source": stored.source, "verdict": stored.verdict}
        thing = f"delivery:{stored.id}"
        self.audit.append(actor, "delivery.redeliver", thing, self.clock.now(), reason=reason, before=before)

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
    def routed(self) -> Routing:
        """The rules, and what the sources may name."""
        allow = {source.name: source.allow for source in self.settings.sources}
        return Routing(self.rules, allow, self.settings.sandbox.enabled)

    @cached_property
    def queries(self) -> Queries:
        """The reading half."""
        return Queries(SqlReadStore(self.engine, self.clock), self.routed)

    @cached_property
    def replay(self) -> Replay:
        """The replay service."""
        return Replay(SqlReplayStore(self.engine), self.enqueuer, self.clock, self.planner.today)

    @cached_property
    def moves(self) -> AcceptMove:
        """The service that lets released versions move."""
        return AcceptMove(SqlMoveStore(self.engine), self.enqueuer, self.clock, self.planner.today, self.new_id)

    @cached_property
    def mirror_sources(self) -> MoveSource:
        """The service that makes a mirror another repository's."""
        return MoveSource(SqlMirrorSourceStore(self.engine), self.clock, sandbox=self.settings.sandbox.enabled)

    @cached_property
    def sweep(self) -> Sweep:
        """The sweeper's service."""
        return Sweep(SqlSweepStore(self.engine), self.queue, self.clock, SweepOptions())

    @cached_property
    def tidy(self) -> Tidy:
        """Keeps RQ's lists true."""
        from app.adapters.job_registry import RqJobRegistries  # with rq, which reading commands need not wait for

        return Tidy(SqlDutyStore(self.engine), RqJobRegistries(self.redis_url), self.clock)

    @cached_property
    def sweep_duty(self) -> Duty:
        """This process's share in sweeping."""
        name = f"{owner()}:{random_bits(32):08x}"
        return Duty(SqlDutyStore(self.engine), self.clock, DutyOptions("sweep", name))

    @cached_property
    def pipeline_hook(self) -> PipelineHook:
        """Takes GitLab's pipeline webhooks."""
        secrets = [
            Secret(each.id, each.value.get_secret_value().encode()) for each in self.settings.gitlab.hook_secrets
        ]
        return PipelineHook(secrets, SqlWakeStore(self.engine), self.enqueuer, self.clock)

    @cached_property
    def flow(self) -> Flow:
        """What a worker drives runs with."""
        store, stage = (
            SqlFlowStore(self.engine),
            MirrorStage(self.git, self.gitlab, self.source_files.h1, self.registries, self.signing),
        )
        lease, branch = self.settings.worker.lease_seconds, self.settings.gitlab.branch
        turn_options = TurnOptions(branch=branch, lease_seconds=lease)
        turn = MirrorTurn(store, store, stage, self.clock, turn_options, self.planner.names_source)
        branches = BranchResolver(
            store, SqlIntakeStore(self.engine), self.queue, stage, self.clock, lambda: self.new_id("r"),
            self.planner.wants_prereleases,
        )  # fmt: skip
        waits = {proxy.name: proxy.patience for proxy in self.settings.proxies}
        refused = self.gitlab_login.refused
        most = self.settings.gitlab.backfill_pipelines
        options = FlowOptions(owner(), lease, self.settings.retry.policy, waits, refused, self.tally, most)
        pipeline = PipelineStage(self.gitlab, self._pipeline_options())
        kinds: Mapping[str, str] = {proxy.name: proxy.kind for proxy in self.settings.proxies}
        content = ReleasedContent(self.git, self.registries, self.tmp_dir)
        verify = VerifyStage(self.proxies, zip_sums, content, kinds, SqlRepositoryStore(self.engine).brought)
        publish = PublishStage(self.static_proxies, content.pack, zip_sums)
        told = {proxy.name: _told(proxy) for proxy in self.settings.proxies}
        return Flow(
            store, self.queue, self.clock, options, turn, branches, pipeline, verify, told, self.stop, publish
        )  # fmt: skip

    def tidy_host(self) -> None:
        """End the git processes of killed workers, and remove what they left half written."""
        try:
            ended, removed = end_orphans(), remove_stale(self.tmp_dir)
            removed += [name for proxy in self.static_proxies.values() for name in proxy.sweep()]
        except OSError as error:
            log.warning("host_not_tidied", extra={"error": str(error)})
            return
        if ended or removed:
            log.warning("host_tidied", extra={"processes": len(ended), "left": len(removed)})

    def _pipeline_options(self) -> PipelineOptions:
        gitlab = self.settings.gitlab
        ref = "tag" if gitlab.pipeline_ref == "tag" else gitlab.branch
        return PipelineOptions(
            ref, gitlab.pipeline_timeout_seconds, gitlab.poll_first_seconds, gitlab.poll_longest_seconds
        )


def _told(proxy: Proxy) -> dict[str, str]:
    """What a pipeline is told of its proxy; see deploy/gitlab/precache.gitlab-ci.yml."""
    return {"MODSYNC_PROXY_URL": proxy.url, "MODSYNC_PROXY_WAIT": str(ceil(proxy.patience))}


def _source_options(source: Source) -> SourceOptions:
    secrets = tuple(Secret(each.id, each.value.get_secret_value().encode()) for each in source.secrets)
    return SourceOptions(
        source.name, source.scheme, secrets, source.allow, Policy(source.prereleases, source.tag_events)
    )
