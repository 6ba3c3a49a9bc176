"""`/openapi.json` (OpenAPI 3.1, out of one table) and `/api/docs`, a page of it that asks no other host for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from flask import Blueprint, render_template

from app.domain.access import Scope
from app.services.deliveries import VERDICTS
from app.services.run_filter import LONGEST_PAGE
from app.web import openapi_webhooks as webhooks
from app.web.context import container
from app.web.openapi_schemas import SCHEMAS, Schema, ref

blueprint = Blueprint("openapi", __name__)

# An empty value is the same as none.
_WORDS: Schema = {"type": "string"}
_TIME: Schema = {
    "type": "string",
    "pattern": "^$|^[0-9]{1,4}[smhd]$|^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$",
}
_STATUS: Schema = {
    "type": "string",
    "pattern": "^$|^(queued|mirror|pipeline|verify|done|failed|rejected|active|ended)$",
}
_CURSOR: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{0,200}$"}
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": 50}
_COMMIT: Schema = {"type": "string", "pattern": "^$|^[0-9a-fA-F]{7,64}$"}
_PAGE = {"limit": _LIMIT, "cursor": _CURSOR}
_NAMED = {"q": _WORDS, "after": _WORDS, "limit": _LIMIT}
_YES_OR_NO: Schema = {"type": "string", "enum": ["", "true", "false"]}
_CODE: Schema = {"type": "string", "minLength": 1}
_IDENTIFIER: Schema = {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[A-Za-z0-9_-]+$"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path: what it is for, its parameters, body and answers (status -> schema's name, "": no body).

    `text`: the answers that are text, not JSON. `signed`: by which headers, where it is no token; `form`: the body as a form;
    `headers`: others that count. `optional`: a token is one of the ways in.
    """

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, str]
    query: Mapping[str, Schema] | None = None
    required: Sequence[str] = ()
    body: str = ""
    body_required: bool = False
    open: bool = False
    optional: bool = False
    signed: Sequence[Mapping[str, list[str]]] = ()
    form: str = ""
    headers: Mapping[str, Schema] | None = None
    text: Mapping[int, str] | None = None


_RUN_FILTERS: dict[str, Schema] = {
    "module": _WORDS, "version": _WORDS, "commit": _COMMIT, "status": _STATUS, "source": _WORDS, "error": _WORDS,
    "mirror": _WORDS, "since": _TIME, "until": _TIME, "q": _WORDS,
}  # fmt: skip
_DELIVERY_FILTERS: dict[str, Schema] = {
    "source": _WORDS, "verdict": {"type": "string", "enum": ["", *VERDICTS]}, "since": _TIME, "until": _TIME,
    "failed": {"type": "string", "enum": ["", "true", "false"]},
}  # fmt: skip

_REFUSED: dict[int, str] = dict.fromkeys((401, 413, 429, 503), "Error")
_ALL: Mapping[str, Schema] = {**SCHEMAS, **webhooks.SCHEMAS}

