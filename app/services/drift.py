"""Are the mirror projects as modsync set them up? What people changed since is named, and mended where asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.errors import SyncError
from app.services.access import AuditStore
from app.services.ports import Clock
from app.services.views import ErrorView, View


@dataclass(frozen=True, slots=True)
class Drift(View):
    """One thing of a mirror project that is not as it shall be; `mendable` False: only a person can decide."""

    what: str
    found: str
    wanted: str
    mendable: bool = True


@dataclass(frozen=True, slots=True)
class MirrorCheck(View):
    """A mirror's result: what drifted and is so still, what was mended, or the error that kept us from looking."""

    mirror: str
    drift: tuple[Drift, ...] = ()
    mended: tuple[Drift, ...] = ()
    error: ErrorView | None = None

    @property
    def good(self) -> bool:
        """True when the mirror is as it shall be."""
        return not self.drift and self.error is None


class Inspector(Protocol):
    """GitLab's side of it."""

    def drift(self, path: str) -> Sequence[Drift]:
        """What is not as it shall be; a mirror that is missing, moved or archived is a SyncError."""
        ...

    def mend(self, path: str) -> None:
        """Set everything mendable up anew; what is right is left alone."""
        ...


def check_mirror(inspector: Inspector, path: str, *, fix: bool) -> MirrorCheck:
    """Look at a mirror, mend it when asked, and look again: what was mended is what is gone."""
    try:
        before = tuple(inspector.drift(path))
    except SyncError as error:
        return MirrorCheck(path, error=ErrorView.of(error.code, error.message))
    if not fix or not any(each.mendable for each in before):
        return MirrorCheck(path, before)
    return _mended(inspector, path, before)


def _mended(inspector: Inspector, path: str, before: tuple[Drift, ...]) -> MirrorCheck:
    """What stopped the mending hides nothing: what is there now is told as well, or what was there when last seen."""
    failed: SyncError | None = None
    after = before
    try:
        inspector.mend(path)
    except SyncError as error:
        failed = error
    try:
        after = tuple(inspector.drift(path))
    except SyncError as error:
        failed = failed or error
    said = ErrorView.of(failed.code, failed.message) if failed else None
    return MirrorCheck(path, after, tuple(each for each in before if each not in after), said)


class MirrorCare:
    """Looks at mirrors, and mends them by somebody's order, which the audit log keeps."""

    def __init__(self, inspector: Inspector, audit: AuditStore, clock: Clock) -> None:
        self._inspector, self._audit, self._clock = inspector, audit, clock

    def check(self, path: str) -> MirrorCheck:
        """Only look; what kept us from looking stands in the result."""
        return check_mirror(self._inspector, path, fix=False)

    def mend(self, path: str, actor: str, reason: str) -> MirrorCheck:
        """Mend what can be. Error: store_unavailable, after it was mended."""
        done = check_mirror(self._inspector, path, fix=True)
        # An error in the middle may have left something changed, so it is told, too.
        if done.mended or done.error:
            before = {each.what: each.found for each in done.mended}
            after = {each.what: each.wanted for each in done.mended} | (
                {"error": done.error.code} if done.error else {}
            )
            self._audit.append(
                actor, "mirror.mend", f"mirror:{path}", self._clock.now(), reason=reason, before=before, after=after
            )  # fmt: skip
        return done
