"""The landing page: how things stand, the last runs, and the ways on. Plain HTML and CSS."""

from __future__ import annotations

from flask import Blueprint, render_template

from app.domain.errors import SyncError
from app.services.run_filter import RunFilter
from app.web.context import container, queries

blueprint = Blueprint("pages", __name__)
_SHOWN = 20


@blueprint.get("/")
def overview() -> str:
    """Counts and the newest runs; Redis being away is said and hides nothing else."""
    page = queries().runs(RunFilter(), None, _SHOWN)
    return render_template(
        "overview.html",
        counts=queries().counts(),
        runs=page.items,
        waiting=_waiting(),
        base_url=container().settings.web.base_url,
    )


def _waiting() -> int | None:
    try:
        return container().queue.depth()
    except SyncError:
        return None
