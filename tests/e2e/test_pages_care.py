"""What people look after on the pages, in a real browser: mirrors, sources, pauses, the audit log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e import browser as chrome
from tests.e2e.browser import Visitor, axe_findings
from tests.e2e.pages_story import run_of, send
from tests.sandbox.modules import Release, make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)

TAGS = "*/v*"


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


def released(world: World, service: Service, repository: str) -> str:
    """The mirror of a repository with one release that is done."""
    module = make_plain(world.platform, world.mirrored(repository), "v1.0.0")
    service.wait_for(run_of(send(world, module.releases["v1.0.0"])), "done")
    return f"{MIRRORS}/{repository}"


def numbers(page: Page) -> list[int]:
    """How many deliveries and runs the API tells of."""
    found = [page.request.get(f"/api/{each}?limit=200").json()[each] for each in ("deliveries", "runs")]
    return [len(each) for each in found]


@pytest.mark.timeout(240)
def test_drift_is_found_in_the_list_and_mended_on_the_mirrors_page(
    visitor: Visitor, world: World, service: Service
) -> None:
    path = released(world, service, "care/drift")
    project = world.gitlab.project(path)
    page = visitor.open(f"/mirrors?q={path}", world.admin_token)
    row = page.get_by_role("row").filter(has_text=path)
    row.get_by_role("button", name="Check").click()
    expect(row).to_contain_text("As modsync set it up")
    expect(page.locator("#said")).to_contain_text("As modsync set it up")

    project.protected_tags.pop(TAGS)
    row.get_by_role("button", name="Check again").click()
    expect(row).to_contain_text(f"protected tags {TAGS}: not protected")
    row.get_by_role("link", name="Mend it on its page").click()
    page.wait_for_url(f"{world.url}/mirrors/{path}")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("Mend it", exact=True).click()
    page.get_by_role("textbox", name="Reason").fill("somebody was too quick")
    page.get_by_role("button", name="Mend").click()
    assert page.get_by_label("Yes, change the project").evaluate("(each) => each.matches(':invalid')")
    assert TAGS not in project.protected_tags
    page.get_by_label("Yes, change the project").check()
    page.get_by_role("button", name="Mend").click()
    expect(page.locator("main")).to_contain_text(f"protected tags {TAGS} was not protected, is created by maintainers")
    assert page.url == f"{world.url}/mirrors/{path}"
    assert TAGS in project.protected_tags

    page = visitor.open("/audit?action=mirror.mend")
    entry = page.get_by_role("row").filter(has_text=path)
    expect(entry).to_contain_text("session:admin")
    expect(entry).to_contain_text("somebody was too quick")
    expect(entry).to_contain_text("not protected → created by maintainers")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("script", [True, False])
def test_a_gitlab_that_is_away_is_said_where_it_was_asked(
    browser: Browser, world: World, service: Service, script: bool
) -> None:
    path = released(world, service, f"care/away{script}".lower())
    with Visitor(browser, world.url, script=script) as visitor:
        page = visitor.open(f"/mirrors/{path}", world.admin_token)
        world.gitlab.stop()
        try:
            page.get_by_role("button", name="Check").click()
            expect(page.locator(".check .box")).to_contain_text("GitLab could not be asked")
            expect(page.locator(".check .box")).to_contain_text("Check that GitLab answers")
        finally:
            world.gitlab.start()
        page.get_by_role("button", name="Check again").click()
        expect(page.locator(".check")).to_contain_text("As modsync set it up")
        assert visitor.complaints == []


def test_a_source_is_tested_in_place_and_nothing_comes_of_it(visitor: Visitor, world: World, service: Service) -> None:
    released(world, service, "care/known")
    page = visitor.open("/sources", world.admin_token)
    before = numbers(page)
    page.get_by_text("Test delivery", exact=True).click()
    page.get_by_label("Reason").fill("a new secret")
    page.get_by_role("button", name="Test", exact=True).click()
    result = page.locator("#platform .check .box")
    expect(result).to_contain_text("accepted. A new run would begin (202).")
    expect(result).to_contain_text("secret demo: signs, and the signature is found right")
    page.get_by_label("Module").fill("go.corp.example/care/known")
    page.get_by_label("Version").fill("v1.0.0")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(result).to_contain_text("known. It is known already")
    expect(result.get_by_role("link")).to_have_attribute("href", "/runs/" + run_id(page))
    page.get_by_label("Module").fill("elsewhere.example/x")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#platform").get_by_role("alert")).to_contain_text("no rule of any source matches")
    page.get_by_label("Module").fill("go.corp.example/care/known")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#platform").get_by_role("alert")).to_have_count(0)
    assert numbers(page) == before
    assert page.url == f"{world.url}/sources"
    assert world.secret not in page.content()
    visitor.open("/audit?action=source.test")
    expect(page.get_by_role("table", name="Entries")).to_contain_text("a new secret")


def run_id(page: Page) -> str:
    """The newest run of care/known."""
    return str(page.request.get("/api/runs?module=go.corp.example/care/known").json()["runs"][0]["id"])


@pytest.mark.timeout(240)
def test_a_pause_from_the_first_page_holds_a_run_until_it_is_ended(
    visitor: Visitor, world: World, service: Service
) -> None:
    page = visitor.open("/", world.admin_token)
    page.get_by_text("Pause work").click()
    page.get_by_label("What").select_option("module")
    page.get_by_label("Name (none for all)").fill("go.corp.example/held/*")
    page.get_by_label("Reason").fill("GitLab is upgraded")
    page.get_by_role("button", name="Pause", exact=True).click()
    held = page.locator("#now-held")
    expect(held).to_contain_text("module go.corp.example/held/* since")
    expect(held).to_contain_text("by session:admin: GitLab is upgraded")
    assert axe_findings(page) == []

    page.get_by_label("Reason to resume module go.corp.example/held/*").fill("GitLab is back")
    resume = held.get_by_role("button", name="Resume module go.corp.example/held/*")
    resume.focus()
    run = run_of(send(world, release(world, "held/one")))
    service.until(lambda: (service.run(run)["error"] or {}).get("code") == "paused", "the run's wait")
    expect(held).to_contain_text("Paused: 1 run waits", timeout=30_000)  # by itself
    resume.click()  # what was typed is there still
    expect(held).to_contain_text("nothing is paused")
    service.wait_for(run, "done")
    visitor.open("/audit?action=resume")
    expect(page.get_by_role("table", name="Entries")).to_contain_text("GitLab is back")


def release(world: World, repository: str) -> Release:
    return make_plain(world.platform, world.mirrored(repository), "v1.0.0").releases["v1.0.0"]


def test_the_audit_log_is_filtered_walked_and_exported(visitor: Visitor, world: World, service: Service) -> None:
    page = visitor.open("/", world.admin_token)
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url(f"{world.url}/audit")
    expect(page.locator("#chain")).to_contain_text("Verified up to entry")
    page.get_by_label("Action").fill("login")
    page.get_by_label("Actor").fill("token:admin")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/audit?actor=token%3Aadmin&action=login**")
    table = page.get_by_role("table", name="Entries")
    expect(table.get_by_role("row").nth(1)).to_contain_text("login")
    page.keyboard.press("j")
    expect(page.locator("main a.row").first).to_be_focused()
    with page.expect_download() as download:
        page.get_by_role("link", name="entries 1 to").click()
    lines = download.value.path().read_text().splitlines()
    assert lines
    assert all('"action": "login"' in line and '"hash": "' in line for line in lines)
    page.goto("/audit?object=nothing")
    expect(page.locator("main")).to_contain_text("matches. Show all")


def test_who_is_logged_out_meanwhile_is_told_where_they_asked(visitor: Visitor, world: World, service: Service) -> None:
    path = released(world, service, "care/gone")
    page = visitor.open(f"/mirrors/{path}", world.admin_token)
    page.context.clear_cookies()
    page.get_by_role("button", name="Check").click()
    expect(page.locator(".check").get_by_role("alert")).to_contain_text("needs a token or a login")
