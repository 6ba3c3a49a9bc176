"""Links on other sites: a browser without a cookie is asked to come once more from our own page, once and to here only."""

from __future__ import annotations

import html
import re

import pytest
from flask.testing import FlaskClient

from tests.integration.web_world import BEARER, BROWSER

CLICKED = {**BROWSER, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("/runs/r0kz3v7m2c5q8x1b4n6d", "/runs/r0kz3v7m2c5q8x1b4n6d"),
        ("/releases?q=a%22b&status=failed", "/releases?q=a%22b&status=failed"),
        ("/releases?q=%3Cscript%3E;url=//evil.example", "/releases?q=%3Cscript%3E;url=//evil.example"),
        ("/modules/go.corp.example/a%3Fb%22%20x", "/modules/go.corp.example/a%3Fb%22%20x"),
        ("/", "/"),
    ],
)
def test_the_page_asks_for_the_same_path(client: FlaskClient, asked: str, target: str) -> None:
    answer = client.get(asked, headers=CLICKED)
    assert answer.status_code == 200
    again = re.findall(r'<meta http-equiv="refresh" content="0; url=([^"]*)">', answer.text)
    assert [html.unescape(each) for each in again] == [target]
    assert f'<a href="{again[0]}">Continue</a>' in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_no_address_leads_elsewhere(client: FlaskClient) -> None:
    for odd in (
        "//evil.example/x",
        "///evil.example",
        "/%2F/evil.example",
        "/\\evil.example",
        "/modules//evil.example",
    ):
        for target in re.findall(r'url=([^"]*)"', client.get(odd, headers=CLICKED).text):
            assert re.match(r"/[^/\\]", target), odd


@pytest.mark.parametrize("site", ["same-origin", "same-site", "none", ""])
def test_the_second_request_goes_to_the_login(client: FlaskClient, site: str) -> None:
    sent = {**BROWSER, "Sec-Fetch-Mode": "navigate", **({"Sec-Fetch-Site": site} if site else {})}
    answer = client.get("/releases", headers=sent)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/releases")


def test_others_are_answered_as_ever(client: FlaskClient) -> None:
    fetched = client.get("/releases", headers={**CLICKED, "Sec-Fetch-Mode": "no-cors"})
    assert fetched.status_code == 303
    assert client.get("/api/runs", headers=CLICKED).status_code == 401
    assert client.post("/pauses", headers=CLICKED).status_code in (401, 403)
    client.set_cookie("modsync", "stale")
    assert client.get("/releases", headers=CLICKED).status_code == 303
    assert "<h1>Releases" in client.get("/releases", headers={**CLICKED, **BEARER}).text
