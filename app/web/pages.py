"""The first page: how things stand. The other pages are in pages_*.py; all of them are on page.blueprint."""

from __future__ import annotations

from flask import render_template

from app.web import (
    pages_audit,
    pages_bulk,
    pages_deliveries,
    pages_lists,
    pages_mirrors,
    pages_pauses,
    pages_releases,
    pages_run,
    pages_sources,
    standing,
)
from app.web.page import blueprint

__all__ = [
    "blueprint",
    "pages_audit",
    "pages_bulk",
    "pages_deliveries",
    "pages_lists",
    "pages_mirrors",
    "pages_pauses",
    "pages_releases",
    "pages_run",
    "pages_sources",
]


@blueprint.get("/")
def now() -> str:
    """What runs, waits, failed and is blocked; health; the service level. Without a database or Redis it says so."""
    return render_template("now.html", **standing.values())


@blueprint.get("/live/now")
def now_live() -> str:
    """The parts of the first page that change, for static/live.js."""
    return render_template("_now_live.html", **standing.values())
