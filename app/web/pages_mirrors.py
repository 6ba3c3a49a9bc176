"""Mirrors: the list, one of them, whether somebody changed it at GitLab, and what reconcile found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from flask import redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from app.adapters.reconciled_reads import SqlReconciledReads
from app.services.drift import MirrorCare, MirrorCheck
from app.services.run_filter import RunFilter
from app.web.context import container, principal, queries
from app.web.mirror_turns import looked_at
from app.web.orders import reason_of, wrong
from app.web.page import PAGE, blueprint, board, given, missing

_RUNS = 10


@blueprint.get("/mirrors")
def mirrors() -> str:
    """All mirrors that modsync has seen, by path."""
    asked = given(["q", "after"])
    page = board().mirrors(asked.get("q", ""), asked.get("after"), PAGE)
    return render_template("mirrors.html", asked=asked, page=page, check=None)


@blueprint.get("/mirrors/<path:name>")
def mirror(name: str) -> str:
    """One: its project, its drift on demand, what reconcile found, its runs. Error: not_found."""
    if not name.isprintable():
        raise missing("mirror", name)
    row, found = board().mirror(name), reads().repository(name)
    runs = queries().runs(RunFilter(mirror=name), None, _RUNS)
    if row is None and found is None and not runs.items:
        raise missing("mirror", name)
    return render_template(
        "mirror.html", name=name, mirror=row, found=found, runs=runs, check=None, to=given(["to"]).get("to", "")
    )  # fmt: skip


@blueprint.post("/mirrors/check")
def check_mirror() -> str:
    """Ask GitLab whether a mirror is as modsync set it up. Errors: not_found, busy."""
    return _checked(lambda care, path: care.check(path))


@blueprint.post("/mirrors/mend")
def mend_mirror() -> str:
    """Set up anew what was changed; the audit log keeps it. Errors: not_found, busy, bad_request (reason)."""
    reason, who = reason_of(request.form.get("reason")), principal().actor
    return _checked(lambda care, path: care.mend(path, who, reason))


@blueprint.post("/mirrors/move-source")
def move_source() -> AnyResponse:
    """Make a mirror another repository's, and back to its page. Errors: see MoveSource.move."""
    form, who = request.form, principal().actor
    reason = reason_of(form.get("reason"))
    moved = container().mirror_sources.move(form.get("mirror", ""), form.get("to", ""), who, reason)
    return redirect(f"/mirrors/{quote(moved.mirror)}", 303)


@blueprint.get("/reconcile")
def reconciled() -> str:
    """Repositories by mirror, with what reconcile last found."""
    asked = given(["people", "after"])
    page = reads().repositories(asked.get("after"), PAGE, people="people" in asked)
    return render_template(
        "reconcile.html", asked=asked, page=page, hours=container().settings.reconcile.interval_hours
    )


def reads() -> SqlReconciledReads:
    """What reconcile left; cheap to make."""
    return SqlReconciledReads(container().engine)


@blueprint.app_template_filter("key")
def key(text: str) -> str:
    """An element's id for any text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _checked(act: Callable[[MirrorCare, str], MirrorCheck]) -> str:
    path = request.form.get("mirror", "")
    if not path.isprintable():
        raise wrong("mirror", "must be a mirror's path")
    return render_template("drift.html", **_values(path, looked_at(path, act)))


def _values(path: str, check: MirrorCheck) -> dict[str, Any]:
    return {
        "name": path, "check": check, "checked_at": container().clock.now(),
        "small": bool(request.form.get("small")),
    }  # fmt: skip
