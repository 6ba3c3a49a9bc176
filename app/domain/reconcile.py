"""Pure comparison of a repository's version tags at the source, in the mirror, at the proxy, and in modsync's own records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.domain.errors import CATALOG, Retry
from app.domain.modules import ModulePath, RuleBroken, Version, split_tag, tag_name
from app.domain.refs import TagAt
from app.domain.run import ACTIVE, Stage, Status


class Finding(StrEnum):
    """What is to be said of a version; the first three are put right, the others are for a person."""

    MISSING_IN_MIRROR = "missing_in_mirror"
    MISSING_IN_PROXY = "missing_in_proxy"
    ADOPTED = "adopted"  # mirror and proxy have it as the source does, and modsync did not know it
    WAITING = "waiting"  # its run is in flight
    FAILED = "failed"  # its run ended with an error that a person has to mend, or no run could be begun
    MOVED = "moved"  # the source's tag is not where it was when the version was released
    DIFFERS = "differs"  # the mirror's tag is at another commit than the source's
    GONE = "gone"  # released, and the source does not have the tag any more
    EXTRA_IN_MIRROR = "extra_in_mirror"
    EXTRA_IN_PROXY = "extra_in_proxy"
    NO_MODULE = "no_module"  # no rule gives the tag a module path
    NOT_A_COMMIT = "not_a_commit"


MENDED = frozenset({Finding.MISSING_IN_MIRROR, Finding.MISSING_IN_PROXY})
REPORTED = frozenset(Finding) - MENDED - {Finding.ADOPTED, Finding.WAITING}

_NOT_AT_SOURCE = frozenset({"commit_missing", "tag_missing", "not_in_registry"})
_NOWHERE = "neither the source nor the mirror has its tag"

Release = tuple[ModulePath, Version]


@dataclass(frozen=True, slots=True)
class Known:
    """A release as recorded. `status` None: it has no run (adopted, or its run is not kept any more)."""

    commit: str
    run: str = ""
    status: Status | None = None
    error: str | None = None
    pushed: bool = False

    @property
    def is_released(self) -> bool:
        """True when the version belongs to this commit for good."""
        return self.pushed or self.status in ACTIVE

    @property
    def lacks_its_source(self) -> bool:
        """True when the run ended because what it was to bring never appeared at the source."""
        return self.status is Status.FAILED and self.error in _NOT_AT_SOURCE

    @property
    def waits_for_a_person(self) -> bool:
        """True when the run failed in a way that another try would not mend."""
        if self.status not in (Status.FAILED, Status.REJECTED):
            return False
        if self.error == "mirror_of_another":
            return False  # that was another repository's release, and this one's is only missing
        return CATALOG[self.error].retry is Retry.NEVER if self.error in CATALOG else True


@dataclass(frozen=True, slots=True)
class Item:
    """A version and what was found. `module` None: no rule gives the tag one; `commit` "" where there is none.

    `known`: what modsync recorded of it. `needs`: the stage that brings what is missing.
    """

    finding: Finding
    tag: str
    module: ModulePath | None
    version: Version
    subdir: str = ""
    commit: str = ""
    detail: str = ""
    known: Known | None = None
    needs: Stage = Stage.MIRROR

    @property
    def is_only_unlisted(self) -> bool:
        """True for a release that came through, and that the proxy's list alone does not have: it may be retracted."""
        through = self.known is not None and self.known.pushed and self.known.status in (Status.DONE, None)
        return through and self.finding is Finding.MISSING_IN_PROXY and self.needs is Stage.PIPELINE


@dataclass(frozen=True, slots=True)
class Named:
    """A version's tag and the module path that the rules give it (None: none)."""

    tag: str
    subdir: str
    module: ModulePath | None
    version: Version


@dataclass(frozen=True, slots=True)
class Observed:
    """One repository. `served` holds the versions of each module that the proxy lists; a module not in it was not asked for.

    A commit "" of `source` is not known without a download: a registry's. `listed`: its versions. `subdirs`: where the
    modules lie; one that is not in it lies at the root. `adopts`: the modules of which a tag that only mirror and proxy
    have is taken for a release whose record was lost.
    """

    source: Mapping[str, TagAt]
    mirror: Mapping[str, TagAt]
    served: Mapping[ModulePath, frozenset[Version]]
    known: Mapping[Release, Known]
    listed: frozenset[Version] = frozenset()
    subdirs: Mapping[ModulePath, str] = field(default_factory=dict)
    adopts: Set[ModulePath] = frozenset()


