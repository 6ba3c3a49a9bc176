"""A flow over a real database and the contract-tested fakes of git, GitLab and the proxy, with a clock of its own."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile, ZipInfo

from app.adapters import migrate
from app.adapters.database import connect
from app.adapters.flow_store import SqlFlowStore
from app.adapters.intake_store import SqlIntakeStore
from app.adapters.ops_store import SqlReplayStore, SqlSweepStore
from app.adapters.pipeline_slots import SqlSlotStore
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.static_proxy import StaticProxy
from app.domain.modules import ModulePath, Version
from app.domain.modzip import hash_go_mod
from app.domain.retry import RetryPolicy
from app.domain.run import Lane, Run, Status, Target, is_failure, semantic_key
from app.services.branches import BranchResolver
from app.services.checksum import ModuleSums, zip_sums
from app.services.flow import Flow, FlowOptions, RunFailedError
from app.services.mirror_source import NamedByRule, by_payload
from app.services.ports import Checkpoint, ProxyInfo, SourceCopy
from app.services.registry import Registries
from app.services.slots import Slots
from app.services.stages.mirror import MirrorStage, Release, Signing
from app.services.stages.pipeline import PipelineOptions, PipelineStage
from app.services.stages.publish import Packed, PublishStage
from app.services.stages.verify import VerifyRequest, VerifyStage
from app.services.stopping import Stop
from app.services.stores import NewDelivery, PlannedRun, Receipt
from app.services.sweep import Sweep, SweepOptions
from app.services.turn import MirrorTurn, TurnOptions
from tests.contract.fake_git import FakeGit, FakeRepository
from tests.contract.fake_gitlab import FakeGitLab
from tests.contract.fake_go_proxy import FakeGoProxy
from tests.integration.fuses import CrashError, Fuse, Fused

SOURCE = "https://git.example/team/thing.git"
MODULE = "go.example/team/thing"
MIRROR = "mirrors/team/thing"
GO_MOD = f"module {MODULE}\n".encode()
REGISTRY = "https://registry.example/go"
RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
LEASE = 10.0


def no_sums(*_: object) -> ModuleSums:
    """For worlds in which no registry's version becomes a commit."""
    raise AssertionError("a registry's commit was read")


NO_REGISTRIES = Registries({}, zip_sums, no_sums, lambda *_: {})


@dataclass
class FakeClock:
    """Time stands still until advance(); chance is always a half."""

    time: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)
    waits: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.time

    def chance(self) -> float:
        return 0.5

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def wait(self, seconds: float) -> None:
        """At once, as far as anybody's time is concerned but the test's."""
        self.waits.append(seconds)
        self.advance(seconds)


@dataclass
class FakeQueue:
    """Jobs in a list; `lost` pretends that Redis forgot them."""

    jobs: list[tuple[str, str]] = field(default_factory=list)
    lanes: dict[str, str] = field(default_factory=dict)

    def enqueue(self, job_id: str, run_id: str, lane: str = Lane.LIVE, *, first: bool = False) -> None:
        self.enqueue_all([(job_id, run_id)], lane)
        if first:
            self.jobs.insert(0, self.jobs.pop())

    def enqueue_all(self, jobs: Sequence[tuple[str, str]], lane: str = Lane.LIVE) -> None:
        self.jobs.extend(jobs)
        self.lanes |= dict.fromkeys((job for job, _ in jobs), lane)

    def waiting(self, job_ids: object) -> frozenset[str]:
        return frozenset(job for job, _ in self.jobs) & frozenset(job_ids)  # type: ignore[call-overload, no-any-return]


