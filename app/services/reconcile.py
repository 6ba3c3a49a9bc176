"""Find what webhooks did not tell, and bring it: compare a repository's versions everywhere, and begin runs for what is missing.

Nothing is cloned: `git ls-remote` at both sides, the proxy's lists, and the database.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version, of_major, split_tag
from app.domain.pause import Pause
from app.domain.reconcile import Finding, Item, ModuleOf, Observed, Release, compare
from app.domain.refs import TagAt
from app.domain.run import Target
from app.services.observe import Observer
from app.services.planning import Planner
from app.services.ports import Clock
from app.services.reconcile_runs import RunMaker
from app.services.reconcile_values import Places, Report, Repository, RepositoryStore

log = logging.getLogger(__name__)

_PASS_ON = ("store_unavailable", "interrupted")
_FIRST = Version.parse("v1.0.0")


@dataclass(frozen=True, slots=True)
class Order:
    """What to do. `module`: only this module's versions, all majors; `retry`: also those that a person had to mend.

    `reason`: why, where a person asked. `adopts`: of modules whose tags modsync makes, so that no source tells of them, what
    mirror and proxy have is taken for released: for a person to say, who restored a backup.
    """

    dry_run: bool = False
    actor: str = "reconcile"
    module: ModulePath | None = None
    retry: bool = False
    reason: str = ""
    adopts: bool = False


class Reconcile:
    """Compares and mends one repository at a time; threads may share it."""

    def __init__(
        self, store: RepositoryStore, observer: Observer, planner: Planner, maker: RunMaker, clock: Clock,
        pauses: Callable[[], Sequence[Pause]] = tuple,
    ) -> None:  # fmt: skip
        self._store, self._observer, self._planner, self._maker, self._clock = store, observer, planner, maker, clock
        self._pauses = pauses

    def repository_of(self, module: ModulePath) -> Repository:
        """Where a module's releases come from and go to, by the rules of today. Errors: no_rule, clone_url_refused."""
        source, target = self._origin(module)
        return self._store.find(target.mirror) or Repository(target.mirror, source, target.clone_url)

    def _origin(self, module: ModulePath) -> tuple[str, Target]:
        """The first source whose allow-list permits what a rule clones: a rule need not name its source."""
        refusals = [SyncError("no_rule", f"no rule matches {module}")]
        for source in self._planner.sources_of(module):
            try:
                return source, self._planner.target(source, module, None, None)
            except SyncError as error:
                refusals.append(error)
        raise refusals[:2][-1]  # the first source's, where there is one

    def by_mirror(self, mirror: str, order: Order) -> Report:
        """Reconcile a known repository. Error: not_found."""
        found = self._store.find(mirror)
        if found is None:
            raise SyncError("not_found", f"no run ever went to {mirror}")
        return self.one(found, order)

    def one(self, repository: Repository, order: Order) -> Report:
        """Compare, and unless it is a dry run, mend. What could not be asked stands in the report's error."""
        try:
            report = self._mended(repository, order)
        except SyncError as error:
            if error.code in _PASS_ON:
                raise
            report = Report(repository.mirror, repository.clone_url, error=(error.code, error.message))
        except Exception:  # a defect that one repository brings out must not hold up the others
            log.exception("reconcile_defect", extra={"mirror": repository.mirror})
            said = ("internal", "an unexpected error; see the log")
            report = Report(repository.mirror, repository.clone_url, error=said)
        if not order.dry_run:
            self._store.note(repository)  # not before: the schedule would compare it at the same time
            self._store.finish(report, self._clock.now())
        told = {"mirror": report.mirror, "tags": report.tags, "runs": len(report.runs), **report.counts}
        log.info("reconciled", extra={**told, "error": report.error[0] if report.error else ""})
        return report

    def _check_pauses(self, repository: Repository) -> None:
        """Nobody is asked for what is paused. Error: paused."""
        pauses = self._pauses()
        if not pauses:
            return
        modules = set(self._store.places(repository.mirror).prefixes.values())
        for pause in pauses:
            if pause.covers_all(repository.source, repository.clone_url, modules):
                raise SyncError("paused", str(pause))

    def _mended(self, repository: Repository, order: Order) -> Report:
        self._check_pauses(repository)
        items, tags = self._compared(repository, order)
        shown = Report(repository.mirror, repository.clone_url, tags, tuple(items))
        if order.dry_run:
            return shown
        adopted = self._store.adopt(shown.of(Finding.ADOPTED), self._clock.now())
        brought = self._maker.make(repository, _to_bring(items, order), order.actor, order.reason)
        refused = {each.item: each.refused for each in brought if each.refused}
        told = tuple(_not_begun(item, refused[item]) if item in refused else item for item in items)
        runs = tuple(each.run for each in brought if each.run)
        return Report(repository.mirror, repository.clone_url, tags, told, runs, adopted)

    def _compared(self, repository: Repository, order: Order) -> tuple[list[Item], int]:
        source, mirror = self._observer.tags(repository)
        places = self._store.places(repository.mirror)

        def module_of(subdir: str, version: Version) -> ModulePath | None:
            return self._module(repository, places, subdir, version)

        tagged = _modules({**source, **mirror}, module_of)
        known = self._store.known(sorted(tagged | self._tagged_here(repository, places, order, module_of)))
        # Of a module that neither a tag nor a record tells of no proxy is asked: there may be none.
        targets = dict(self._targets(repository, tagged | {module for module, _ in known}))
        served = self._observer.served((module, target.proxy) for module, target in targets.items())
        listed, subdirs = self._listed(repository, source), _subdirs(places, targets)
        made = {module: target for module, target in targets.items() if target.tags == "make"}
        # A registry tells itself what it has.
        adopts = {module for module, target in made.items() if order.adopts and target.content != "goproxy"}
        seen = Observed(source, mirror, served, known, listed, subdirs, adopts)
        prereleases = self._planner.wants_prereleases(repository.source)
        items = compare(seen, module_of, prereleases=prereleases, made=made.keys())
        items = [item for item in items if _asked(item, order)]
        items = self._of_this_mirror(repository, items, seen, targets, notes=not order.dry_run)
        wanted = [self._named_for_sure(item, seen, targets) for item in items]
        return self._without_retracted(wanted, seen, targets), len(source)

    def _of_this_mirror(
        self, repository: Repository, items: list[Item], seen: Observed, targets: Mapping[ModulePath, Target],
        *, notes: bool,
    ) -> list[Item]:  # fmt: skip
        """Without what was brought and goes to another mirror by the rules of today: it would be missing here for ever.

        That one's comparison judges it, and is made from now on, though nothing was brought there yet.
        """
        brought = {module for (module, _), known in seen.known.items() if known.pushed}
        rules = {
            module: Repository(target.mirror, repository.source, target.clone_url)
            for module, target in targets.items() if module in brought
        }  # fmt: skip
        runs = self._maker.places(repository, items)
        places = {item: place for item in items if (place := runs.get(item) or _by_rules(item, rules))}
        if notes:
            self._note_others(repository, [*rules.values(), *places.values()])
        return [item for item in items if places.get(item, repository).mirror == repository.mirror]

    def _note_others(self, repository: Repository, places: Iterable[Repository]) -> None:
        for mirror, place in {place.mirror: place for place in places}.items():
            if mirror != repository.mirror and self._store.find(mirror) is None:
                self._store.note(place)

    def _named_for_sure(self, item: Item, seen: Observed, targets: Mapping[ModulePath, Target]) -> Item:
        """Of a root tag v2 and above that was never recorded a list alone proves no name: go lists each as /v2's.

        It serves only those whose go.mod says so. Any other is for a run, which has the commit, to name: it is recorded then.
        """
        module = item.module
        if module is None or module not in seen.served or not _may_lack_go_mod(item):
            return item
        if self._observer.serves(module, targets[module].proxy, item.version):
            return item
        return replace(item, finding=Finding.MISSING_IN_PROXY, detail="listed, not served: perhaps it has no go.mod")

    def _without_retracted(self, items: list[Item], seen: Observed, targets: Mapping[ModulePath, Target]) -> list[Item]:
        """Without the releases that the proxy serves and rightly does not list: another run would change nothing."""
        unlisted: dict[ModulePath, set[Version]] = defaultdict(set)
        for item in items:
            if item.module and item.is_only_unlisted:
                unlisted[item.module].add(item.version)
        brought = [release for release, known in seen.known.items() if known.pushed]
        well: set[Release] = set()
        for module, versions in unlisted.items():
            mine = [version for of, version in brought if of == module]
            found = self._observer.left_out(module, targets[module].proxy, versions, seen.served[module], mine)
            well |= {(module, version) for version in found}
        return [item for item in items if (item.module, item.version) not in well]

    def _module(self, repository: Repository, places: Places, subdir: str, version: Version) -> ModulePath | None:
        if only := self._observer.registry_module(repository):
            return None if subdir else only
        major = int(version.major[1:])
        if prefix := places.prefixes.get(subdir):
            return of_major(prefix, major)
        return self._planner.module_of(repository.source, repository.clone_url, subdir, major)

    def _listed(self, repository: Repository, source: Mapping[str, TagAt]) -> frozenset[Version]:
        if self._observer.registry_module(repository) is None:
            return frozenset()
        return frozenset(Version.parse(at.object) for at in source.values())

    def _tagged_here(
        self, repository: Repository, places: Places, order: Order, module_of: ModuleOf
    ) -> set[ModulePath]:  # fmt: skip
        """The modules whose tags modsync makes, and that may have releases: there may be no tag anywhere that tells of them.

        Those of the runs, and for releases whose runs are not kept the root's and the one that was asked for, all majors.
        """
        if not self._planner.makes_tags:
            return set()
        named = {module for module in (module_of("", _FIRST), order.module) if module}
        named = named.union(*map(self._store.majors, named))
        targets = self._targets(repository, named | places.modules | self._store.failed(repository.mirror))
        return {module for module, target in targets if (target.tags, target.mirror) == ("make", repository.mirror)}

    def _targets(self, repository: Repository, modules: Iterable[ModulePath]) -> Iterator[tuple[ModulePath, Target]]:
        for module in sorted(modules):
            try:
                yield module, self._planner.target(repository.source, module, repository.clone_url, None)
            except SyncError as error:
                log.debug(
                    "no_target", extra={"release": module.text, "code": error.code}
                )  # another rule's, or nobody's


