"""A worker's hold on runs and a mirror: renewed by a beat of its own, so that it lives while git runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from app.domain.errors import SyncError
from app.domain.run import Claim
from app.services.log_ids import carried
from app.services.ports import Clock
from app.services.stopping import Stop
from app.services.stores import FlowStore, MirrorLease

_NOTHING: Mapping[str, Mapping[str, Any]] = {}
log = logging.getLogger(__name__)


class Lease:
    """Renews all that it holds every third of `seconds`; once lost, it stays lost.

    A renewal that fails (database away) does not lose the lease at once: it is lost when its time is over.
    """

    def __init__(self, store: FlowStore, clock: Clock, seconds: float, claims: Sequence[Claim], stop: Stop) -> None:
        self._store, self._clock, self._seconds, self._stopping = store, clock, seconds, stop
        self._claims = {claim.run.id: claim for claim in claims}
        self._mirror: MirrorLease | None = None
        self._until = clock.now().timestamp() + seconds
        self._lost = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=carried(self._beat), name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def add(self, claims: Sequence[Claim], mirror: MirrorLease | None = None) -> None:
        """Hold these too."""
        with self._lock:
            self._claims |= {claim.run.id: claim for claim in claims}
            self._mirror = mirror or self._mirror

    def drop(self, claim: Claim) -> None:
        """Stop renewing a run whose outcome was recorded."""
        with self._lock:
            self._claims.pop(claim.run.id, None)

    def drop_mirror(self) -> None:
        """Stop renewing the mirror's lease."""
        with self._lock:
            self._mirror = None

    def give_up(self) -> None:
        """Let go of everything now, from any thread: whoever works under this lease finds itself overtaken.

        Error: store_unavailable; then the lease's time runs out.
        """
        with self._lock:
            self._lost = True
            claims, mirror = list(self._claims.values()), self._mirror
            self._claims, self._mirror = {}, None
            self._store.give_up(claims, mirror)

    def check(self) -> None:
        """Cheap: SyncError `overtaken` once the lease is lost or its time is over, `interrupted` when we have to end."""
        if self._lost or self._clock.now().timestamp() >= self._until:
            raise SyncError("overtaken", "the lease was lost")
        if self._stopping.overdue:
            raise SyncError("interrupted", "the worker was asked to stop")

    def fence(self, pushing: Mapping[str, Mapping[str, Any]]) -> None:
        """Ask the database now, as before each push, and note by run what is pushed.

        SyncError `overtaken` or `store_unavailable`.
        """
        self._renew(pushing)
        self.check()

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            try:
                self._renew()
            except SyncError as error:
                log.warning("lease_not_renewed", extra={"code": error.code})

    def _renew(self, pushing: Mapping[str, Mapping[str, Any]] = _NOTHING) -> None:
        with self._lock:
            now = self._clock.now()
            if not self._claims and self._mirror is None:
                return
            if self._store.renew(list(self._claims.values()), self._mirror, now, self._seconds, pushing):
                self._until = now.timestamp() + self._seconds
            else:
                self._lost = True