ModuleOf = Callable[[str, Version], ModulePath | None]
"""(directory, version) -> the module path, None when no rule gives one."""


def names_of(tag: str, module_of: ModuleOf) -> tuple[Named, ...]:
    """What Go may call this tag, depending on its commit: `x/v2@v2.0.0`, or without a go.mod `x@v2.0.0+incompatible`.

    Empty for one that is no version.
    """
    try:
        subdir, version = split_tag(tag)
    except RuleBroken:
        return ()
    name = Named(tag, subdir, module_of(subdir, version), version)
    old = module_of(subdir, Version.parse("v1.0.0")) if int(version.major[1:]) >= 2 and not subdir else None
    return (name, Named(tag, subdir, old, version.with_incompatible())) if old else (name,)


def named(names: Sequence[Named], observed: Observed) -> Named:
    """Which of a tag's names it is called by. Where nothing tells, the first: the worker, who has the commit, corrects that."""
    return max(names, key=lambda name: _standing(name, observed))


def _standing(name: Named, observed: Observed) -> int:
    """How much speaks for this name. Others of its major say nothing: many a repository got its go.mod within one."""
    known = _recorded(name, observed)
    if name.version.is_incompatible and name.version in observed.listed:
        return 3
    if known is None:  # go lists every v2 tag as /v2's; as +incompatible only those of majors without go.mod
        listed = observed.served.get(name.module, ()) if name.module else ()
        return int(name.version.is_incompatible and name.version in listed)
    if known.is_released:
        return 2
    if known.error == "duplicate_release" or not known.commit:
        return 0  # the worker found that the other name's run brings it; or never had the commit, which alone tells the name
    return 0 if name.version.is_incompatible and known.error == "module_mismatch" else 1


def compare(
    observed: Observed, module_of: ModuleOf, *, prereleases: bool = True, made: Set[ModulePath] = frozenset()
) -> list[Item]:
    """What is to be said, lowest versions first; versions with which all is well are left out.

    `prereleases` False: nothing is said of a prerelease whose tag is there. `made`: the modules whose tags modsync makes,
    so that the source need not have them.
    """
    tags = sorted({*observed.source, *observed.mirror})
    spelled = [names for tag in tags if (names := names_of(tag, module_of))]
    wanted = [named(names, observed) for names in spelled if prereleases or not names[0].version.prerelease]
    items = [item for each in wanted if (item := _judged(each, observed, made))]
    found = {(each.module, each.version) for names in spelled for each in names}
    items += [*_vanished(observed, found, made), *_extra_in_proxy(observed, found)]
    return sorted((replace(item, needs=_needs(item, observed)) for item in items), key=_order)


def _needs(item: Item, observed: Observed) -> Stage:
    if item.tag not in observed.mirror:
        return Stage.MIRROR
    return Stage.PIPELINE if _is_unlisted(item.module, item.version, observed) else Stage.VERIFY


def _order(item: Item) -> tuple[Version, str]:
    return item.version, item.tag


def _judged(name: Named, observed: Observed, made: Set[ModulePath]) -> Item | None:
    at, known = observed.source.get(name.tag), _recorded(name, observed)
    if at is None:
        return _without_source(name, observed, known, name.module in made)
    if at.commit is None:
        return _item(Finding.NOT_A_COMMIT, name, "", f"the source's tag names {at.object}", known)
    if name.module is None:
        return _item(Finding.NO_MODULE, name, at.commit, "no rule gives this tag a module path", known)
    if known and known.is_released and known.commit and at.commit not in ("", known.commit):
        return _item(
            Finding.MOVED, name, at.commit, f"released at {known.commit}, the source's tag is at {at.commit}", known
        )
    return _against_mirror(name, at.commit, observed, known)


def _recorded(name: Named, observed: Observed) -> Known | None:
    return observed.known.get((name.module, name.version)) if name.module else None


def _without_source(name: Named, observed: Observed, known: Known | None, makes_tags: bool) -> Item | None:
    there = observed.mirror[name.tag]
    commit = there.commit or ""
    if makes_tags and commit and _is_made_here(name, commit, observed, known):
        return _against_mirror(name, commit, observed, known)
    if known is None or not known.is_released:
        return _item(Finding.EXTRA_IN_MIRROR, name, commit, "the source has no such tag", known)
    if known.commit != there.commit:
        return _item(Finding.DIFFERS, name, commit, f"released at {known.commit}, the mirror is at {commit}", known)
    return _item(Finding.GONE, name, commit, "the source does not have the tag any more", known)


