"""Pages in states that pass, and those of others than the administrator: axe in light and dark, the narrowest screen.

The application is in the test's own process, with runs as the stores leave them: what matters here is what is drawn.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from app import create_app
from app.adapters import migrate
from app.bootstrap import Container
from app.config import load_settings
from app.domain.access import Role
from app.domain.run import Stage, Status
from tests.e2e import browser as chrome
from tests.e2e.browser import WIDTHS, Visitor, axe_findings
from tests.integration.gitlab_helpers import connect
from tests.integration.pages_world import MIRROR
from tests.integration.stored import PUSHED, A, B, Stored
from tests.integration.test_pages_mirrors import a_mirror
from tests.integration.web_world import BODY_LIMIT, CONFIG, ENVIRONMENT, TOKEN, free_port, release, signed
from tests.sandbox.gitlab import GitLab

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)

Scheme = Literal["light", "dark"]
STEP = {"tag": "v1.0.0", "commit": A, "new": True, "branch_at": B, "h1": "h1:" + "C" * 43 + "="}
VERIFY = {
    "verdict": "served_other_content",
    "asked": ".zip",
    "commit_served": A,
    "commit_released": A,
    "h1_served": "h1:" + "B" * 43 + "=",
    "h1_released": STEP["h1"],
    "differ": [f"internal/part{number}.go" for number in range(12)],
}


@dataclass(frozen=True)
class States:
    """Runs by what becomes of them, nothing of it while we look; `url` is where the pages are."""

    url: str
    container: Container
    running: str
    waiting: str
    blocked: str
    failed: str
    done: str
    rejected: str
    delivery: str
    viewer: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def gitlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitLab]:
    """With a mirror that somebody changed."""
    with GitLab(tmp_path_factory.mktemp("gitlab")) as server:
        server.create_group("go-mirrors")
        connect(server).ensure_project(MIRROR)
        server.project(MIRROR).protected_tags.pop("*/v*")
        yield server


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory, gitlab: GitLab) -> Iterator[States]:
    directory, port = tmp_path_factory.mktemp("modsync"), free_port()
    text = CONFIG.format(port=port, limit=BODY_LIMIT).replace("https://gitlab.corp.example", gitlab.url)
    (directory / "modsync.toml").write_text(f"{text}[sandbox]\nenabled = true\n")
    settings = load_settings(directory / "modsync.toml", {**ENVIRONMENT, "GITLAB_TOKEN": gitlab.create_token()})
    migrate.upgrade(settings.store.url)
    container = Container(settings)
    a_mirror(container)
    server = make_server("127.0.0.1", port, create_app(container), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield told(container, settings.web.base_url)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(container: Container, url: str) -> States:
    stored = Stored(container.engine)
    stored.now = container.clock.now() - timedelta(minutes=3)
    running, waiting, blocked, failed, done = (stored.release(version=f"v1.{n}.0").run_id for n in range(5))
    claim = stored.claim(blocked)
    stored.record(claim, Status.MIRROR, error="source_unreachable", due_at=stored.now + timedelta(hours=1))
    stored.flow.claim(running, "worker-1", stored.now, 3600)
    verify_fails(stored, failed)
    stored.finish(done)
    rejected = stored.release(B, "v1.4.0").run_id
    raw = release(version="v9.0.0")
    delivery = container.intake.receive("platform", signed(raw), raw).delivery
    viewer, _ = container.access.create_token("looks", Role.VIEWER, 1, "test")
    return States(url, container, running, waiting, blocked, failed, done, rejected, delivery, viewer)


def verify_fails(stored: Stored, run: str) -> None:
    """The proxy serves other content."""
    claim = stored.claim(run)
    stored.record(claim, Status.PIPELINE, stage=Stage.PIPELINE, facts=PUSHED, pushed=True, detail=STEP)
    facts = {**PUSHED, "verify": VERIFY}
    stored.record(
        claim, Status.REJECTED, stage=Stage.VERIFY, error="served_other_content", facts=facts, detail={"verify": VERIFY}
    )  # fmt: skip


def opened(page: Page) -> Page:
    """The page with everything unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    return page


