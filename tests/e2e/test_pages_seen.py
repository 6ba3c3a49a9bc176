"""Every page as people see it: axe in light and dark, three widths, empty states, bulk replay, redelivery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e import browser as chrome
from tests.e2e.browser import WIDTHS, Visitor, axe_findings
from tests.e2e.pages_story import Told, failing, tell
from tests.sandbox.service import Service
from tests.sandbox.world import World

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)

EMPTY = {
    "/": "There was no delivery yet", "/releases": "There is no release yet", "/modules": "No module was released yet",
    "/mirrors": "pushed to no mirror yet", "/deliveries": "No signed delivery came yet", "/replays": "No run failed since",
    "/releases?q=nothing": "Nothing matches", "/sources": "never", "/reconcile": "knows no repository yet",
    "/audit?actor=nobody": "No entry",
}  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def empty(browser: Browser, world: World, service: Service) -> dict[str, tuple[str, list[str]]]:
    """Before anything happened: each page's text and what axe finds there."""
    with Visitor(browser, world.url) as visitor:
        visitor.open("/", world.admin_token)
        found = {}
        for path in EMPTY:
            page = visitor.open(path)
            found[path] = page.locator("main").inner_text(), axe_findings(page)
        assert visitor.complaints == []
    return found


@pytest.fixture(scope="module")
def told(world: World, service: Service, empty: object) -> Told:
    return tell(world, service, "seen")


def pages(told: Told) -> dict[str, str]:
    """Every page, by a name."""
    return {
        "now": "/", "releases": "/releases", "done": f"/runs/{told.done}", "failed": f"/runs/{told.failed}",
        "rejected": f"/runs/{told.rejected}", "modules": "/modules", "module": "/modules/go.corp.example/seen/done",
        "mirrors": "/mirrors", "mirror": "/mirrors/go-mirrors/seen/done", "reconcile": "/reconcile", "audit": "/audit",
        "no entries": "/audit?actor=nobody", "deliveries": "/deliveries", "delivery": f"/deliveries/{told.delivery}",
        "sources": "/sources", "replays": "/replays", "plan": "/replays?code=pipeline_failed", "error": "/runs/nothing",
        "wrong": "/releases?commit=xyz",
    }  # fmt: skip


@pytest.mark.parametrize("path", EMPTY)
def test_an_empty_page_says_what_to_do(empty: dict[str, tuple[str, list[str]]], path: str) -> None:
    text, findings = empty[path]
    assert EMPTY[path] in text
    assert findings == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(
    browser: Browser, world: World, told: Told, scheme: Literal["light", "dark"]
) -> None:
    with Visitor(browser, world.url, scheme=scheme) as visitor:
        visitor.page.goto("/login")
        found = {"login": axe_findings(visitor.page)}
        visitor.open("/", world.admin_token)
        for name, path in pages(told).items():
            page = visitor.open(path)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            found[name] = axe_findings(page)
        page.keyboard.press("?")
        found["help"] = axe_findings(page)
        assert visitor.complaints == []
    assert {name: findings for name, findings in found.items() if findings} == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen(
    browser: Browser, world: World, told: Told, width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shots = tmp_path_factory.mktemp(f"screenshots-{width}")  # kept for whoever wants to look
    with Visitor(browser, world.url, width=width) as visitor:
        visitor.open("/", world.admin_token)
        wide = {}
        for name, path in pages(told).items():
            page = visitor.open(path)
            page.screenshot(path=shots / f"{name}.png", full_page=True)
            wide[name] = visitor.overflow()
    assert {name: found for name, found in wide.items() if found} == {}


def test_a_rejected_run_offers_no_replay_and_an_accepted_move_asks_twice(
    browser: Browser, world: World, service: Service, told: Told
) -> None:
    with Visitor(browser, world.url) as visitor:
        page = visitor.open(f"/runs/{told.rejected}", world.admin_token)
        expect(page.get_by_role("button", name="Replay")).to_have_count(0)
        page.get_by_text("Accept this move").click()
        page.get_by_label("Reason").fill("the tag was set too early")
        page.get_by_role("button", name="Accept the move").click()
        assert page.get_by_label("I know that a released version").evaluate("(each) => each.matches(':invalid')")
    assert service.run(told.rejected)["attempt"] == 1


@pytest.mark.timeout(240)
def test_bulk_replay_does_exactly_what_it_showed(browser: Browser, world: World, service: Service, told: Told) -> None:
    runs = failing(world, service, "bulk/one", "bulk/two")
    with Visitor(browser, world.url) as visitor:
        page = visitor.open("/replays?code=pipeline_failed&since=1h", world.admin_token)
        planned = page.get_by_role("table", name="What would happen")
        expect(planned.get_by_role("row")).to_have_count(4)  # the head, told.failed, and these two
        expect(planned).to_contain_text("attempt 2 from stage pipeline")
        assert all(service.run(run)["attempt"] == 1 for run in runs)
        service.wait_for(runs[0], "failed")
        # Somebody else is faster with one of them.
        page.request.post(f"{world.url}/runs/{runs[0]}/replay", headers={"Sec-Fetch-Site": "same-origin"})
        page.get_by_label("Reason").fill("the proxy was away")
        page.get_by_role("button", name="Replay these 3").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("2 of 3 runs began anew")
        result = page.get_by_role("table", name="What happened")
        expect(result).to_contain_text("still_running")
        assert axe_findings(page) == []
        assert visitor.complaints == []
    for run in (*runs, told.failed):
        assert service.wait_for(run, "done")["attempt"] == 2
    assert service.run(runs[1])["attempts"][1]["reason"] == "the proxy was away"


def test_a_delivery_shows_its_body_and_is_taken_once_more(
    browser: Browser, world: World, service: Service, told: Told
) -> None:
    with Visitor(browser, world.url) as visitor:
        page = visitor.open(f"/deliveries/{told.delivery}", world.admin_token)
        expect(page.locator("pre.log")).to_contain_text('"module_path": "go.corp.example/seen/done"')
        expect(page.locator("main")).to_contain_text("secret demo, scheme article")
        page.get_by_label("Reason").fill("the rule is there now")
        with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
            page.get_by_role("button", name="Redeliver").click()
        assert posted.value.status == 303
        page.wait_for_url(f"{world.url}/deliveries/{told.delivery}")
        # The platform did not send it again: it came once, and the audit log says who took it once more.
        expect(page.locator("main")).not_to_contain_text("times")
        visitor.open("/audit?action=delivery.redeliver")
        expect(page.locator("main")).to_contain_text(f"delivery:{told.delivery}")
        expect(page.locator("main")).to_contain_text("the rule is there now")
        assert visitor.complaints == []
        sources = visitor.open("/sources")
        expect(sources.locator("#platform")).to_contain_text("demo")
        expect(sources.locator("#platform")).not_to_contain_text("never")