class FlowWorld:
    """One repository with tag v1.0.0 at `commit`, its GitLab and proxy; `flow()` is a worker, any number of them."""

    def __init__(self, directory: Path, url: str = "") -> None:
        self.url = url or f"sqlite:///{directory / 'flow.db'}"
        migrate.upgrade(self.url)
        self.engine = connect(self.url)
        self.clock, self.queue, self.stop = FakeClock(), FakeQueue(), Stop()
        self.source, self.mirror = FakeRepository(), FakeRepository()
        self.gitlab, self.proxy = FakeGitLab(), FakeGoProxy()
        self.git = FakeGit({SOURCE: self.source, f"{self.gitlab.url}/{MIRROR}.git": self.mirror})
        self.gitlab.on_remove = lambda _project, ref: self.mirror.refs.pop(ref, None)
        self.signing: dict[str, Signing] = {}
        self.backfill_pipelines, self.prereleases = 0, True
        self.named_by_rule: NamedByRule = by_payload
        self.slots = Slots(SqlSlotStore(self.engine), self.clock, 1)
        self.proxy_keeps = False  # True: what it has once it never fetches again, as Athens
        self.commit = self.source.commit({"go.mod": GO_MOD})
        self.source.tag("v1.0.0", self.commit)
        self.registry, self.files = FakeGoProxy(), StaticProxy(directory / "files")
        self.replays = SqlReplayStore(self.engine)
        self.sweep = Sweep(SqlSweepStore(self.engine), self.queue, self.clock, SweepOptions())
        self._workers, self._made = 0, 0

    def planned(
        self, version: str | None = "v1.0.0", commit: str | None = None, ref: str = "", *, lane: str = Lane.LIVE,
        **target: str,
    ) -> PlannedRun:  # fmt: skip
        """What an event asks for; with commit "" it named none."""
        commit, ref = self.commit if commit is None else commit, ref or version or "main"
        self._made += 1
        key = semantic_key(MODULE, version, ref, commit)
        goes = Target(**{"clone_url": SOURCE, "mirror": MIRROR, **target})
        return PlannedRun(
            id=f"r{self._made:019d}", source="platform", module=MODULE, version=version, ref=ref, commit=commit,
            semantic=key, event={"module": MODULE, "repo_url": goes.clone_url}, target=goes, lane=lane,
        )  # fmt: skip

    def take(
        self, version: str | None = "v1.0.0", commit: str | None = None, ref: str = "", *, lane: str = Lane.LIVE,
        **target: str,
    ) -> Receipt:  # fmt: skip
        """A delivery of one release, recorded."""
        plan = self.planned(version, commit, ref, lane=lane, **target)
        delivery = NewDelivery(
            id=f"d{self._made:019d}", source="platform", dedupe=f"{self._made}", scheme="article", secret_id="x",
            received_at=self.clock.now(), headers={}, body=b"{}", verdict="accepted",
        )  # fmt: skip
        return SqlIntakeStore(self.engine).record(delivery, [plan])[2][0]

    def take_to_pipeline(self) -> str:
        """A run whose pipeline (number 1) was created and waits."""
        run = self.take().run_id
        self.advance(run)
        self.world_goes_on()
        self.clock.advance(2)
        self.advance(run)
        assert list(self.gitlab.pipelines) == [1]
        return run

    def flow(self, fuse: Fuse | None = None) -> Flow:
        """A worker of its own; with a fuse, one that dies at some call."""
        fuse = fuse or Fuse()
        fuse.dead = False
        self._workers += 1
        store: Any = Fused(SqlFlowStore(self.engine), fuse, "store")
        queue: Any = Fused(self.queue, fuse, "queue")
        gitlab: Any = Fused(self.gitlab, fuse, "gitlab")
        registries = Registries({REGISTRY: Fused(self.registry, fuse, "registry")}, zip_sums, self._made_sums, _plain)
        stage = MirrorStage(Fused(self.git, fuse, "git"), gitlab, _h1, registries, self.signing)
        options = TurnOptions(lease_seconds=LEASE)
        turn = MirrorTurn(store, store, stage, self.clock, options, lambda run: self.named_by_rule(run))
        intake: Any = Fused(SqlIntakeStore(self.engine), fuse, "intake")
        branches = BranchResolver(
            store, intake, queue, stage, self.clock, self._new_run, lambda _source: self.prereleases
        )  # fmt: skip
        policy = RetryPolicy(first=1, longest=8, give_up_after=60, patience=60)
        most = self.backfill_pipelines
        flow_options = FlowOptions(f"worker-{self._workers}", LEASE, policy, backfill_pipelines=most)
        files: Any = Fused(self.files, fuse, "files")
        proxies = {"default": Fused(self.proxy, fuse, "proxy"), "static": files}
        verify = VerifyStage(proxies, _zip_sums, lambda *_: None, {}, SqlRepositoryStore(self.engine).brought)
        publish = PublishStage({"static": files}, _pack, _zip_sums)
        pipeline = PipelineStage(gitlab, PipelineOptions(poll_first=1))
        return Flow(store, queue, self.clock, flow_options, turn, branches, pipeline, verify, {}, self.stop, publish)

    def run(self, run_id: str) -> Run:
        """The run as stored."""
        found = self.replays.get(run_id)
        assert found is not None
        return found

    def settle(self, *run_ids: str, rounds: int = 60, fuse: Fuse | None = None) -> None:
        """Let sweeper, workers, GitLab and the proxy do their work, second by second, until the runs have ended.

        With a fuse a worker dies at some call; then its leases run out.
        """
        for _ in range(rounds):
            if all(self.run(each).status in (Status.DONE, Status.FAILED, Status.REJECTED) for each in run_ids):
                return
            self.slots.once()
            self.sweep.once()
            self.work(fuse)
            self.world_goes_on()
            self.clock.advance(1)
        raise AssertionError([self.run(each) for each in run_ids])

    def work(self, fuse: Fuse | None = None) -> None:
        """Do all jobs that are in the queue."""
        jobs, self.queue.jobs[:] = list(self.queue.jobs), []
        for _, run_id in jobs:
            try:
                self.advance(run_id, fuse)
            except CrashError:
                self.clock.advance(LEASE + 1)

    def advance(self, run_id: str, fuse: Fuse | None = None) -> None:
        """One job; a run that failed is no surprise here."""
        try:
            self.flow(fuse).advance(run_id)
        except RunFailedError:
            assert is_failure(self.run(run_id).status, self.run(run_id).error)

    def world_goes_on(self) -> None:
        """Pushed refs are visible to pipelines, pipelines succeed and make the proxy cache what is in the mirror."""
        self.show_refs()
        for number, made in self.gitlab.pipelines.items():
            if made.now.status == "created":
                self.cache(made.variables["MODSYNC_VERSION"])
                self.gitlab.finish(number, "success")

    def show_refs(self) -> None:
        """GitLab knows what was pushed."""
        for project in self.gitlab.projects.values():
            for ref in self.mirror.refs:
                at = self.mirror.at(ref)
                self.gitlab.push(project.id, ref, at.commit or "" if at else "")

    def cache(self, version: str) -> None:
        """The proxy fetches what the mirror has."""
        at = self.mirror.at(f"refs/tags/{version}")
        if self.proxy_keeps and (MODULE, version) in self.proxy.held:
            return
        if at and at.commit:
            self.proxy.hold(MODULE, ProxyInfo(version, None, at.commit), GO_MOD, at.commit.encode())

    def _made_sums(self, cache: SourceCopy, release: Release, _directory: str) -> ModuleSums:
        """What `go` makes of a commit that the registry's version became."""
        clone_url = f"{REGISTRY}/{release.module.escaped}"
        packed = io.BytesIO(zip_of(self.git.caches[clone_url].commits[release.commit][0], release.version.text))
        return zip_sums(packed, release.module, release.version)

    def _new_run(self) -> str:
        self._made += 1
        return f"r{self._made:019d}"


def _h1(_cache: SourceCopy, release: Release, _directory: str) -> str:
    return "h1:" + hashlib.sha256(release.commit.encode()).hexdigest()


def zip_of(files: Mapping[str, bytes], version: str) -> bytes:
    """A module zip of these files."""
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(ZipInfo(f"{MODULE}@{version}/{name}"), content)
    return packed.getvalue()


def _plain(*_: object) -> Mapping[str, str]:
    """No file has an attribute that changes what git writes."""
    return {}


def _pack(request: VerifyRequest, target: BinaryIO, checkpoint: Checkpoint) -> Packed:
    checkpoint()
    target.write(request.commit.encode())
    return Packed(_zip_sums(io.BytesIO(request.commit.encode()), request.module, request.version), RELEASED)


def _zip_sums(file: BinaryIO, module: ModulePath, version: Version) -> ModuleSums:
    """A zip here is any bytes."""
    h1 = "h1:" + hashlib.sha256(file.read()).hexdigest()
    return ModuleSums(module, version, h1, hash_go_mod(GO_MOD), GO_MOD, ())
