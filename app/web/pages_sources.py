"""The sources that deliveries come from, and a test delivery for each."""

from __future__ import annotations

import logging

from flask import render_template, request

from app.adapters.delivery_store import SqlDeliveryStore
from app.services.rehearsal import Sample
from app.source_tests import rehearsals, tested
from app.web.context import api_url, container, principal
from app.web.orders import reason_of, wrong
from app.web.page import blueprint

log = logging.getLogger(__name__)
_LONGEST = 500


@blueprint.get("/sources")
def sources() -> str:
    """The sources of the configuration, and when each of their secrets last signed something."""
    uses = {(use.source, use.secret): use for use in SqlDeliveryStore(container().engine).secret_uses()}
    found = [
        (
            each,
            api_url(f"/webhooks/{each.name}"),
            [(key.id, uses.pop((each.name, key.id), None)) for key in each.secrets],
            rehearsals(container()).sample(each.name),
        )
        for each in container().settings.sources
    ]
    # What reconcile found itself was signed by nobody.
    former = [use for use in uses.values() if use.secret]
    return render_template("sources.html", sources=found, former=former)


@blueprint.post("/sources/<source>/test")
def test_source(source: str) -> str:
    """A signed test delivery through intake, which records nothing of it. Errors: not_found, bad_request (with the field)."""
    sample = Sample(*(_field(name) for name in ("module", "version", "commit", "repo_url")))
    result = tested(container(), principal().actor, source, sample, reason_of(request.form.get("reason")))
    log.info("source_tested", extra={"source": source, "verdict": result.verdict, "actor": principal().actor})
    return render_template("source_test.html", name=source, sample=sample, result=result)


def _field(name: str) -> str:
    text = request.form.get(name, "").strip()
    if len(text) > _LONGEST or not text.isprintable():
        raise wrong(name, f"must be a text of at most {_LONGEST} characters")
    return text