def _is_made_here(name: Named, commit: str, observed: Observed, known: Known | None) -> bool:
    """Whether the mirror's tag is a release that modsync tags itself.

    A proxy that lists from git lists what anybody tagged in the mirror: without a record a person has to vouch for that.
    """
    if known is None:
        served = observed.served.get(name.module, ()) if name.module in observed.adopts and name.module else ()
        return name.version in served
    # A push whose run ended before its answer came is in the mirror, too.
    return known.commit == commit and (known.is_released or known.status is Status.FAILED)


def _against_mirror(name: Named, commit: str, observed: Observed, known: Known | None) -> Item | None:
    there = observed.mirror.get(name.tag)
    if there is not None and commit not in ("", there.commit):
        said = f"the source's tag is at {commit}, the mirror's at {there.commit or there.object}"
        return _item(Finding.DIFFERS, name, commit, said, known)
    if known and known.status in ACTIVE:
        return _item(Finding.WAITING, name, commit, f"run {known.run} is in flight", known)
    if known and known.waits_for_a_person:
        return _item(Finding.FAILED, name, commit, f"run {known.run} ended with {known.error}", known)
    if there is None:
        return _item(Finding.MISSING_IN_MIRROR, name, commit, "", known)
    return _against_proxy(name, commit, observed, known)


def _against_proxy(name: Named, commit: str, observed: Observed, known: Known | None) -> Item | None:
    if _is_unlisted(name.module, name.version, observed):
        return _item(Finding.MISSING_IN_PROXY, name, commit, "", known)
    if known and known.status is not None and known.status is not Status.DONE:
        return _item(Finding.MISSING_IN_PROXY, name, commit, f"run {known.run} ended with {known.error}", known)
    if known and known.is_released:
        return None
    if not commit:
        return _item(
            Finding.MISSING_IN_PROXY, name, commit, "its content has to be compared with the registry's", known
        )
    return _item(Finding.ADOPTED, name, commit, "", known)


def _is_unlisted(module: ModulePath | None, version: Version, observed: Observed) -> bool:
    """True where the proxy was asked, and does not have it in its list."""
    versions = observed.served.get(module) if module else None
    return versions is not None and version not in versions


def _vanished(
    observed: Observed, names: set[tuple[ModulePath | None, Version]], made: Set[ModulePath]
) -> Iterator[Item]:
    """Released versions whose tags are neither at the source nor in the mirror; one that modsync made it makes again.

    So it does where an outage ended the run before its push: nobody else will ever tag that.
    """
    for (module, version), known in sorted(observed.known.items(), key=lambda item: item[0]):
        if (module, version) in names:
            continue
        if module in made and (known.pushed or known.status is Status.FAILED):
            yield from _untagged((module, version), observed, known)
        elif known.pushed:
            yield Item(Finding.GONE, "", module, version, commit=known.commit, detail=_NOWHERE, known=known)


def _untagged(release: Release, observed: Observed, known: Known) -> Iterator[Item]:
    """A release whose tag modsync makes, by the tag that it has or would have."""
    module, version = release
    subdir = observed.subdirs.get(module, "")
    name = Named(tag_name(subdir, version), subdir, module, version)
    if known.lacks_its_source:  # it would wait in vain at every comparison: a person knows when it is there
        yield _item(Finding.FAILED, name, known.commit, f"run {known.run} ended with {known.error}", known)
    elif item := _against_mirror(name, known.commit, observed, known):
        yield replace(item, detail=_NOWHERE) if item.finding is Finding.MISSING_IN_MIRROR else item


def _extra_in_proxy(observed: Observed, names: set[tuple[ModulePath | None, Version]]) -> Iterator[Item]:
    for module, versions in sorted(observed.served.items()):
        for version in sorted(versions):
            known = observed.known.get((module, version))
            if known is None and (module, version) not in names and not version.is_pseudo:
                yield Item(Finding.EXTRA_IN_PROXY, "", module, version, detail=_NOWHERE)


def _item(finding: Finding, name: Named, commit: str, detail: str, known: Known | None) -> Item:
    return Item(finding, name.tag, name.module, name.version, name.subdir, commit, detail, known)