def in_flight(visitor: Visitor, states: States) -> Iterator[tuple[str, Page]]:
    """Runs that go on, with their drawn lanes and the form that cancels them."""
    for name, run, lane in (
        ("running", states.running, "running"), ("waiting", states.waiting, "waiting"), ("blocked", states.blocked, "retry"),
    ):  # fmt: skip
        page = opened(visitor.open(f"/runs/{run}"))
        expect(page.locator(f"#run-timeline svg.bar rect.{lane}").first).to_be_attached()
        expect(page.get_by_role("button", name="Yes, cancel it")).to_be_visible()
        yield name, page
    page = opened(visitor.open(f"/runs/{states.failed}"))
    expect(page.locator("#run-facts")).to_contain_text("they differ")
    yield "differs", page
    yield "now", opened(visitor.open("/"))


def answered(visitor: Visitor) -> Iterator[tuple[str, Page]]:
    """What stands on a page after somebody pressed a button: drift with the form that mends it, a source's test."""
    page = visitor.open(f"/mirrors/{MIRROR}")
    page.get_by_role("button", name="Check").click()
    expect(page.locator(".check")).to_contain_text("protected tags")
    expect(opened(page).get_by_role("button", name="Mend", exact=True)).to_be_visible()
    yield "drift", page
    page = opened(visitor.open("/sources"))
    page.get_by_role("button", name="Test", exact=True).first.click()
    expect(page.locator("#platform .check .box")).to_contain_text("A new run would begin")
    yield "source test", opened(page)


def open_pages(visitor: Visitor, states: States) -> Iterator[tuple[str, Page]]:
    """What is seen without a login."""
    link = states.container.access.create_link("vera", Role.VIEWER, "test")
    page = visitor.open(f"/login?link={link}")
    expect(page.locator("main")).to_contain_text("This link logs you in once")
    yield "link", page
    page = visitor.open("/setup")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Set go up")
    yield "setup", page


def of_a_viewer(visitor: Visitor, states: States) -> Iterator[tuple[str, Page]]:
    """Pages that show fewer buttons, and why."""
    paths = (f"/runs/{states.failed}", f"/runs/{states.rejected}", f"/runs/{states.waiting}",
             f"/deliveries/{states.delivery}", "/", "/sources", "/replays?code=served_other_content", f"/mirrors/{MIRROR}",
             "/audit")  # fmt: skip
    for path in paths:
        yield f"viewer {path}", opened(visitor.open(path))


def everything(
    browser: Browser, states: States, scheme: Scheme, width: int = 1280
) -> Iterator[tuple[str, Page, Visitor]]:
    """Each page, by a name; whoever visits must have nothing to complain about."""
    with Visitor(browser, states.url, scheme=scheme, width=width) as visitor:
        for name, page in open_pages(visitor, states):
            yield name, page, visitor
        visitor.open("/", TOKEN)
        yield "api docs", visitor.open("/api/docs"), visitor
        for pages in (in_flight(visitor, states), answered(visitor)):
            for name, page in pages:
                yield name, page, visitor
        assert visitor.complaints == []
    with Visitor(browser, states.url, scheme=scheme, width=width) as visitor:
        visitor.open("/", states.viewer)
        for name, page in of_a_viewer(visitor, states):
            yield name, page, visitor
        assert visitor.complaints == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_while_things_go_on(browser: Browser, states: States, scheme: Scheme) -> None:
    found = {name: axe_findings(page) for name, page, _ in everything(browser, states, scheme)}
    assert {name: findings for name, findings in found.items() if findings} == {}
    assert len(found) == 19


@pytest.mark.timeout(240)
def test_none_of_them_is_wider_than_the_narrowest_screen(
    browser: Browser, states: States, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shots, wide = tmp_path_factory.mktemp("screenshots"), {}
    for name, page, visitor in everything(browser, states, "light", min(WIDTHS)):
        page.screenshot(path=shots / f"{name.replace('/', '_')[:60]}.png", full_page=True)
        wide[name] = visitor.overflow()
    assert {name: found for name, found in wide.items() if found} == {}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_proxys_answers_are_read_at_every_width(
    browser: Browser, states: States, width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shots = tmp_path_factory.mktemp(f"answers-{width}")  # kept for whoever wants to look
    with Visitor(browser, states.url, width=width) as visitor:
        visitor.open("/", TOKEN)
        for run, outcomes in ((states.failed, ["ok", "ok", "bad", "unknown", "unknown"]), (states.done, ["ok"] * 5)):
            table = visitor.open(f"/runs/{run}").get_by_role("table", name="The proxy's answers")
            expect(table.locator(".badge")).to_contain_text(outcomes)
            expect(table).not_to_contain_text("{")
            table.screenshot(path=shots / f"{outcomes[2]}.png")
            assert visitor.overflow() == []
        assert visitor.complaints == []
