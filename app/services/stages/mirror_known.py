"""The mirror's project as it is remembered, and as GitLab has it now: git is let near it only when they are the same.

GitLab creates a project for a maintainer whose git asks for one that does not exist, without settings and protected refs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.domain.errors import SyncError
from app.services.ports import MirrorProject


class Known:
    """`find` asks GitLab, once, in the thread that needs the answer first; the other waits for it."""

    def __init__(self, remembered: MirrorProject | None, find: Callable[[str], MirrorProject | None]) -> None:
        self._remembered, self._find = remembered, find
        self._lock = threading.Lock()
        self._asked = False
        self._found: MirrorProject | None = None
        self._error: SyncError | None = None

    def project(self) -> MirrorProject | None:
        """The remembered project, where it is still there. Errors: those of GitLab.find_project."""
        if self._remembered is None:
            return None
        self._ask(self._remembered.path)
        if self._error:
            raise self._error
        return self._found if self._found and self._found.id == self._remembered.id else None

    def is_same(self) -> bool:
        """Whether it is still there, as far as GitLab says."""
        try:
            return self.project() is not None
        except SyncError:
            return False

    def _ask(self, path: str) -> None:
        with self._lock:
            if self._asked:
                return
            try:
                self._found = self._find(path)
            except SyncError as error:
                self._error = error
            self._asked = True