def _modules(tags: Mapping[str, TagAt], module_of: ModuleOf) -> set[ModulePath]:
    """The module paths that these tags may belong to; at the root also the one that +incompatible goes with."""
    found: set[ModulePath] = set()
    for tag in tags:
        try:
            subdir, version = split_tag(tag)
        except RuleBroken:
            continue
        majors = (version,) if subdir else (version, _FIRST)
        found |= {module for each in majors if (module := module_of(subdir, each))}
    return found


def _subdirs(places: Places, targets: Mapping[ModulePath, Target]) -> dict[ModulePath, str]:
    """Where the modules lie: as their releases say, or else the rules."""
    lie = {prefix: subdir for subdir, prefix in places.prefixes.items()}
    return {module: lie.get(module.prefix, target.subdir) for module, target in targets.items()}


def _by_rules(item: Item, rules: Mapping[ModulePath, Repository]) -> Repository | None:
    """Where a release that was brought goes, if no run tells."""
    return rules.get(item.module) if item.module and item.known and item.known.pushed else None


def _may_lack_go_mod(item: Item) -> bool:
    """Whether an adopted tag could be an +incompatible version as well."""
    rooted = item.finding is Finding.ADOPTED and not item.subdir
    return rooted and int(item.version.major[1:]) >= 2 and not item.version.is_incompatible


def _not_begun(item: Item, why: str) -> Item:
    return replace(item, finding=Finding.FAILED, detail=f"no run was begun: {why}")


def _asked(item: Item, order: Order) -> bool:
    if order.module is None:
        return True
    return item.module is not None and item.module.prefix == order.module.prefix


def _to_bring(items: list[Item], order: Order) -> list[Item]:
    wanted = {Finding.MISSING_IN_MIRROR, Finding.MISSING_IN_PROXY} | ({Finding.FAILED} if order.retry else set())
    return [item for item in items if item.finding in wanted]
