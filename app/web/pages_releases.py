"""The search over all runs."""

from __future__ import annotations

from flask import Response, redirect, render_template
from werkzeug.wrappers import Response as AnyResponse

from app.domain.errors import SyncError
from app.domain.ids import run_of
from app.domain.run import Status
from app.services.run_filter import RunFilter
from app.services.views import Page, RunSummary
from app.web.context import container, queries
from app.web.page import PAGE, blueprint, given, typed

_FIELDS = ("q", "module", "version", "commit", "status", "source", "error", "mirror", "since", "until")


@blueprint.get("/releases")
def releases() -> AnyResponse:
    """Runs that match, newest first, in pages; a run's or job's id leads to its page. A wrong field is said beside it."""
    asked = typed(_FIELDS)
    run_id = run_of(asked.get("q", ""))
    if run_id:
        return redirect(f"/runs/{asked['q']}", 303)
    cursor = given(["cursor"])
    error: SyncError | None = None
    page: Page[RunSummary] = Page((), None)
    try:
        wanted = RunFilter.parse(asked, container().clock.now())
        page = queries().runs(wanted, cursor.get("cursor"), PAGE)
    except SyncError as caught:
        if caught.code != "bad_request":
            raise
        error = caught
    sources = [source.name for source in container().settings.sources]
    shown = render_template(
        "releases.html", asked=asked, page=page, error=error, sources=sources,
        statuses=["active", "ended", *Status], cursor=cursor,
    )  # fmt: skip
    return Response(shown, 422 if error else 200)
