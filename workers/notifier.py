"""Tells people beside the sweeper's own work: in threads of its own, so that no receiver holds up a recovery."""

from __future__ import annotations

import logging
import threading
import time

from app import notices
from app.bootstrap import Container
from app.domain.errors import SyncError
from app.services.duty import Duty
from app.services.notify import Notifying

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0


def start(container: Container, stop: threading.Event) -> None:
    """Notify until `stop` is set: one thread that decides, and one for each receiver; all end with the process."""
    notifier = Notifier(notices.notifying(container), notices.notify_duty(container), stop)
    threading.Thread(target=notifier.decide, name="notify", daemon=True).start()
    for name in notifier.names:
        threading.Thread(target=notifier.send, args=(name,), name=f"send-{name}", daemon=True).start()


class Notifier:
    """One process's part in notifying; `mine` is set while it is this one's duty."""

    def __init__(self, service: Notifying, duty: Duty, stop: threading.Event) -> None:
        self._service, self._duty, self._stop = service, duty, stop
        self._mine = threading.Event()
        self._pruned_at = time.monotonic()
        self.names = tuple(service.addressees)

    def decide(self) -> None:
        """Turn outcomes into messages, again and again. Whatever goes wrong is logged: the next look is a second away."""
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except SyncError as error:
                self._mine.clear()
                log.warning("notify_failed", extra={"code": error.code, "error": error.message})
            except Exception:
                self._mine.clear()
                log.exception("notify_defect")
        self._leave()

    def send(self, name: str) -> None:
        """Send this receiver's messages one after the other while the duty is ours."""
        while not self._stop.wait(LOOK_SECONDS):
            try:
                while self._mine.is_set() and not self._stop.is_set() and self._service.send_next(name):
                    pass
            except SyncError as error:
                log.warning("notify_failed", extra={"receiver": name, "code": error.code, "error": error.message})
            except Exception:
                log.exception("notify_defect", extra={"receiver": name})

    def _look(self) -> None:
        if not self._duty.mine():
            self._mine.clear()
            return
        self._mine.set()
        self._service.settle()
        if time.monotonic() - self._pruned_at > _PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            self._service.prune()

    def _leave(self) -> None:
        try:
            self._duty.leave()
        except SyncError as error:
            log.debug("duty_not_left", extra={"code": error.code})
