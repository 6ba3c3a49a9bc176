"""Pause and resume, by an operator's order; and the waking of runs that nothing holds any more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.nearest import nearest
from app.domain.pause import Parked, Pause, PauseKind, check_value, kept_value
from app.services.ports import Clock

_BATCH = 200
_MOST = 10_000  # that are counted one by one


class PauseStore(Protocol):
    """Pauses, and the runs that wait for them. Errors: store_unavailable."""

    def pauses(self) -> Sequence[Pause]:
        """All pauses, oldest first."""
        ...

    def add(self, pause: Pause) -> bool:
        """Record a pause, in the audit log, too; False when it is there already."""
        ...

    def remove(self, kind: PauseKind, value: str, actor: str, now: datetime, reason: str = "") -> bool:
        """End a pause; False when there is none."""
        ...

    def parked(self, limit: int) -> Sequence[Parked]:
        """Runs that were told to wait for a pause, the last ones first."""
        ...

    def count_parked(self) -> int:
        """How many there are."""
        ...

    def wake(self, run_ids: Sequence[str] | None, now: datetime) -> int:
        """Let these runs (None: all that are parked) go on; how many did."""
        ...


@dataclass(frozen=True, slots=True)
class Reach:
    """What the configuration lets a pause hold. `sources`: all there are, None: not known; `targets`: hosts that nothing
    is cloned from, and what each is."""

    sources: Collection[str] | None = None
    targets: Mapping[str, str] = field(default_factory=dict)

    def holds_nothing(self, kind: PauseKind, value: str) -> str:
        """Why a pause would hold nothing, and what to do; empty when it may hold something."""
        if kind is PauseKind.HOST and (what := self.targets.get(value)):
            return f"nothing is cloned from {value}, it is {what}: pause all, a source or modules instead"
        if kind is PauseKind.SOURCE and self.sources is not None and value not in self.sources:
            return f"there is no source {value}. {nearest(value, self.sources)}"
        return ""


NOTHING_KNOWN = Reach()


class Pausing:
    """The service behind `modsync pause`, `resume` and `pauses`."""

    def __init__(self, store: PauseStore, clock: Clock, reach: Reach = NOTHING_KNOWN) -> None:
        self._store, self._clock, self._reach = store, clock, reach

    def pause(self, kind: PauseKind, value: str, actor: str, reason: str) -> bool:
        """Stop working on these from now on; a step in hand ends first. False: it was paused. Error: bad_request."""
        kept = check_value(kind, value)
        if why := self._reach.holds_nothing(kind, kept):
            raise SyncError("bad_request", why, field="value")
        return self._store.add(Pause(kind, kept, actor, reason, self._clock.now()))

    def resume(self, kind: PauseKind, value: str, actor: str, reason: str = "") -> int:
        """End the pause; how many runs go on, for which no other pause holds. Errors: bad_request, not_found."""
        now = self._clock.now()
        if not self._store.remove(kind, kept_value(kind, value), actor, now, reason):
            raise SyncError("not_found", f"there is no pause of {kind} {value}".rstrip())
        parked = self._store.parked(_MOST)
        free = len(self._free(parked))
        # All of them: whoever has to wait for another pause is parked again by its worker, and says for which.
        woken = self._store.wake(None, now)
        return free if len(parked) < _MOST else woken

    def wake_forgotten(self) -> int:
        """Wake runs that were parked while their pause was being ended; looked at now and then by the sweeper."""
        free = self._free(self._store.parked(_BATCH))
        return self._store.wake(free, self._clock.now()) if free else 0

    def _free(self, parked: Sequence[Parked]) -> list[str]:
        """Those that no pause covers."""
        pauses = self._store.pauses() if parked else ()
        return [run.id for run in parked if not any(map(run.is_held, pauses))]
