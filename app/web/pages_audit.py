"""The audit log: who did what to which object, why, what changed, and whether the log itself was changed. Administrators only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import cast
from urllib.parse import urlencode

from flask import Response, current_app, render_template

from app.adapters.audit_reads import SqlAuditReads
from app.domain.errors import SyncError
from app.services.audit_log import AuditFilter, AuditPage, ChainWatch
from app.web.context import container
from app.web.orders import wrong
from app.web.page import PAGE, blueprint, given, typed

_FIELDS = ("actor", "action", "object", "since", "until")
_CHAIN = "modsync_audit_chain"
# A file that is sent well before the web server's time for a request is over (web/worker.py).
FILE = 20_000
_FILES = 5


@blueprint.get("/audit")
def audit() -> Response:
    """Entries, newest first, in pages, and the state of the chain. A wrong filter is said beside its field."""
    asked, before, error = typed(_FIELDS), _number("before"), None
    page = AuditPage((), None, 0)
    try:
        page = _reads().page(_filter(asked), before, PAGE)
    except SyncError as caught:
        if caught.code != "bad_request":
            raise
        error = caught
    chain = _chain().look()
    shown = render_template(
        "audit.html", asked=asked, page=page, error=error, before=before, chain=chain, shown=PAGE,
        files=_files(asked, chain.total),
    )  # fmt: skip
    return Response(shown, 422 if error else 200)


def _files(asked: dict[str, str], total: int) -> list[tuple[int, int, str]]:
    """(first entry, last entry, address) of the newest files."""
    starts = range(0, total, FILE)[-_FILES:]
    return [
        (after + 1, min(after + FILE, total), f"/audit/export?{urlencode({**asked, 'after': after})}")
        for after in starts
    ]


@blueprint.get("/audit/export")
def audit_export() -> Response:
    """JSON lines as `modsync audit export` prints them, oldest first: FILE entries behind `after`, or what matches of them."""
    wanted, after = _filter(given(_FIELDS)), _number("after") or 0
    headers = {"Content-Disposition": f'attachment; filename="modsync-audit-{after + 1}.jsonl"'}
    return Response(_lines(_reads(), wanted, after), headers=headers, mimetype="application/x-ndjson")


def _lines(reads: SqlAuditReads, wanted: AuditFilter, after: int) -> Iterator[str]:
    for entry in islice(reads.entries(after), FILE):
        if wanted.matches(entry):
            yield json.dumps(entry.as_json(), sort_keys=True) + "\n"


def _filter(asked: dict[str, str]) -> AuditFilter:
    return AuditFilter.parse(asked, container().clock.now())


def _number(name: str) -> int | None:
    text = given([name]).get(name)
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < 16):
        raise wrong(name, "must be an entry's number")
    return int(text) if text is not None else None


def _reads() -> SqlAuditReads:
    return SqlAuditReads(container().engine)


def _chain() -> ChainWatch:
    """This process's own: it remembers how far it came."""
    made = ChainWatch(_reads(), container().clock)
    return cast(ChainWatch, current_app.extensions.setdefault(_CHAIN, made))
