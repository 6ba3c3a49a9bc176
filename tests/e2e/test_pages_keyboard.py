"""The pages without a mouse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e import browser as chrome
from tests.e2e.browser import Visitor
from tests.e2e.pages_story import Told, tell
from tests.sandbox.service import Service
from tests.sandbox.world import World

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)


Case = Callable[[Page, str, World, Told], None]


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


def goes(path: str, start: str = "/") -> Case:
    """`g` and a letter go to this page, from another one."""

    def case(page: Page, keys: str, world: World, _told: Told) -> None:
        page.goto(start)
        for key in keys.split():
            page.keyboard.press(key)
        page.wait_for_url(world.url + path)
        current = page.get_by_role("navigation", name="Pages").locator('[aria-current="page"]')
        expect(current).to_have_attribute("href", path)

    return case


def goes_to_the_dashboard(page: Page, keys: str, world: World, _told: Told) -> None:
    """Other people's page, without our navigation."""
    for key in keys.split():
        page.keyboard.press(key)
    page.wait_for_url(f"{world.url}/rq/")
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()


def opens_the_help(page: Page, key: str, _world: World, _told: Told) -> None:
    page.keyboard.press(key)
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


def closes_the_help(page: Page, key: str, _world: World, _told: Told) -> None:
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press({"Esc": "Escape"}[key])
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_hidden()


def finds(page: Page, key: str, _world: World, _told: Told) -> None:
    page.keyboard.press(key)
    expect(page.get_by_label("Find a release")).to_be_focused()
    expect(page.get_by_label("Find a release")).to_have_value("")


def focuses_row(at: int) -> Case:
    """The key goes from the first of two rows to this one."""

    def case(page: Page, key: str, _world: World, _told: Told) -> None:
        rows = two_rows(page)
        rows.nth(1 - at).focus()
        page.keyboard.press(key)
        expect(rows.nth(at)).to_be_focused()

    return case


def opens_the_row(page: Page, key: str, world: World, told: Told) -> None:
    two_rows(page).last.focus()
    page.keyboard.press(key)
    page.wait_for_url(f"{world.url}/runs/{told.done}")


def two_rows(page: Page) -> Locator:
    page.goto("/releases?q=keys/done")
    rows = page.locator("main a.row")
    expect(rows).to_have_count(2)
    return rows


def goes_to_the_replay(page: Page, key: str, _world: World, told: Told) -> None:
    page.goto(f"/runs/{told.failed}")
    page.keyboard.press(key)
    expect(page.get_by_label("Replay from")).to_be_focused()


# Every key of the help, in its order.
KEYS: dict[str, Case] = {
    "?": opens_the_help, "/": finds, "g n": goes("/", "/releases"), "g r": goes("/releases"), "g m": goes("/modules"),
    "g i": goes("/mirrors"), "g d": goes("/deliveries"), "g s": goes("/sources"), "g b": goes("/replays"),
    "g q": goes_to_the_dashboard, "g a": goes("/audit"), "j": focuses_row(1), "k": focuses_row(0), "Enter": opens_the_row,
    "r": goes_to_the_replay, "Esc": closes_the_help,
}  # fmt: skip


@pytest.mark.parametrize("keys", KEYS)
def test_a_key_does_what_the_help_says(page: Page, world: World, told: Told, keys: str) -> None:
    KEYS[keys](page, keys, world, told)


def test_no_key_is_without_a_test(page: Page) -> None:
    page.keyboard.press("?")
    found: list[str] = page.evaluate(_HELP)
    assert found == list(KEYS)
    script = page.request.get("/static/keys.js").text()
    single = set(re.findall(r'^    "(.)": function', script, re.MULTILINE))
    assert single == {each for each in KEYS if len(each) == 1} | {"g"}
    letters: list[str] = page.evaluate(
        "Array.from(document.querySelectorAll('[data-key]'), (each) => each.dataset.key)"
    )
    assert sorted(letters) == sorted(each[2:] for each in KEYS if each.startswith("g "))


# A term is one key after the other, or with commas several; a description may name one more.
_HELP = """() => Array.from(document.querySelectorAll("#keys dl > div")).flatMap((line) => {
  const named = (part) => Array.from(line.querySelectorAll(part + " kbd"), (each) => each.textContent);
  const term = line.querySelector("dt").textContent.includes(",") ? named("dt") : [named("dt").join(" ")];
  return [...term, ...named("dd")];
})"""


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