OPERATIONS: tuple[Operation, ...] = (
    Operation("post", "/webhooks/{source}", "receive", "Take a signed webhook (docs/webhooks.md).",
              {200: "Received", 202: "Received", **_REFUSED}, body="WebhookBody", body_required=True,
              signed=webhooks.BY_SCHEME, form="WebhookForm", headers=webhooks.EVENT_HEADERS),
    Operation("post", "/hooks/gitlab", "pipelineEvent", "Take GitLab's pipeline event (docs/gitlab.md).",
              {200: "Woken", **_REFUSED}, body="PipelineBody", signed=webhooks.BY_GITLAB),
    Operation("get", "/api/runs", "listRuns", "Runs, newest first.", {200: "RunPage"}, {**_RUN_FILTERS, **_PAGE}),
    Operation("get", "/api/runs/{identifier}", "getRun", "All of a run, by its own or a job's id.", {200: "Run"}),
    Operation("post", "/api/runs/{identifier}/replay", "replayRun", "Begin a new attempt.", {202: "Replayed"},
              body="Replay"),
    Operation("post", "/api/runs/{identifier}/cancel", "cancelRun", "End a run that is in flight.", {200: "Cancelled"},
              body="Why"),
    Operation("get", "/api/now", "now", "How things stand.", {200: "Now"}, {"limit": _LIMIT}),
    Operation("get", "/api/modules", "listModules", "Modules by path.", {200: "NamedPage"}, _NAMED),
    Operation("get", "/api/mirrors", "listMirrors", "Mirrors by path.", {200: "NamedPage"}, _NAMED),
    Operation("get", "/api/reconcile", "listReconciled", "What reconcile last found, by mirror.", {200: "NamedPage"},
              {"mirror": _WORDS, "people": _YES_OR_NO, "after": _WORDS, "limit": _LIMIT}),
    Operation("post", "/api/mirrors/check", "checkMirror", "Ask GitLab whether a mirror is as modsync set it up.",
              {200: "MirrorCheck"}, body="MirrorName", body_required=True),
    Operation("post", "/api/mirrors/mend", "mendMirror", "Set up anew what was changed (administrators).",
              {200: "MirrorCheck"}, body="MendMirror", body_required=True),
    Operation("post", "/api/mirrors/move-source", "moveSource", "Make a mirror another repository's (administrators).",
              {200: "SourceMoved"}, body="MoveSource", body_required=True),
    Operation("get", "/api/failures", "listFailures", "The codes that runs failed with since then.",
              {200: "Failures"}, {"since": _TIME}),
    Operation("get", "/api/replays", "planReplays", "What a replay of all that failed with a code would do.",
              {200: "ReplayPlan"}, {"code": _CODE, "since": _TIME, "after": _CURSOR, "limit": _LIMIT}, ("code",)),
    Operation("post", "/api/replays", "replayRuns", "Replay exactly these runs.", {200: "ReplayedRuns"},
              body="ReplayRuns", body_required=True),
    Operation("get", "/api/deliveries", "listDeliveries", "Authentic webhook requests, newest first.",
              {200: "DeliveryPage"}, {**_DELIVERY_FILTERS, **_PAGE}),
    Operation("get", "/api/deliveries/{identifier}", "getDelivery", "All of a delivery.", {200: "DeliveryDetail"}),
    Operation("post", "/api/deliveries/{identifier}/redeliver", "redeliver", "Take a delivery once more.",
              {200: "Received", 202: "Received"}, body="Why"),
    Operation("get", "/api/explain", "explain", "Which rule, mirror, tag and proxy apply to a module.",
              {200: "Explanation"}, {"module": _WORDS, "version": _WORDS}, ("module",)),
    Operation("post", "/api/moves", "acceptMove", "Let a released version move to another commit.",
              {202: "Replayed"}, body="Move", body_required=True),
    Operation("get", "/api/sources", "listSources", "The sources' secrets and when each last matched.",
              {200: "Sources"}),
    Operation("post", "/api/sources/{source}/test", "testSource", "A test delivery for a source (administrators).",
              {200: "Rehearsal"}, body="Sample"),
    Operation("get", "/api/pauses", "listPauses", "What is paused, by whom and why.", {200: "Pauses"}),
    Operation("post", "/api/pauses", "pause", "Stop working on all, a source, a module or a host.",
              {200: "Paused"}, body="Pause", body_required=True),
    Operation("post", "/api/pauses/end", "resume", "Go on with what was paused.", {200: "Resumed"},
              body="PauseName", body_required=True),
    Operation("get", "/api/audit", "listAudit", "The audit log, oldest first (administrators).", {200: "Audit"},
              {"after": {"type": "string", "pattern": "^[0-9]{0,15}$"}, "limit": _LIMIT}),
    Operation("get", "/api/gitlab", "gitlabLogin", "modsync's login at GitLab.", {200: "GitLabLogin"}),
    Operation("post", "/athens/validate/{secret}", "validate", "Athens asks whether it may hand out a version (docs/athens.md).",
              {200: ""}, body="AthensQuestion", body_required=True, open=True, text={403: "Why not, in one word."}),
    Operation("get", "/setup.sh", "setupScript", "A script that makes a machine use the private proxy.",
              {404: "Error"}, open=True, text={200: "The script, for sh."}),
    Operation("get", "/metrics", "metrics", "For Prometheus; by [access] metrics_networks also without a token.", {},
              optional=True, text={200: "Prometheus' text format."}),
    Operation("get", "/openapi.json", "description", "This description.", {200: "Description"}),
    Operation("get", "/healthz", "alive", "This process answers.", {200: "Alive"}, open=True),
    Operation("get", "/readyz", "ready", "Deliveries can be recorded.", {200: "Ready", 503: "Ready"}, open=True),
)  # fmt: skip


