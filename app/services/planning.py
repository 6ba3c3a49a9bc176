"""From an event to the run that it asks for: which module, by which rule, from where to where. Reads no clock, no store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from app.domain.errors import SyncError
from app.domain.events import Policy, ReleaseEvent, fit_path
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.routing import Rule, choose, first_match, modules_for_repository, repository_place
from app.domain.run import Lane, Run, Stage, Target, semantic_key
from app.domain.urls import is_local
from app.domain.webhook import Secret
from app.services.stores import PlannedRun

_LONGEST_NAME = 500  # of a module: runs.module

Refusal = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """A source as intake knows it: how it signs, with which live secrets, and what it may name as clone URLs."""

    name: str
    scheme: str
    secrets: tuple[Secret, ...]
    allow: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where today's rules put a release."""

    module: ModulePath
    target: Target


@dataclass(frozen=True, slots=True)
class _Refused:
    """A release that no rule gives a module path: a name to find its run by, and why."""

    name: str
    why: Refusal


class Planner:
    """Applies the rules to events, and to stored events again."""

    def __init__(
        self, sources: Mapping[str, SourceOptions], rules: Sequence[Rule], new_id: Callable[[str], str], *,
        sandbox: bool = False,
    ) -> None:  # fmt: skip
        self._sources, self._rules, self._new_id, self._sandbox = sources, rules, new_id, sandbox
        # The rules of a process do not change, and releases are mostly of modules that had some before.
        self._chosen = lru_cache(4096)(self._choose)

    def plan(
        self, source: str, event: ReleaseEvent, actor: str = "", *, lane: str = Lane.LIVE, needs: Stage | None = None
    ) -> PlannedRun:  # fmt: skip
        """The run that an event asks for; `lane` and `needs` are PlannedRun's.

        Errors: clone_url_refused and invalid_payload for an event that names its module and commit: its sender can
        correct it. A platform cannot, and might switch its webhook off: there the run carries the refusal.
        """
        found = event.module or self._module(source, event.repo_url, event.subdir, event.version)
        name = found.name if isinstance(found, _Refused) else found.text
        target, refusal = (_NOWHERE, found.why) if isinstance(found, _Refused) else self._target(source, found, event)
        # A registry's mirror has commits of modsync's own making: what the platform calls a commit is none of them.
        commit = "" if target.content == "goproxy" else event.commit or ""
        version = event.version.text if event.version else None
        return PlannedRun(
            id=self._new_id("r"), source=source, module=name, version=version, ref=event.ref, commit=commit,
            semantic=semantic_key(name, version, event.ref, commit), event=_stored(event), target=target,
            refusal=refusal, actor=actor, lane=lane, needs=needs,
        )  # fmt: skip

    def today(self, run: Run) -> Placed:
        """Where today's rules put a stored run. Errors: no_rule, clone_url_refused, invalid_payload."""
        event: Mapping[str, Any] = run.event
        repo_url, subdir = event.get("repo_url"), event.get("subdir")
        if event.get("module", run.module):
            found: ModulePath | _Refused = run.path
        else:
            found = self._module(run.source, repo_url, subdir, run.released if run.version else None)
        if isinstance(found, _Refused):
            raise SyncError(*found.why)
        return Placed(found, self.target(run.source, found, repo_url, subdir))

    def names_source(self, run: Run) -> bool:
        """True where today's rules themselves name the clone URL that the run has, and no other one, for its mirror."""
        named = [self._named(source, run.path) for source in self.sources_of(run.path)]
        return {each.clone_url for each in named if each and each.mirror == run.target.mirror} == {run.target.clone_url}

    def _named(self, source: str, module: ModulePath) -> Target | None:
        """Where a rule of the source that leaves nothing to the payload sends the module."""
        found = first_match(self._rules, source, module)
        if found is None or not found[0].clone:
            return None
        try:
            return self.target(source, module, None, None)
        except SyncError:
            return None

    def target(self, source: str, module: ModulePath, repo_url: str | None, subdir: str | None) -> Target:
        """Where the rules of today send a module. Errors: no_rule, clone_url_refused, invalid_payload."""
        return self._chosen(source, module, repo_url, subdir)

    def _choose(self, source: str, module: ModulePath, repo_url: str | None, subdir: str | None) -> Target:
        options = self._sources.get(source)
        allow = options.allow if options else ()
        return choose(self._rules, source, module, repo_url, subdir, allow, sandbox=self._sandbox)

    def module_of(self, source: str, repo_url: str, subdir: str, major: int) -> ModulePath | None:
        """The module path that the rules give a repository's directory; None when none does."""
        try:
            return modules_for_repository(self._rules, source, repo_url, subdir, major)
        except RuleBroken:
            return None

    @property
    def makes_tags(self) -> bool:
        """True where a rule has modsync make the tags that a source lacks."""
        return any(rule.tags == "make" for rule in self._rules)

    def sources_of(self, module: ModulePath) -> list[str]:
        """The sources whose releases of this module a rule would bring, in the configuration's order."""
        return [source for source in self._sources if first_match(self._rules, source, module)]

    def wants_prereleases(self, source: str) -> bool:
        """True unless the source's policy leaves prereleases out."""
        options = self._sources.get(source)
        return options is None or options.policy.prereleases

    def _target(self, source: str, module: ModulePath, event: ReleaseEvent) -> tuple[Target, Refusal | None]:
        try:
            return self.target(source, module, event.repo_url, event.subdir), None
        except SyncError as error:
            from_platform = event.module is None or event.commit is None
            if error.code != "no_rule" and not from_platform:
                raise
            # Recorded, so that whoever is on call sees the release, adds a rule, and replays it.
            return _NOWHERE, (error.code, error.message)

    def _module(
        self, source: str, repo_url: str | None, subdir: str | None, version: Version | None
    ) -> ModulePath | _Refused:
        """The module path that the rules give a repository's release."""
        if repo_url is None or version is None:
            raise SyncError("invalid_payload", "the event names neither a module nor a repository", field="repository")
        major = 1 if version.is_incompatible else int(version.major[1:])
        name = _stand_in(repo_url, subdir or "", major)
        try:
            found = modules_for_repository(self._rules, source, repo_url, subdir or "", major)
        except RuleBroken as broken:
            return _Refused(name, ("no_rule", f"the rules make no module path of the repository: {broken.message}"))
        if found is None:
            return _Refused(name, ("no_rule", _unknown(source, name)))
        return _fitting(found, version, at_root=not subdir)


