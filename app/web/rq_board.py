"""The RQ dashboard under /rq, made safe: same login, JSON only, nothing changes but by replay.

What rq-dashboard 0.9 does by itself, and what is done about it here:
- it loads jobs and workers with pickle, which runs code of whoever writes to Redis: JSON is given to each load;
- its before_request makes a Redis client per request and fails on addresses without a route: ours stands in its place;
- names from the address go into a script without quoting, wrong ones end in 500: they are checked first;
- its pages need inline scripts, eval and inline styles, and do not escape the text in their tables (open issue 526): ours
  stand in their place (templates/rq_dashboard, static/rq.js, static/rq_show.js), under the policy of all pages;
- its pages of jobs overlap from the second on: rq_lists counts for it;
- requeue, also by GET, delete and empty go past the database, which is the truth: a requeue is a replay, the rest is off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

from flask import Flask, Response, g, jsonify, make_response, request
from rq import Worker
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq_dashboard import blueprint, web
from werkzeug.exceptions import MethodNotAllowed, NotFound

from app.adapters.job_queue import LIVE, redis_for_enqueue, where
from app.bootstrap import Container
from app.domain.errors import SyncError
from app.domain.ids import run_of
from app.web import security
from app.web.api import operator, replay_answer
from app.web.errors import sync_error
from app.web.rq_lists import jobs_of_page

_REGISTRIES = {"queued", "scheduled", "deferred", "started", "finished", "failed", "canceled"}
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def _number(most: int) -> Callable[[str], bool]:
    return lambda text: bool(re.fullmatch(r"[1-9][0-9]{0,5}", text)) and int(text) <= most


# What may stand in a dashboard address, by the name of its part.
_PARTS: Mapping[str, Callable[[str], bool]] = {
    "instance_number": lambda text: text == "0",
    "queue_name": lambda text: bool(_WORD.fullmatch(text)),
    "registry_name": lambda text: text in _REGISTRIES,
    "order": lambda text: text in ("asc", "dsc"),
    "per_page": _number(200),
    "page": _number(999_999),
    "job_id": lambda text: bool(_WORD.fullmatch(text)),
    # Its scripts stay away: the policy would let each of them run.
    "filename": lambda text: text in ("css/bootstrap.min.css", "css/main.css"),
}
_OFF = {
    "rq_dashboard.requeue_all": "replay each run by its id (modsync replay ID, or POST /api/runs/<id>/replay)",
    "rq_dashboard.delete_job_view": "jobs are only hints that there is work: deleting one would not cancel its run",
    "rq_dashboard.empty_queue": "jobs are only hints that there is work: the sweeper would enqueue them again",
    # It renames the live queue and pushes its jobs again one by one: a death in between loses the rest.
    "rq_dashboard.compact_queue": "a job that Redis forgot is dropped by the worker that meets it",
}


class _BoardJob(Job):
    """With the ids of what it depends on as bytes: rq-dashboard 0.9 decodes them, RQ 3 did already."""

    @property
    def dependency_ids(self) -> list[bytes]:  # type: ignore[override]
        """In any order."""
        return [name.encode() for name in super().dependency_ids]


def register(app: Flask, parts: Container) -> None:
    """Mount the dashboard; nothing connects yet."""
    web.config.serializer = JSONSerializer
    web.Job = SimpleNamespace(fetch=partial(_BoardJob.fetch, serializer=JSONSerializer))
    web.Worker = SimpleNamespace(all=partial(Worker.all, serializer=JSONSerializer))
    web.get_queue_registry_jobs_count = jobs_of_page
    # For display only: the dashboard shows it to whoever is logged in.
    app.config["RQ_DASHBOARD_REDIS_URL"] = (where(parts.redis_url),)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = redis_for_enqueue(parts.redis_url)  # type: ignore[attr-defined]  # where its views look for it
    app.register_blueprint(blueprint, url_prefix="/rq")
    app.before_request_funcs["rq_dashboard"] = [_before]
    app.context_processor(lambda: {"run_of": run_of})
    app.register_error_handler(NoSuchJobError, _no_such_job)


def _before() -> Response | None:
    view_args: dict[str, Any] = request.view_args or {}
    if "queue_name" in view_args and view_args["queue_name"] is None:
        view_args["queue_name"] = LIVE  # "Jobs" in its menu would show a queue that modsync does not have
    for name, check in _PARTS.items():
        if name in view_args and not check(str(view_args[name])):
            raise NotFound
    return _change(request.endpoint or "", view_args)


def _change(endpoint: str, view_args: Mapping[str, Any]) -> Response | None:
    """What is done instead of the dashboard's own changes; None for what it may do itself."""
    requeue = endpoint == "rq_dashboard.requeue_job_view"
    if (requeue or endpoint in _OFF) and not security.changes_state():
        raise MethodNotAllowed(valid_methods=["POST"])  # OPTIONS comes here, too: Flask answers it only behind us
    if requeue:
        return _replay(str(view_args["job_id"]))
    if endpoint in _OFF:
        raise SyncError("bad_request", f"this is off in modsync: {_OFF[endpoint]}")
    return None


def _replay(job_id: str) -> Response:
    if run_of(job_id) is None:
        raise SyncError("bad_request", "this is not a job of modsync's: it can only be replayed where it came from")
    begun = operator().replay(job_id, None, "requeued in the RQ dashboard", force=False)
    return make_response(jsonify({**replay_answer(begun), "status": "OK"}), 202)


def _no_such_job(_error: NoSuchJobError) -> Response:
    job_id = str((request.view_args or {}).get("job_id", ""))
    g.run = run_of(job_id)  # the page links to it
    known = f"; the run is at /runs/{job_id}" if g.run else ""
    return sync_error(SyncError("not_found", f"Redis does not hold this job (any more){known}"))
