"""Where `go` finds a module's mirror: https://go.dev/ref/mod#vcs-find, answered for what modsync mirrors and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from app.domain.modules import ModulePath, RuleBroken
from app.domain.patterns import split_major
from app.domain.routing import first_match
from app.services.explain import Routing, routes
from app.services.views import MirrorView

Mirrors = Callable[[Collection[str]], Sequence[MirrorView]]
"""What is remembered of these mirrors; see ReadStore.mirrors."""


@dataclass(frozen=True, slots=True)
class Found:
    """A repository's root in module paths (`go.corp.example/team/repo`), and the URL to clone its mirror from."""

    root: str
    clone_url: str

    def page(self) -> str:
        """The HTML that `go` reads: one go-import tag."""
        content = escape(f"{self.root} git {self.clone_url}")
        return f'<!DOCTYPE html>\n<html><head><meta name="go-import" content="{content}"></head></html>\n'


class Discovery:
    """Looks a path up by the rules, then asks whether that mirror exists: a rule alone promises nothing."""

    def __init__(self, routing: Routing, mirrors: Mirrors, clone: str) -> None:
        self._routing, self._mirrors, self._clone = routing, mirrors, clone

    def find(self, path: str) -> Found | None:
        """The repository that holds the module or package `path`, None when modsync does not mirror it.

        Error: store_unavailable.
        """
        module = _module(path)
        candidates = dict(self._candidates(module)) if module else {}
        known = {view.path: view for view in self._mirrors(list(candidates))} if candidates else {}
        for mirror, root in candidates.items():
            if mirror in known and known[mirror].clone_url:
                return Found(root, self._clone.replace("{mirror}", mirror) or str(known[mirror].clone_url))
        return None

    def _candidates(self, module: ModulePath) -> Iterator[tuple[str, str]]:
        """(mirror, root) for each source, in the configuration's order."""
        for route in routes(self._routing, module, None, {}):
            if route.target is None:
                continue
            found = first_match(self._routing.rules, route.source, module)
            if found is not None:
                alone = route.target.content == "goproxy"  # each module at the root of a mirror of its own
                yield route.target.mirror, module.text if alone else _root(module, found[2])


def _module(path: str) -> ModulePath | None:
    """The path, or the one above it: packages may be called what no module may (`.../api/v1`)."""
    for each in (path, path.rpartition("/")[0]):
        try:
            return ModulePath.parse(each)
        except RuleBroken:
            continue
    return None


def _root(module: ModulePath, rest: str) -> str:
    """The path of the repository's root: without the directory below it, and without `/vN`."""
    base = split_major(module.text)[0]
    return base.removesuffix(f"/{rest}") if rest else base
