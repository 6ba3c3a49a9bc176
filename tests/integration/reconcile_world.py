"""A FlowWorld whose repository is reconciled, by rules that place it where its runs go."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.adapters.intake_store import SqlIntakeStore
from app.adapters.names_store import SqlNames
from app.adapters.pause_store import SqlPauseStore
from app.adapters.read_store import SqlReadStore
from app.adapters.repository_store import SqlRepositoryStore
from app.domain.ids import make_id
from app.domain.modules import ModulePath
from app.domain.routing import Rule
from app.domain.run import Run
from app.services.checksum import zip_sums
from app.services.names import Names
from app.services.observe import Observer
from app.services.pace import Pace
from app.services.planning import Planner, SourceOptions
from app.services.ports import GoProxy
from app.services.reconcile import Order, Reconcile
from app.services.reconcile_runs import RunMaker
from app.services.reconcile_values import Report
from app.services.registry import Registries
from app.services.replay import Replay
from app.services.run_filter import RunFilter
from app.services.stores import IntakeStore
from app.services.unknown_mirrors import UnknownMirrors
from tests.integration.flow_world import MODULE, FlowWorld, no_sums

RULES = (
    Rule("go.example/{team}/{repo}", "mirrors/{team}/{repo}", clone="https://git.example/{team}/{repo}.git"),
)  # fmt: skip


class ReconcileWorld(FlowWorld):
    """`reconcile()` compares the repository, and unless it is a dry run brings what is missing."""

    def __init__(
        self, directory: Path, url: str = "", rules: Sequence[Rule] = RULES, *, before: Mapping[str, str] | None = None
    ) -> None:
        """`before`: sources that the configuration has before the platform, with what each may clone."""
        super().__init__(directory, url)
        allowed = {**(before or {}), "platform": "https://git.example/**"}
        sources = {name: SourceOptions(name, "article", (), allow=(allow,)) for name, allow in allowed.items()}
        self.planner = Planner(sources, rules, self.new_id)
        self.registries: dict[str, GoProxy] = {}
        self.repositories = SqlRepositoryStore(self.engine)

    def new_id(self, prefix: str) -> str:
        """Ids that sort as they are made."""
        self._made += 1
        return make_id(prefix, int(self.clock.now().timestamp() * 1000), self._made)

    def learn(self) -> None:
        """What the sweeper does now and then."""
        Names(SqlNames(self.engine), self.clock).once()

    def service(self, store: IntakeStore | None = None) -> Reconcile:
        """Reconcile over this world's doubles."""
        registries = Registries(self.registries, zip_sums, no_sums, lambda *_: {})
        observer = Observer(
            self.git, registries, {"default": self.proxy}, Pace(0), lambda path: f"{self.gitlab.url}/{path}.git"
        )
        replay = Replay(self.replays, self.queue, self.clock, self.planner.today)
        maker = RunMaker(
            self.planner, store or SqlIntakeStore(self.engine), replay, self.queue, self.clock, self.new_id
        )
        pauses = SqlPauseStore(self.engine).pauses
        return Reconcile(self.repositories, observer, self.planner, maker, self.clock, pauses)

    def unknown(self, rules: Sequence[Rule] = RULES) -> UnknownMirrors:
        """The search for mirrors that the database does not know."""
        return UnknownMirrors(self.gitlab, rules, self.repositories, self.service(), Pace(0))

    def reconcile(self, *, dry_run: bool = False, module: str = "", retry: bool = False) -> Report:
        """One comparison; its runs, where there are any, are brought to their ends."""
        service = self.service()
        order = Order(dry_run, "cli:me", ModulePath.parse(module) if module else None, retry, adopts=not retry)
        report = service.one(service.repository_of(ModulePath.parse(MODULE)), order)
        self.settle(*report.runs)
        return report

    def found(self, report: Report) -> dict[str, str]:
        """Version -> what was found."""
        return {item.version.text: str(item.finding) for item in report.items}

    def release(self, version: str) -> Run:
        """A version tagged at the source, told by a webhook, and brought through."""
        run = self.take(version, self.tag(version)).run_id
        self.settle(run)
        return self.run(run)

    def tag(self, version: str) -> str:
        """A new commit with this tag at the source; nobody tells modsync."""
        commit = self.source.commit({f"{version}.go": b""})
        self.source.tag(version, commit)
        return commit

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        reader = SqlReadStore(self.engine, self.clock)
        found = reader.runs(RunFilter(), None, 500)
        return [self.run(each.id) for each in found]
