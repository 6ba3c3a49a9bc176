"""Looks at GitLab's token in the background: a GitLab that hangs must not hold up who calls this."""

from __future__ import annotations

import logging
import threading

from app.bootstrap import Container

log = logging.getLogger(__name__)
# How often it is asked whether a look is due; the looks themselves are hours apart.
_ASK_SECONDS = 60.0


def start(container: Container, stop: threading.Event) -> None:
    """Look until `stop` is set; the thread ends with the process."""
    threading.Thread(target=_look, args=(container, stop), name="token-watch", daemon=True).start()


def _look(container: Container, stop: threading.Event) -> None:
    while True:
        try:
            container.token_watch.once()
        except Exception:
            log.exception("token_watch_defect")  # it must go on, and nobody else may suffer
        if stop.wait(_ASK_SECONDS):
            return