_NOWHERE = Target(clone_url="", mirror="")


def _stored(event: ReleaseEvent) -> dict[str, Any]:
    """The event as runs.event keeps it: every field plain (dataclasses.asdict would copy each)."""
    fields = {name: getattr(event, name) for name in ReleaseEvent.__dataclass_fields__}
    named = {name: value.text for name in ("module", "version") if (value := fields[name])}
    return {**fields, **named}


def _stand_in(repo_url: str, subdir: str, major: int) -> str:
    place = repository_place(repo_url) if "://" in repo_url else repo_url
    parts = (place, subdir, f"v{major}" if major >= 2 else "")
    return "/".join(filter(None, parts))[:_LONGEST_NAME]


def _unknown(source: str, name: str) -> str:
    told = f"no rule of source {source} knows the repository of {name}"
    if is_local(name.partition("/")[0]):
        told += (
            ": the platform calls itself by an address that only it can use (Gitea's ROOT_URL, GitLab's external_url)"
        )
    return told


def _fitting(module: ModulePath, version: Version, *, at_root: bool) -> ModulePath | _Refused:
    """The module, where Go can have such a version of it."""
    if len(module.text) > _LONGEST_NAME:
        why = f"the rules make a module path of the repository that is longer than {_LONGEST_NAME} characters"
        return _Refused(module.text[:_LONGEST_NAME], ("no_rule", why))
    try:
        fit_path(version, module, at_root, "tag")
    except SyncError as error:
        return _Refused(module.text, ("no_rule", error.message))
    return module
