"""The shapes of modsync's answers, as JSON Schema 2020-12 (OpenAPI 3.1's own). New fields may be added to any of them."""

from __future__ import annotations

from typing import Any

from app.domain.pause import PauseKind
from app.domain.run import Stage, Status
from app.services.bulk import BATCH
from app.services.deliveries import VERDICTS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to one of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(item: Schema) -> Schema:
    """An array of such items."""
    return {"type": "array", "items": item}


def nullable(schema: Schema) -> Schema:
    """This, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(*required: str, **properties: Schema) -> Schema:
    """An object; all properties are required unless `required` names them."""
    return {"type": "object", "required": list(required or properties), "properties": properties}


TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
NUMBER: Schema = {"type": "integer"}
ANY: Schema = {"type": "object"}
_STATUS: Schema = {"type": "string", "enum": [each.value for each in Status]}
_STAGE: Schema = {"type": "string", "enum": [each.value for each in Stage]}
_VERDICT: Schema = {"type": "string", "enum": list(VERDICTS)}
_KIND: Schema = {"type": "string", "enum": [each.value for each in PauseKind]}
_REASON: Schema = nullable({"type": "string", "maxLength": 500})
_SHORT: Schema = {"type": "string", "maxLength": 500}
_RUN_ID: Schema = {"type": "string", "pattern": "^r[0-9a-hjkmnp-tv-z]{19}$"}
_LINKS = record(self=TEXT, replay=TEXT)

_RUN_SUMMARY: dict[str, Schema] = {
    "id": TEXT, "module": TEXT, "version": nullable(TEXT), "ref": TEXT, "commit": TEXT, "source": TEXT,
    "status": _STATUS, "stage": _STAGE, "attempt": NUMBER, "mirror": TEXT, "job": nullable(TEXT),
    "error": nullable(ref("RunError")), "created_at": TIME, "updated_at": TIME, "ended_at": nullable(TIME),
    "links": _LINKS,
}  # fmt: skip
_DELIVERY: dict[str, Schema] = {
    "id": TEXT, "source": TEXT, "scheme": TEXT, "secret": TEXT, "verdict": _VERDICT, "reason": TEXT, "message": TEXT,
    "received_at": TIME, "last_seen_at": TIME, "seen": NUMBER, "skew_seconds": nullable({"type": "number"}),
    "runs": listed(ANY), "links": record(self=TEXT, redeliver=TEXT),
}  # fmt: skip

SCHEMAS: dict[str, Schema] = {
    "Description": record("openapi", "paths", openapi=TEXT, paths=ANY, components=ANY),
    "Error": record(error=record("code", "message", "retry", code=TEXT, message=TEXT, field=TEXT, advice=TEXT,
                                 retry={"type": "boolean"})),
    "RunError": record(code=TEXT, message=TEXT, retry=TEXT, advice=TEXT),
    "RunSummary": record(**_RUN_SUMMARY),
    "Run": record(**_RUN_SUMMARY, delivery=TEXT, target=ANY, facts=ANY, attempts=listed(ANY), deliveries=listed(ANY)),
    "RunPage": record(runs=listed(ref("RunSummary")), next_cursor=nullable(TEXT), links=record(next=nullable(TEXT))),
    "Replay": record("from", "reason", "force", **{"from": _STAGE, "reason": _REASON,
                                                   "force": {"type": "boolean"}}),
    "Replayed": record(run=TEXT, status=_STATUS, attempt=nullable(NUMBER), job=nullable(TEXT), links=_LINKS),
    "Move": record(module=TEXT, version=TEXT, commit=TEXT, reason=TEXT),
    "Why": {"type": "object", "additionalProperties": False, "properties": {"reason": _REASON}},
    "Cancelled": record(run=TEXT, name=TEXT, status=_STATUS, links=_LINKS),
    "Now": record(counts=ANY, running=listed(ref("Seen")), waiting=listed(ref("Seen")), blocked=listed(ref("Seen")),
                  failed=listed(ref("Seen")), seen=listed(ANY), marks=listed(ref("Mark")), levels=listed(ref("Level")),
                  disks=listed(ref("HostDisk")),
                  reconcile=nullable(ref("LastReconcile"))),
    "HostDisk": record(host=TEXT, free_bytes=NUMBER, size_bytes=NUMBER, floor_bytes=NUMBER, cache_bytes=nullable(NUMBER),
                       full={"type": "boolean"}),
    "Mark": record(name=TEXT, state={"type": "string", "enum": ["ok", "bad", "unknown"]}, text=TEXT, advice=TEXT,
                   at=nullable(TIME)),
    "Level": record(title=TEXT, since=TIME, bucket_seconds=NUMBER, share=nullable({"type": "number"}), total=NUMBER,
                    counts=ANY, buckets=listed(ANY)),
    "LastReconcile": record(repositories=NUMBER, compared=NUMBER, newest=nullable(TIME), counts=ANY, runs=NUMBER,
                            unanswered=NUMBER, people=listed(ANY)),
    "Seen": record(**{name: schema for name, schema in _RUN_SUMMARY.items() if name != "links"}),
    "NamedPage": record(items=listed(ANY), next=nullable(TEXT)),
    "MirrorName": record(mirror=TEXT),
    "MendMirror": record("mirror", mirror=TEXT, reason=_REASON),
    "MirrorCheck": record(mirror=TEXT, drift=listed(ref("Drift")), mended=listed(ref("Drift")),
                          error=nullable(ref("RunError"))),
    "MoveSource": record(mirror=TEXT, to=TEXT, reason=TEXT),
    "SourceMoved": record(mirror=TEXT, before=nullable(TEXT), after=TEXT),
    "Drift": record(what=TEXT, found=TEXT, wanted=TEXT, mendable={"type": "boolean"}),
    "Failures": record(failures=listed(record(code=TEXT, runs=NUMBER))),
    "ReplayPlan": record(code=TEXT, since=TIME, runs=listed(ref("Seen")),
                         refused={"type": "object", "additionalProperties": ref("RunError")}, next=nullable(TEXT),
                         total=nullable(NUMBER), until=nullable(TIME)),
    "ReplayRuns": record("runs", runs={"type": "array", "items": _RUN_ID, "minItems": 1, "maxItems": BATCH},
                         reason=_REASON),
    "ReplayedRuns": record(runs=listed(record(run=TEXT, job=nullable(TEXT), error=nullable(ref("RunError"))))),
    "Sources": record(sources=listed(record(
        scheme=TEXT, url=TEXT, source=TEXT, secret=TEXT, count=NUMBER, last_used_at=nullable(TIME),
        skew_seconds=nullable({"type": "number"})))),
    "Sample": record(module=_SHORT, version=_SHORT, commit=_SHORT, repo_url=_SHORT, reason=_REASON),
    "Rehearsal": record(verdict=TEXT, steps=listed(record(what=TEXT, good={"type": "boolean"}, text=TEXT)), body=TEXT,
                        headers=listed(TEXT), error=nullable(ref("RunError")), run=TEXT),
    "Pauses": record(pauses=listed(record(kind=_KIND, value=TEXT, actor=TEXT, reason=TEXT, created_at=TIME)), runs=NUMBER),
    "Pause": record("kind", kind=_KIND, value=TEXT, reason=_REASON),
    "PauseName": record("kind", kind=_KIND, value=TEXT, reason=_REASON),
    "Paused": record(kind=_KIND, value=TEXT, new={"type": "boolean"}),
    "Resumed": record(kind=_KIND, value=TEXT, runs=NUMBER),
    "Audit": record(entries=listed(record(
        number=NUMBER, at=TIME, actor=TEXT, action=TEXT, object=TEXT, reason=TEXT, before=ANY, after=ANY, previous=TEXT,
        hash=TEXT))),
    "Delivery": record(**_DELIVERY),
    "DeliveryDetail": record(**_DELIVERY, kept={"type": "boolean"}, headers=ANY, body=TEXT,
                             body_encoding={"type": "string", "enum": ["utf-8", "base64"]}),
    "DeliveryPage": record(deliveries=listed(ref("Delivery")), next_cursor=nullable(TEXT),
                           links=record(next=nullable(TEXT))),
    "Received": record("delivery", "runs", delivery=TEXT, runs=listed(ref("ReceivedRun")), ignored=TEXT, message=TEXT),
    "ReceivedRun": record("id", "status", "duplicate", "links", id=TEXT, status=_STATUS,
                          duplicate={"type": "boolean"}, error=TEXT, job=nullable(TEXT), links=_LINKS),
    "Explanation": record(module=TEXT, version=nullable(TEXT), routes=listed(ANY), runs=listed(ANY),
                          releases=listed(ANY), mirrors=listed(ANY)),
    "GitLabLogin": record("url", "refused", "problems", url=TEXT, refused={"type": "boolean"}, problems=listed(TEXT)),
    "Alive": record(status={"type": "string", "const": "ok"}),
    "Ready": record(status={"type": "string", "enum": ["ready", "degraded", "not_ready"]}, checks=ANY),
}  # fmt: skip
for name in ("Replay", "Sample"):
    SCHEMAS[name] |= {"required": [], "additionalProperties": False}
for name in ("Move", "ReplayRuns", "Pause", "PauseName", "MirrorName", "MendMirror", "MoveSource"):
    SCHEMAS[name]["additionalProperties"] = False
