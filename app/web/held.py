"""For the first page: what is paused, and what reconcile last found."""

from __future__ import annotations

from typing import Any

from app import upkeep
from app.domain.pause import PauseKind
from app.web.context import container, standing


def values() -> dict[str, Any]:
    """`pauses`, how many runs are `parked`, the `reconcile` summary. Error: store_unavailable."""
    store = upkeep.pause_store(container())
    pauses = store.pauses()
    return {
        "pauses": pauses, "parked": store.count_parked() if pauses else 0, "pause_kinds": list(PauseKind),
        "reconcile": standing().reconcile(), "reconcile_hours": container().settings.reconcile.interval_hours,
    }  # fmt: skip
