"""Builds what answers Athens' questions. Part of the composition root."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

from app import upkeep
from app.adapters.access_audit import AccessAudit
from app.adapters.read_store import SqlReadStore
from app.adapters.repository_store import SqlRepositoryStore
from app.bootstrap import Container
from app.domain.admission import Admission
from app.domain.modules import ModulePath
from app.services.hurried import Hurried
from app.services.reconcile_values import Repository
from app.services.validation import Validation
from app.services.wanted import Wanted

log = logging.getLogger(__name__)

AUDIT_FILE = "access-audit.jsonl"
PATIENCE_SECONDS = 0.5  # for the database, of a build that waits for Athens


class AthensHook:
    """One for each process: it remembers what was asked for. Nothing is built, and no thread runs, before its first use."""

    def __init__(self, container: Container) -> None:
        self._container = container

    @cached_property
    def audit(self) -> AccessAudit:
        """The access audit in the data directory."""
        return AccessAudit(self._container.settings.data_dir / AUDIT_FILE)

    @cached_property
    def validation(self) -> Validation:
        """The service behind the hook."""
        parts, athens = self._container, self._container.settings.athens
        records = Hurried(SqlReadStore(parts.engine, parts.clock), seconds=PATIENCE_SECONDS)
        return Validation(
            Admission(athens.allow, athens.block), records, self._is_private, self._unknown,
            block_moved=athens.block_moved,
        )  # fmt: skip

    @cached_property
    def wanted(self) -> Wanted:
        """Begins reconciles of private modules without a record."""
        parts = self._container
        return Wanted(self._repository_of, SqlRepositoryStore(parts.engine), parts.queue, parts.clock)

    @cached_property
    def _behind(self) -> ThreadPoolExecutor:
        # Athens' client does not wait for Redis; what is handed over is bounded by Wanted.
        return ThreadPoolExecutor(1, thread_name_prefix="wanted")

    def _unknown(self, module: ModulePath) -> None:
        if self.wanted.take(module):
            self._behind.submit(self._begin, module)

    def _begin(self, module: ModulePath) -> None:
        try:
            self.wanted.begin(module)
        except Exception:
            log.exception("wanted_defect")  # a pool's thread would keep it to itself

    def _repository_of(self, module: ModulePath) -> Repository:
        return upkeep.reconcile(self._container).repository_of(module)

    def _is_private(self, module: ModulePath) -> bool:
        return bool(self._container.planner.sources_of(module))
