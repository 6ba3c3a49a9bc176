"""Why a module goes where it goes: the rules applied to one module, for every source that could report it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version, check_path_major, tag_name
from app.domain.routing import Rule, choose, first_match
from app.domain.run import Target
from app.services.views import ErrorView, MirrorView, ReleaseView, RunSummary, TargetView, View

# Stands in for the clone URL that only a webhook's payload knows, so that the rest of the target can be said.
_STAND_IN = "https://payload.example/repository"


@dataclass(frozen=True, slots=True)
class Routing:
    """The configuration's share: the rules in order, and each source's allow-list by its name."""

    rules: Sequence[Rule]
    allow: Mapping[str, Sequence[str]]
    sandbox: bool = False


@dataclass(frozen=True, slots=True)
class Route(View):
    """What happens to a release that `source` reports: a target and its tag, or the error that refuses it.

    `target.clone_url` is "" where the webhook's payload has to name it; `tag` is None without a version.
    """

    source: str
    target: TargetView | None
    tag: str | None
    error: ErrorView | None


@dataclass(frozen=True, slots=True)
class Explanation(View):
    """Where a module goes by today's rules, and what is known of it. `routes` is never empty.

    `runs` are the newest ones; `releases` the newest versions that are held (`more_releases`: there
    are others); `mirrors` those of the routes and runs that exist.
    """

    module: str
    version: str | None
    routes: tuple[Route, ...]
    runs: tuple[RunSummary, ...]
    releases: tuple[ReleaseView, ...]
    mirrors: tuple[MirrorView, ...]
    more_releases: bool = False

    @property
    def routed(self) -> bool:
        """True when at least one source's release would be brought through."""
        return any(route.target for route in self.routes)


def parse_release(module: str, version: str | None) -> tuple[ModulePath, Version | None]:
    """The module and version as Go reads them. Error: bad_request with the field and the broken rule."""
    try:
        path = ModulePath.parse(module)
    except RuleBroken as error:
        raise SyncError("bad_request", error.message, field="module") from None
    if version is None:
        return path, None
    try:
        parsed = Version.parse(version)
        check_path_major(parsed, path)
    except RuleBroken as error:
        raise SyncError("bad_request", error.message, field="version") from None
    return path, parsed


def route_told(
    routing: Routing, source: str, module: ModulePath, version: Version | None, repo_url: str | None
) -> Route:
    """The route of a release as this source alone would tell it."""
    mine = replace(routing, allow={source: routing.allow[source]})
    return routes(mine, module, version, {source: repo_url} if repo_url else {})[0]


def routes(
    routing: Routing, module: ModulePath, version: Version | None, repo_urls: Mapping[str, str]
) -> tuple[Route, ...]:
    """A route per source with a matching rule; one route with `no_rule` when there is none.

    `repo_urls`: clone URLs that the sources named before, for rules that take them from the payload.
    """
    found = tuple(_routes(routing, module, version, repo_urls))
    if found:
        return found
    error = SyncError("no_rule", f"no rule of any source matches {module}")
    return (Route("", None, None, ErrorView.of(error.code, error.message)),)


def _routes(
    routing: Routing, module: ModulePath, version: Version | None, repo_urls: Mapping[str, str]
) -> Iterator[Route]:
    for source in routing.allow:
        if first_match(routing.rules, source, module) is None:
            continue
        try:
            target = _target(routing, source, module, repo_urls.get(source))
        except SyncError as error:
            yield Route(source, None, None, ErrorView.of(error.code, error.message))
            continue
        tag = tag_name(target.subdir, version) if version else None
        yield Route(source, TargetView.of(target), tag, None)


def _target(routing: Routing, source: str, module: ModulePath, repo_url: str | None) -> Target:
    allow = routing.allow[source]
    found = first_match(routing.rules, source, module)
    if found and not found[0].clone and not repo_url:
        return replace(choose([found[0]], source, module, _STAND_IN, None, [_STAND_IN]), clone_url="")
    return choose(routing.rules, source, module, repo_url, None, allow, sandbox=routing.sandbox)
