"""What reconcile found, by the command and by the API; that both sides answer alike is the operator's contract."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from app.bootstrap import Container
from tests.integration.pages_world import MIRROR, NOW
from tests.integration.test_cli_reasons import run
from tests.integration.test_pages_mirrors import FOUND, compared
from tests.integration.web_world import BEARER


@pytest.fixture(autouse=True)
def repositories(container: Container) -> None:
    compared(container, MIRROR, reconciled_at=NOW, result=FOUND)
    compared(container, "go-mirrors/a/good", reconciled_at=NOW, result={"tags": 3})
    away = {"code": "git_failed", "message": "no answer"}
    compared(container, "go-mirrors/b/away", error="git_failed", result={"error": away})


def test_the_command_lists_mirrors_and_one_s_findings(container: Container) -> None:
    listed = " ".join(run(container, "mirrors", "findings").output.split())
    assert f"{MIRROR} " in listed
    assert "2 missing in mirror, 1 moved" in listed
    assert "go-mirrors/a/good" in listed
    assert "go-mirrors/a/good" not in run(container, "mirrors", "findings", "--people").output
    one = run(container, "mirrors", "findings", MIRROR).output
    assert "v1.2.3" in one
    assert "released at <aaaa>" in one
    assert "1 of 3 findings are kept" in one
    assert "git_failed" in run(container, "mirrors", "findings", "go-mirrors/b/away").output
    assert run(container, "mirrors", "findings", "no/such").exit_code != 0
    more = run(container, "mirrors", "findings", "--limit", "1").output
    assert "there are more: --after go-mirrors/a/good" in more
    as_json = json.loads(run(container, "mirrors", "findings", MIRROR, "--json").stdout)
    assert as_json["items"][0]["findings"] == FOUND["findings"]


def test_the_api_has_the_pages_filters_and_refuses_others(client: FlaskClient) -> None:
    def items(query: str) -> list[str]:
        return [each["mirror"] for each in client.get(f"/api/reconcile?{query}", headers=BEARER).get_json()["items"]]

    assert items("") == ["go-mirrors/a/good", "go-mirrors/b/away", MIRROR]
    assert items("people=true") == ["go-mirrors/b/away", MIRROR]
    assert items("after=go-mirrors/a/good&limit=1") == ["go-mirrors/b/away"]
    assert items(f"mirror={MIRROR}") == [MIRROR]
    for wrong, status in (
        ("people=perhaps", 422),
        ("limit=0", 422),
        ("who=me", 422),
        ("mirror=%00", 422),
        ("mirror=no", 404),
    ):
        assert client.get(f"/api/reconcile?{wrong}", headers=BEARER).status_code == status, wrong
