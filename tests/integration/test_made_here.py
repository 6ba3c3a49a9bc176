"""What reconcile or backfill recorded in place of a webhook: shown, and never taken once more, on the page and by the command."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from app.bootstrap import Container
from app.services.delivery_views import MADE_HERE
from tests.integration.pages_world import page, post
from tests.integration.stored import Stored
from tests.integration.test_cli_reasons import run


@pytest.fixture
def made(container: Container) -> str:
    """A delivery of reconcile whose run failed."""
    stored = Stored(container.engine)
    stored.now = container.clock.now()
    delivery = replace(stored.delivery(), scheme=MADE_HERE, body=b"", headers={}, reason="reconcile", note="brings 1")
    (receipt,) = stored.intake.record(delivery, [stored.plan()])[2]
    stored.fail(receipt.run_id, error="tag_missing")
    return delivery.id


def test_its_page_has_no_button_and_an_order_is_refused(client: FlaskClient, made: str) -> None:
    shown = page(client, f"/deliveries/{made}")
    assert "reconcile or backfill made it" in shown
    assert "/redeliver" not in shown
    answer = post(client, f"/deliveries/{made}/redeliver", reason="again")
    assert (answer.status_code, "not_replayable" in answer.text) == (409, True)
    assert page(client, f"/deliveries/{made}") == shown


def test_the_command_leaves_it_out_of_those_that_failed(container: Container, made: str) -> None:
    stored = Stored(container.engine)
    stored.now = container.clock.now()
    stored.fail(stored.release(version="v1.1.0").run_id, error="tag_missing")
    listed = run(container, "deliveries", "--failed", "--json")
    assert len(json.loads(listed.stdout)["items"]) == 2, listed.output
    done = run(container, "redeliver", "--failed", "--since", "1h", "--json")
    (other,) = (each["delivery"] for each in json.loads(done.stdout))
    assert other != made
