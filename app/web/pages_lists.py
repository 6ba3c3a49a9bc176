"""Modules."""

from __future__ import annotations

from flask import render_template

from app.domain.errors import SyncError
from app.services.board import MOST
from app.services.explain import Explanation
from app.services.run_filter import RunFilter
from app.web.context import queries
from app.web.page import PAGE, blueprint, board, given, missing


@blueprint.get("/modules")
def modules() -> str:
    """All modules that were ever reported, by path."""
    asked = given(["q", "after"])
    page = board().modules(asked.get("q", ""), asked.get("after"), PAGE)
    return render_template("modules.html", asked=asked, page=page, most=MOST)


@blueprint.get("/modules/<path:name>")
def module(name: str) -> str:
    """A module: where it goes, its versions, its runs. Error: not_found for one that nobody reported or routes."""
    if not name.isprintable():
        raise missing("module", name)
    explanation, error = _explained(name)
    runs = queries().runs(RunFilter(module=name), None, PAGE)
    if not runs.items and (explanation is None or not explanation.routed):
        raise missing("module", name)
    return render_template("module.html", name=name, found=explanation, error=error, page=runs)


def _explained(name: str) -> tuple[Explanation | None, SyncError | None]:
    try:
        return queries().explain(name), None
    except SyncError as error:
        if error.code != "bad_request":
            raise
        return None, error  # a delivery may have named what Go would not take
