"""What people ask: which runs are there, all of one run, how many, and why a module goes where it goes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.ids import run_of
from app.domain.modules import ModulePath, Version
from app.services import log_ids
from app.services.explain import Explanation, Routing, parse_release, routes
from app.services.run_filter import RunFilter, check_limit, make_cursor, parse_cursor
from app.services.views import Counts, Known, MirrorView, Page, RunDetail, RunSummary

__all__ = ["Explanation", "Page", "Queries", "ReadStore", "Routing", "RunDetail", "RunFilter", "RunSummary"]

_FEW = 20  # runs and versions that an explanation shows


class ReadStore(Protocol):
    """Reads, each one consistent view. Error everywhere: `store_unavailable`."""

    def runs(self, wanted: RunFilter, after: tuple[datetime, str] | None, limit: int) -> list[RunSummary]:
        """Newest first, at most `limit`; only those behind `after` (see run_filter.parse_cursor)."""
        ...

    def run(self, run_id: str) -> RunDetail | None:
        """All of a run; None when there is none."""
        ...

    def counts(self) -> Counts:
        """How things stand, in numbers."""
        ...

    def known(self, module: ModulePath, version: Version | None, limit: int) -> Known:
        """What is known of a module, the newest `limit` runs and versions of it."""
        ...

    def mirrors(self, paths: Collection[str]) -> tuple[MirrorView, ...]:
        """What is remembered of these mirrors, by path; those never seen are missing."""
        ...


class Queries:
    """The reading half of modsync, for the API, the pages and the command line."""

    def __init__(self, store: ReadStore, routing: Routing) -> None:
        self._store, self._routing = store, routing

    def runs(self, wanted: RunFilter, cursor: str | None = None, limit: int = 50) -> Page[RunSummary]:
        """A page of runs, newest first. Errors: bad_request with field cursor or limit."""
        after = parse_cursor(cursor) if cursor else None
        found = self._store.runs(wanted, after, check_limit(limit) + 1)
        shown = tuple(found[:limit])
        return Page(shown, make_cursor(shown[-1].created_at, shown[-1].id) if len(found) > limit else None)

    def run(self, identifier: str) -> RunDetail:
        """All of a run, by its id or any of its jobs' ids. Error: not_found."""
        run_id = run_of(identifier.strip())
        run = self._store.run(run_id) if run_id else None
        if run is None:
            raise SyncError("not_found", f"there is no run or job {identifier[:80]!r}")
        log_ids.note(run=run.id, delivery=run.delivery)
        return run

    def counts(self) -> Counts:
        """How things stand, in numbers; cheap, however many runs there are."""
        return self._store.counts()

    def explain(self, module: str, version: str | None = None) -> Explanation:
        """Which rule, clone URL, mirror, tag and proxy apply today, and what is known of the release.

        Error: bad_request (field module or version) when Go would not take the name; no matching rule is an answer.
        """
        path, parsed = parse_release(module, version)
        known = self._store.known(path, parsed, _FEW + 1)
        found = routes(self._routing, path, parsed, known.repo_urls)
        paths = {route.target.mirror for route in found if route.target} | {run.mirror for run in known.runs}
        mirrors, more = self._store.mirrors(paths), len(known.releases) > _FEW
        return Explanation(module, version, found, known.runs[:_FEW], known.releases[:_FEW], mirrors, more)
