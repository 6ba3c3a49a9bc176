"""For the first page: what is paused, and what reconcile last found."""

from __future__ import annotations

from typing import Any, cast

from flask import current_app

from app import upkeep
from app.adapters.reconciled_reads import SqlReconciledReads
from app.domain.pause import PauseKind
from app.services.reconciled import LastReconcile
from app.web.context import container
from app.web.remembered import Remembered

_SECONDS = 30.0
_SHOWN = 5
_LAST = "modsync_last_reconcile"


def values() -> dict[str, Any]:
    """`pauses`, how many runs are `parked`, the `reconcile` summary. Error: store_unavailable."""
    store = upkeep.pause_store(container())
    pauses = store.pauses()
    return {
        "pauses": pauses, "parked": store.count_parked() if pauses else 0, "pause_kinds": list(PauseKind),
        "reconcile": _last(), "reconcile_hours": container().settings.reconcile.interval_hours,
    }  # fmt: skip


def _last() -> LastReconcile:
    """Asked every two seconds by each reader: made anew every half minute."""
    made = Remembered(lambda: SqlReconciledReads(container().engine).last(_SHOWN), _SECONDS)
    return cast("Remembered[LastReconcile]", current_app.extensions.setdefault(_LAST, made)).get()
