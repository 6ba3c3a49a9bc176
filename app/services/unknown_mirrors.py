"""Mirrors that the database does not know, as after a restore: found in GitLab, and named by the rules read backwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.routing import Rule, mirror_prefixes, modules_of_mirror
from app.services.pace import Paced
from app.services.ports import Checkpoint
from app.services.reconcile import Reconcile
from app.services.reconcile_values import Repository, RepositoryStore

log = logging.getLogger(__name__)


class MirrorProjects(Protocol):
    """GitLab's projects, page by page."""

    def below(self, prefix: str, after: int) -> Sequence[tuple[int, str]]:
        """(id, full path) of the next projects whose path begins with the prefix's elements, by id; [] at the end."""
        ...


class UnknownMirrors:
    """Looks at all projects below the fixed parts of the rules' mirrors: one request for a hundred of them."""

    def __init__(
        self, projects: MirrorProjects, rules: Sequence[Rule], store: RepositoryStore, reconcile: Reconcile, pace: Paced,
        checkpoint: Checkpoint = lambda: None,
    ) -> None:  # fmt: skip
        self._projects, self._rules, self._store = projects, rules, store
        self._reconcile, self._pace, self._checkpoint = reconcile, pace, checkpoint

    def find(self) -> list[Repository]:
        """The repositories of mirrors that are not known; one that no rule names again is left out, and logged.

        Errors: those of GitLab, store_unavailable, interrupted.
        """
        unknown = [path for path in self._paths() if self._store.find(path) is None]
        named = [found for path in unknown if (found := self._repository(path))]
        log.info("unknown_mirrors", extra={"mirrors": len(unknown), "named": len(named)})
        return named

    def note(self, now: datetime) -> int:
        """Find them, and add them to the list of repositories; how many."""
        found = self.find()
        for repository in found:
            self._store.note(repository)
        self._store.searched(now)
        return len(found)

    def _paths(self) -> Iterator[str]:
        seen: set[str] = set()
        for prefix in mirror_prefixes(self._rules):
            after = 0
            while page := self._page(prefix, after):
                yield from (path for _, path in page if path not in seen)
                seen.update(path for _, path in page)
                after = page[-1][0]

    def _page(self, prefix: str, after: int) -> Sequence[tuple[int, str]]:
        self._checkpoint()
        self._pace.wait()
        return self._projects.below(prefix, after)

    def _repository(self, path: str) -> Repository | None:
        for module in modules_of_mirror(self._rules, path):
            try:
                found = self._reconcile.repository_of(module)
            except SyncError as error:
                if error.code == "store_unavailable":
                    raise
                continue
            if found.mirror == path:
                return found
        log.info("mirror_not_named", extra={"mirror": path})
        return None
