"""The pages without a mouse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e import browser as chrome
from tests.e2e.browser import Visitor
from tests.e2e.pages_story import Told, tell
from tests.sandbox.service import Service
from tests.sandbox.world import World

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def told(world: World, service: Service) -> Told:
    return tell(world, service, "keys")


@pytest.fixture
def page(browser: Browser, world: World, told: Told) -> Iterator[Page]:
    with Visitor(browser, world.url) as visitor:
        yield visitor.open("/", world.admin_token)
        assert visitor.complaints == []


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("r", "/releases"), ("m", "/modules"), ("i", "/mirrors"), ("d", "/deliveries"), ("s", "/sources"),
        ("b", "/replays"), ("a", "/audit"),
    ],
)  # fmt: skip
def test_g_and_a_letter_go_to_a_page(page: Page, world: World, key: str, path: str) -> None:
    page.keyboard.press("g")
    page.keyboard.press(key)
    page.wait_for_url(world.url + path)
    expect(page.get_by_role("navigation", name="Pages").locator('[aria-current="page"]')).to_have_attribute(
        "href", path
    )


def test_the_help_opens_and_closes_and_gives_the_focus_back(page: Page) -> None:
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    page.get_by_role("button", name="Keyboard shortcuts").focus()
    page.keyboard.press("?")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Keyboard shortcuts")).to_be_focused()


def test_a_list_is_walked_and_a_row_opened(page: Page, world: World, told: Told) -> None:
    page.goto("/releases?q=keys/done")
    rows = page.locator("main a.row")
    expect(rows).to_have_count(2)
    for key, at in (("j", 0), ("j", 1), ("j", 1), ("k", 0)):
        page.keyboard.press(key)
        expect(rows.nth(at)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{world.url}/runs/{told.done}")


def test_slash_finds_and_r_replays(page: Page, told: Told) -> None:
    page.keyboard.press("/")
    expect(page.get_by_label("Find a release")).to_be_focused()
    page.keyboard.type("gj?r")  # letters in a field are letters
    expect(page.get_by_label("Find a release")).to_have_value("gj?r")
    page.goto(f"/runs/{told.failed}")
    page.keyboard.press("r")
    expect(page.get_by_label("Replay from")).to_be_focused()


def test_shortcuts_can_be_switched_off(page: Page, world: World) -> None:
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Single-key shortcuts are on in this browser").uncheck()
    page.keyboard.press("Escape")
    page.goto("/modules")
    page.keyboard.press("/")
    expect(page.get_by_label("Find a release")).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_tab_comes_first_to_the_content_and_focus_is_seen(page: Page) -> None:
    page.goto("/releases")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    assert skip.evaluate("(element) => getComputedStyle(element).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