_BESIDE = (
    "All that machines ask for, but for one question: `GET https://<module path>?go-get=1` (docs/gitlab.md) has no path of its"
    " own, for its host and path are the module's. Pages for people, and the dashboard under /rq, are no part of it."
)
_BEARER = (
    "The admin token, or an API token. One that was made with scopes opens these groups of addresses only, within its role: "
    + ", ".join(Scope)
)


@blueprint.get("/openapi.json")
def description() -> dict[str, Any]:
    """The whole API, for machines."""
    settings = container().settings
    return document(settings.web.base_url, [source.name for source in settings.sources])


@blueprint.get("/api/docs")
def docs() -> str:
    """The whole API, for people."""
    return render_template(
        "api_docs.html", operations=OPERATIONS, schemas=_ALL, signatures=webhooks.SECURITY, known=True
    )


def document(base_url: str, sources: Sequence[str] = ()) -> dict[str, Any]:
    """The OpenAPI document; `sources`: the configured ones."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, sources)
    bearer = {"type": "http", "scheme": "bearer", "description": _BEARER}
    return {
        "openapi": "3.1.0",
        "info": {"title": "modsync", "version": version("modsync"), "description": _BESIDE},
        "servers": [{"url": base_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {"securitySchemes": {"bearer": bearer, **webhooks.SECURITY}, "schemas": _ALL},
    }


def _operation(operation: Operation, sources: Sequence[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    parameters = [*_path_parameters(operation, sources), *_query_parameters(operation), *_header_parameters(operation)]
    if parameters:
        described["parameters"] = parameters
    if operation.body:
        content = {"application/json": {"schema": ref(operation.body)}}
        if operation.form:
            content["application/x-www-form-urlencoded"] = {"schema": ref(operation.form)}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    if operation.open or operation.signed:
        described["security"] = [*operation.signed]
    elif operation.optional:
        described["security"] = [{"bearer": []}, {}]
    answers = {str(status): _answer(name) for status, name in operation.answers.items()}
    texts = {str(status): _text(said) for status, said in (operation.text or {}).items()}
    described["responses"] = {**_linked(operation, answers), **texts, "default": _answer("Error")}
    return described


def _path_parameters(operation: Operation, sources: Sequence[str]) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in operation.path.split("/") if part.startswith("{")]
    known: Schema = {"type": "string", "enum": [*sources]} if sources else _IDENTIFIER
    schemas = {"source": known}
    return [{"name": name, "in": "path", "required": True, "schema": schemas.get(name, _IDENTIFIER)} for name in names]


def _header_parameters(operation: Operation) -> list[dict[str, Any]]:
    headers = operation.headers or {}
    return [{"name": name, "in": "header", "required": False, "schema": schema} for name, schema in headers.items()]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    query = operation.query or {}
    return [
        {"name": name, "in": "query", "required": name in operation.required, "schema": schema}
        for name, schema in query.items()
    ]


def _text(said: str) -> dict[str, Any]:
    return {"description": said, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _answer(name: str) -> dict[str, Any]:
    if not name:
        return {"description": "no body"}
    return {"description": name, "content": {"application/json": {"schema": ref(name)}}}


# Where a list's items lead: (operation, its answer) -> the operations that take an item's id.
_LINKS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "listRuns": ("$response.body#/runs/0/id", ("getRun", "replayRun", "cancelRun")),
    "listDeliveries": ("$response.body#/deliveries/0/id", ("getDelivery", "redeliver")),
}


def _linked(operation: Operation, answers: dict[str, Any]) -> dict[str, Any]:
    if operation.name in _LINKS:
        where, targets = _LINKS[operation.name]
        links = {name: {"operationId": name, "parameters": {"identifier": where}} for name in targets}
        answers["200"]["links"] = links
    return answers
