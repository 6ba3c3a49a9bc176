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
from app.domain.run import Lane, Run, Target, semantic_key
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

    module: str
    target: Target


class Planner:
    """Applies the rules to events, and to stored events again."""

    def __init__(
        self, sources: Mapping[str, SourceOptions], rules: Sequence[Rule], new_id: Callable[[str], str], *,
        sandbox: bool = False,
    ) -> None:  # fmt: skip
        self._sources, self._rules, self._new_id, self._sandbox = sources, rules, new_id, sandbox
        # The rules of a process do not change, and releases are mostly of modules that had some before.
        self._chosen = lru_cache(4096)(self._choose)

    def plan(self, source: str, event: ReleaseEvent, actor: str = "", *, lane: str = Lane.LIVE) -> PlannedRun:
        """The run that an event asks for.

        Errors: clone_url_refused and invalid_payload for an event that names its module and commit: its sender can
        correct it. A platform cannot, and might switch its webhook off: there the run carries the refusal.
        """
        module, refusal = self._module(source, event.module, event.repo_url, event.subdir, event.version)
        target, refusal = (_NOWHERE, refusal) if refusal else self._target(source, module, event)
        # A registry's mirror has commits of modsync's own making: what the platform calls a commit is none of them.
        commit = "" if target.content == "goproxy" else event.commit or ""
        return PlannedRun(
            id=self._new_id("r"), source=source, module=module, version=event.version, ref=event.ref, commit=commit,
            semantic=semantic_key(module, event.version, event.ref, commit), event=_stored(event), target=target,
            refusal=refusal, actor=actor, lane=lane,
        )  # fmt: skip

    def today(self, run: Run) -> Placed:
        """Where today's rules put a stored run. Errors: no_rule, clone_url_refused, invalid_payload."""
        event: Mapping[str, Any] = run.event
        named = run.module if event.get("module", run.module) else None
        module, refusal = self._module(run.source, named, event.get("repo_url"), event.get("subdir"), run.version)
        if refusal:
            raise SyncError(*refusal)
        return Placed(module, self.target(run.source, module, event.get("repo_url"), event.get("subdir")))

    def target(self, source: str, module: str, repo_url: str | None, subdir: str | None) -> Target:
        """Where the rules of today send a module. Errors: no_rule, clone_url_refused, invalid_payload."""
        return self._chosen(source, module, repo_url, subdir)

    def _choose(self, source: str, module: str, repo_url: str | None, subdir: str | None) -> Target:
        options = self._sources.get(source)
        allow = options.allow if options else ()
        return choose(self._rules, source, module, repo_url, subdir, allow, sandbox=self._sandbox)

    def module_of(self, source: str, repo_url: str, subdir: str, major: int) -> str | None:
        """The module path that the rules give a repository's directory; None when none does."""
        return modules_for_repository(self._rules, source, repo_url, subdir, major, sandbox=self._sandbox)

    def sources_of(self, module: str) -> list[str]:
        """The sources whose releases of this module a rule would bring, in the configuration's order."""
        return [source for source in self._sources if first_match(self._rules, source, module)]

    def wants_prereleases(self, source: str) -> bool:
        """True unless the source's policy leaves prereleases out."""
        options = self._sources.get(source)
        return options is None or options.policy.prereleases

    def _target(self, source: str, module: str, event: ReleaseEvent) -> tuple[Target, Refusal | None]:
        try:
            return self.target(source, module, event.repo_url, event.subdir), None
        except SyncError as error:
            from_platform = event.module is None or event.commit is None
            if error.code != "no_rule" and not from_platform:
                raise
            # Recorded, so that whoever is on call sees the release, adds a rule, and replays it.
            return _NOWHERE, (error.code, error.message)

    def _module(
        self, source: str, module: str | None, repo_url: str | None, subdir: str | None, version: str | None
    ) -> tuple[str, Refusal | None]:
        """The module's path; where no rule knows the repository, a name to find it by, and the refusal."""
        if module is not None:
            return module, None
        if repo_url is None or version is None:
            raise SyncError("invalid_payload", "the event names neither a module nor a repository", field="repository")
        major = int(Version.parse(version).major[1:])
        found = modules_for_repository(
            self._rules, source, repo_url, subdir or "", major, sandbox=self._sandbox
        )  # fmt: skip
        if found is None:
            name = _stand_in(repo_url, subdir or "", major)
            return name, ("no_rule", f"no rule of source {source} knows the repository of {name}")
        return found, _unfit(found, version, at_root=not subdir)


_NOWHERE = Target(clone_url="", mirror="")


def _stored(event: ReleaseEvent) -> dict[str, Any]:
    """The event as runs.event keeps it; every field is plain (dataclasses.asdict would copy each)."""
    return {name: getattr(event, name) for name in ReleaseEvent.__dataclass_fields__}


def _stand_in(repo_url: str, subdir: str, major: int) -> str:
    place = repository_place(repo_url) if "://" in repo_url else repo_url
    parts = (place, subdir, f"v{major}" if major >= 2 else "")
    return "/".join(filter(None, parts))[:_LONGEST_NAME]


def _unfit(module: str, version: str, *, at_root: bool) -> Refusal | None:
    """Why Go has no such version of such a module."""
    try:
        fit_path(Version.parse(version), ModulePath.parse(module), at_root, "tag")
    except RuleBroken as broken:
        return "no_rule", f"the rules make {module!r} of the repository, which is no module path: {broken.message}"
    except SyncError as error:
        return "no_rule", error.message
    return None
