"""An operator's way in a real browser, from an alert's link to a replayed, done run; what they notice on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e import browser as chrome
from tests.e2e.browser import Visitor
from tests.e2e.operators_way import operators_way
from tests.e2e.pages_story import failing, run_of, send
from tests.sandbox.modules import make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import World

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome.chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser, world: World, service: Service) -> Iterator[Visitor]:
    """Whoever visits must have nothing to complain about afterwards."""
    with Visitor(browser, world.url) as visitor:
        yield visitor
        assert visitor.complaints == []


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


@pytest.mark.timeout(240)
def test_from_an_alerts_link_over_the_login_to_a_replayed_and_done_run(
    visitor: Visitor, world: World, service: Service
) -> None:
    operators_way(visitor, world, service, "way/ledger")


def test_a_page_of_a_run_that_ended_asks_for_nothing_more(visitor: Visitor, world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("quiet/done"), "v1.0.0")
    run = run_of(send(world, module.releases["v1.0.0"]))
    service.wait_for(run, "done")
    page = visitor.open(f"/runs/{run}", world.admin_token)
    expect(page.locator(".live")).to_have_attribute("data-again", "0")
    assert page.evaluate("typeof window.modsync.localize") == "function"  # the scripts ran
    assert [path for path, _ in visitor.answers if path.startswith("/live/")] == []


def test_a_run_can_be_cancelled_and_a_jobs_id_leads_to_its_run(
    visitor: Visitor, world: World, service: Service
) -> None:
    module = make_plain(world.platform, world.mirrored("stop/it"), "v1.0.0")
    service.kill("worker")  # so that it waits for us
    try:
        run = run_of(send(world, module.releases["v1.0.0"]))
        page = visitor.open(f"/runs/{run}-1-1", world.admin_token)
        page.wait_for_url(f"{world.url}/runs/{run}#attempt-1")
        page.get_by_text("Cancel this run").click()
        page.get_by_label("Reason").fill("tagged by mistake")
        page.get_by_role("button", name="Yes, cancel it").click()
        expect(page.locator("#run-error")).to_contain_text("cancelled by session:admin")
        expect(page.get_by_role("button", name="Replay")).to_be_visible()
        visitor.open(f"/audit?action=run.cancel&object={run}")
        expect(page.get_by_role("table", name="Entries")).to_contain_text("tagged by mistake")
    finally:
        service.start_role("worker")
    assert service.run(run)["error"]["code"] == "cancelled"


def test_the_links_to_rq_and_back(visitor: Visitor, world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("links/both"), "v1.0.0")
    run = run_of(send(world, module.releases["v1.0.0"]))
    service.wait_for(run, "done")
    page = visitor.open(f"/runs/{run}", world.admin_token)
    page.get_by_text("RQ jobs").click()
    page.get_by_role("link", name=f"{run}-1-1").click()
    page.wait_for_url(f"{world.url}/rq/0/view/job/{run}-1-1")
    page.get_by_role("link", name="The run of this job").click()
    page.wait_for_url(f"{world.url}/runs/{run}#attempt-1")
    assert "links/both" in heading(page)


def test_back_and_forward_keep_the_search(visitor: Visitor, world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("search/back"), "v1.0.0", "v1.1.0")
    for release in module.releases.values():
        service.wait_for(run_of(send(world, release)), "done")
    page = visitor.open("/releases", world.admin_token)
    page.get_by_label("Anything").fill("search/back")
    page.get_by_label("State").select_option("done")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/releases?q=search%2Fback&status=done**")
    table = page.get_by_role("table", name="Releases")
    expect(table.get_by_role("row")).to_have_count(3)
    table.get_by_role("link", name="search/back@v1.1.0").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("search/back@v1.1.0")
    page.go_back()
    expect(page.get_by_label("Anything")).to_have_value("search/back")
    expect(table.get_by_role("row")).to_have_count(3)
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_contain_text("search/back@v1.1.0")


def test_a_wrong_filter_says_which_and_what_to_do(visitor: Visitor, world: World, service: Service) -> None:
    page = visitor.open("/releases?since=yesterday", world.admin_token)
    field = page.get_by_label("Since")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert").first).to_contain_text("neither an ISO 8601 time nor an age like 24h")


def test_the_search_field_takes_ids(visitor: Visitor, world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("find/id"), "v1.0.0")
    run = run_of(send(world, module.releases["v1.0.0"]))
    page = visitor.open("/", world.admin_token)
    page.get_by_label("Find a release").fill(f"{run}-1-1")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{world.url}/runs/{run}#attempt-1")


def test_times_are_the_readers_and_utc_without_scripts(
    visitor: Visitor, browser: Browser, world: World, service: Service
) -> None:
    module = make_plain(world.platform, world.mirrored("zone/time"), "v1.0.0")
    run = run_of(send(world, module.releases["v1.0.0"]))
    created = service.run(run)["created_at"]
    page = visitor.open(f"/runs/{run}", world.admin_token)
    stamp = page.locator("#run-head time")
    local = page.evaluate("(text) => new Date(text).toLocaleString('sv-SE', {timeZone: 'Asia/Kolkata'})", created)
    expect(stamp).to_have_text(local)
    expect(page.locator("#zone")).to_contain_text("your time zone")
    with Visitor(browser, world.url, script=False) as plain:
        plain.open(f"/runs/{run}", world.admin_token)
        expect(plain.page.locator("#run-head time")).to_have_text(created[:19].replace("T", " ") + " UTC")
        expect(plain.page.locator("#zone")).to_have_text("UTC")


def test_a_typed_time_is_the_readers_and_utc_without_scripts(
    visitor: Visitor, browser: Browser, world: World, service: Service
) -> None:
    module = make_plain(world.platform, world.mirrored("zone/typed"), "v1.0.0")
    run = run_of(send(world, module.releases["v1.0.0"]))
    service.wait_for(run, "done")
    page = visitor.open(f"/runs/{run}", world.admin_token)
    shown = page.locator("#run-head time").inner_text()  # as one copies it from the page
    minutes = shown[:16]
    page = visitor.open("/releases?q=zone/typed")
    expect(page.get_by_label("Since")).to_have_accessible_name("Since (your time)")
    page.get_by_label("Since").fill(minutes)
    page.get_by_role("button", name="Search").click()
    table = page.get_by_role("table", name="Releases")
    expect(table.get_by_role("link", name="zone/typed@v1.0.0")).to_be_visible()
    created = service.run(run)["created_at"]
    assert f"since={created[:16].replace(':', '%3A')}%3A00.000Z" in page.url  # the address means the same to all
    expect(page.get_by_label("Since")).to_have_value(f"{minutes}:00")
    page.get_by_label("Since").fill("2026-02-31")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_label("Since")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Since")).to_have_value("2026-02-31")
    with Visitor(browser, world.url, script=False) as plain:
        plain.open("/releases", world.admin_token)
        expect(plain.page.get_by_label("Since")).to_have_accessible_name("Since (UTC)")


def test_without_scripts_a_failed_run_is_replayed_all_the_same(
    browser: Browser, world: World, service: Service
) -> None:
    (run,) = failing(world, service, "plain/html")
    with Visitor(browser, world.url, script=False) as visitor:
        page = visitor.open(f"/runs/{run}", world.admin_token)
        page.get_by_role("button", name="Replay").click()
        page.wait_for_url(f"{world.url}/runs/{run}#attempt-2")
    assert service.wait_for(run, "done")["attempt"] == 2


def test_who_is_logged_out_meanwhile_is_told(visitor: Visitor, world: World, service: Service) -> None:
    page = visitor.open("/", world.admin_token)
    page.context.clear_cookies()
    expect(page.locator("#trouble")).to_contain_text("You are logged out", timeout=30_000)
