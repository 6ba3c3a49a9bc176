"""The RQ dashboard's pages in a real Chromium, under the policy of all pages: what they show, lead to and change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from tests.e2e import browser as chrome
from tests.e2e.browser import Visitor, axe_findings
from tests.e2e.rq_story import WAITING, Told, failed_run, tell
from tests.integration.web_world import TOKEN, WebWorld, redis_url, running

if chrome.missing():
    pytest.skip(chrome.missing() or "", allow_module_level=True)

STATES = ("queued", "deferred", "scheduled", "started", "finished", "failed", "canceled")
LOADING = "Loading..."
_MOMENT = datetime(2027, 1, 1, tzinfo=UTC)
# What a policy without 'unsafe-*' would refuse if it came after the page, from a script.
_INLINE = """() => Array.from(document.querySelectorAll("*")).flatMap((each) => Array.from(each.attributes)
    .filter((one) => one.name === "style" || one.name.startsWith("on") || /^\\s*javascript:/i.test(one.value))
    .map((one) => each.tagName + " " + one.name))
  .concat(Array.from(document.querySelectorAll("style, script:not([src])")).map((each) => each.outerHTML))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chrome.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    yield from running(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def queue(web: WebWorld) -> Queue:
    return Queue("live", connection=Redis.from_url(redis_url(web)), serializer=JSONSerializer)


@pytest.fixture(scope="module")
def told(web: WebWorld) -> Told:
    return tell(web)


@pytest.fixture
def visitor(browser: Browser, web: WebWorld, told: Told) -> Iterator[Visitor]:
    """On each page that they leave behind nothing is inline, and nothing was to complain about."""
    with Visitor(browser, f"http://127.0.0.1:{web.port}") as visitor:
        visitor.open("/rq/", TOKEN)
        yield visitor
        assert visitor.page.evaluate(_INLINE) == []
        assert visitor.complaints == []


def shown(page: Page) -> list[str]:
    """The ids of the jobs that the list shows, once it is there."""
    expect(page.locator("#jobs tbody")).not_to_contain_text(LOADING)
    return page.locator("#jobs .job_id").all_inner_texts()


@pytest.mark.parametrize("state", STATES)
def test_a_queues_numbers_lead_to_its_jobs_and_these_to_each(visitor: Visitor, told: Told, state: str) -> None:
    page, job = visitor.page, told.jobs[state]
    column = STATES.index(state) + 1
    expect(page.locator("#queues th").nth(column)).to_have_text(f"{state.capitalize()} jobs")
    number = page.locator("#queues tbody tr", has_text="live").locator("td").nth(column)
    expect(number).not_to_have_text("0")
    number.get_by_role("link").click()
    page.wait_for_url(f"**/rq/0/view/jobs/live/{state}/8/asc/1")
    page.get_by_role("link", name=job, exact=True).click()
    page.wait_for_url(f"**/rq/0/view/job/{job}")
    expect(page.locator("[data-text=status]")).to_have_text(state)
    expect(page.get_by_role("button", name="Requeue")).to_be_visible(visible=state == "failed")
    expect(page.get_by_role("link", name="The run of this job")).to_be_visible(visible=state == "failed")


def test_a_job_page_has_its_times_result_and_exception(visitor: Visitor, told: Told) -> None:
    page = visitor.open(f"/rq/0/view/job/{told.jobs['failed']}")
    expect(page.locator("[data-text=description]")).to_have_text(f"advance {told.run}")
    expect(page.locator("[data-text=exc_info]")).to_contain_text("JobFailed: pipeline_failed")
    expect(page.locator("[data-time=ended_at]")).to_have_text(
        re.compile(r"\d+ (seconds?|minutes?) ago / \d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    )
    page = visitor.open(f"/rq/0/view/job/{told.jobs['finished']}")
    expect(page.locator("[data-text=result]")).to_have_text('{ "done": [ 1, 2 ] }')
    expect(page.locator("[data-time=ended_at]")).to_have_text("-")


def test_a_job_names_what_it_waits_for(visitor: Visitor, told: Told, queue: Queue) -> None:
    gone = queue.enqueue("builtins.print", job_id="is-gone")
    queue.enqueue("builtins.print", job_id="waits-for", depends_on=[told.jobs["started"], gone])
    queue.remove(gone)
    queue.connection.delete(gone.key)
    page = visitor.open("/rq/0/view/job/waits-for")
    items = page.locator("#depends-on li")
    expect(items).to_have_count(2)
    expect(items.filter(has_text="is-gone (Expired)").get_by_role("link")).to_have_count(0)
    items.get_by_role("link", name=told.jobs["started"]).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(told.jobs["started"])


def test_workers_say_what_they_are_at(visitor: Visitor, told: Told) -> None:
    visitor.page.get_by_role("link", name="Workers").click()
    rows = visitor.page.locator("#workers tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="idle")).to_have_text("idleidlelive")
    expect(rows.filter(has_text="busy").locator("td").nth(1)).to_have_attribute("title", re.compile("is started"))
    rows.get_by_role("link", name="builtins.print()").click()
    visitor.page.wait_for_url(f"**/rq/0/view/job/{told.jobs['started']}")


def test_all_waiting_jobs_are_on_the_pages_once(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("link", name="Jobs").click()
    page.get_by_label("Queue", exact=True).select_option("backfill")
    page.wait_for_url("**/jobs/backfill/queued/8/asc/1")
    found = shown(page)
    expect(page.locator(".page-item.disabled")).to_have_count(2)
    for number, step in ((2, "Next page"), (3, "Page 3")):
        page.get_by_role("link", name=step, exact=True).click()
        page.wait_for_url(f"**/queued/8/asc/{number}")
        expect(page.locator("#page-selection [aria-current=page]")).to_have_text(str(number))
        found += shown(page)
    assert found == [f"waits-{number}" for number in range(WAITING)]
    page.get_by_role("link", name="First page").click()
    page.wait_for_url("**/queued/8/asc/1")
    page.get_by_role("link", name="Last page").click()
    page.wait_for_url("**/queued/8/asc/3")
    page.get_by_role("link", name="Previous page").click()
    page.wait_for_url("**/queued/8/asc/2")


def test_the_choice_of_jobs(visitor: Visitor) -> None:
    page = visitor.open("/rq/0/view/jobs/backfill/queued/8/asc/1")
    page.get_by_label("Sort order").select_option("Descending")
    page.wait_for_url("**/jobs/backfill/queued/8/dsc/1")
    page.get_by_label("On page").fill("201")
    page.keyboard.press("Enter")
    assert page.get_by_label("On page").evaluate("(field) => field.validity.rangeOverflow")
    page.get_by_label("On page").fill("5")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/backfill/queued/5/dsc/1")
    assert shown(page) == [f"waits-{WAITING - 1 - number}" for number in range(5)]
    page.get_by_label("Registry").select_option("canceled")
    page.wait_for_url("**/jobs/backfill/canceled/5/dsc/1")
    expect(page.get_by_label("Queue", exact=True)).to_have_value("backfill")


def test_a_queue_without_jobs_says_so(visitor: Visitor) -> None:
    page = visitor.open("/rq/0/view/jobs/unknown/queued/8/asc/1")
    expect(page.locator("#jobs tbody")).to_have_text("No jobs.")
    expect(page.get_by_label("Queue", exact=True)).to_have_value("unknown")
    expect(page.locator("#page-selection a")).to_have_count(0)


@pytest.mark.parametrize(("place", "version"), [("list", "v2.0.0"), ("page", "v2.1.0")])
def test_requeue_is_a_replay_and_a_refusal_is_said(
    visitor: Visitor, web: WebWorld, queue: Queue, place: str, version: str
) -> None:
    run, job = failed_run(web, queue, version)
    page = visitor.open({"list": "/rq/0/view/jobs/live/failed/100/asc/1", "page": f"/rq/0/view/job/{job}"}[place])
    button = page.locator(f'button[data-requeue="{job}"]')
    button.click()
    message = page.locator("#modsync-message")
    expect(message).to_have_text(f"Replayed: attempt 2, job {run}-2-1")
    attempt = web.get(f"/api/runs/{run}").json["attempts"][1]
    assert (attempt["kind"], attempt["actor"]) == ("replay", "session:admin")
    button.click()
    expect(message).to_contain_text("is in flight")
    assert len(web.get(f"/api/runs/{run}").json["attempts"]) == 2
    visitor.open(f"/rq/0/view/job/{run}-2-1").get_by_role("link", name="The run of this job").click()
    page.wait_for_url(f"**/runs/{run}#attempt-2")


def test_it_refreshes_by_itself_unless_that_is_off(visitor: Visitor, queue: Queue) -> None:
    page, asked = visitor.page, list[str]()
    page.clock.install(time=_MOMENT)
    page.clock.pause_at(_MOMENT + timedelta(hours=1))  # so that it asks when this test says so
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    number = page.locator("#queues tbody tr", has_text="live").locator("td").nth(1)
    before = int(number.inner_text())
    page.get_by_text("Autorefresh").click()
    queue.enqueue("builtins.print", job_id="comes-later")
    asked.clear()
    page.clock.run_for(60_000)
    expect(number).to_have_text(str(before))
    assert asked == []
    page.get_by_text("Autorefresh").click()
    page.clock.run_for(3_000)
    expect(number).to_have_text(str(before + 1))


def test_a_row_that_did_not_change_stays_in_its_place(visitor: Visitor, queue: Queue) -> None:
    page = visitor.page
    row = page.locator("#workers tbody tr", has_text="idle")
    page.get_by_role("link", name="Workers").click()
    row.evaluate("(row) => { row.sameAsBefore = true; }")
    for _ in range(2):
        page.wait_for_event("response", lambda answer: answer.url.endswith("workers.json"))
    assert row.evaluate("(row) => row.sameAsBefore")


def test_who_is_logged_out_meanwhile_is_told(visitor: Visitor) -> None:
    visitor.page.context.clear_cookies()
    expect(visitor.page.locator("#modsync-trouble")).to_contain_text("this needs a token or a login")


@pytest.mark.parametrize("width", chrome.WIDTHS)
def test_every_page_can_be_read_at_every_width(browser: Browser, web: WebWorld, told: Told, width: int) -> None:
    jobs = [f"job/{told.jobs[state]}" for state in ("failed", "finished")]
    with Visitor(browser, f"http://127.0.0.1:{web.port}", width=width) as visitor:
        visitor.open("/rq/", TOKEN)
        for path in ("queues", "workers", "jobs", "jobs/live/failed/8/asc/1", *jobs):
            page = visitor.open(f"/rq/0/view/{path}")
            expect(page.locator("main")).not_to_contain_text(LOADING)
            expect(page.locator("[data-text=status]:empty")).to_have_count(0)
            assert (visitor.overflow(), axe_findings(page)) == ([], []), path


@pytest.mark.parametrize(
    "attack",
    [
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.owned = true'}))",
        "document.body.innerHTML = '<img src=/nothing onerror=\"window.owned = true\">'",
        "document.body.innerHTML = '<p style=\"color: red\">'",
        "document.body.innerHTML = '<img src=\"data:image/gif;base64,R0lGODlhAQABAAAAACw=\">'",
        "setTimeout(() => { window.owned = new Function('return true')(); })",
        "document.body.append(Object.assign(document.createElement('script'), {src: 'data:text/javascript,owned=true'}))",
    ],
)
def test_the_policy_refuses_and_the_visitor_notices(browser: Browser, web: WebWorld, told: Told, attack: str) -> None:
    with Visitor(browser, f"http://127.0.0.1:{web.port}") as visitor:
        page = visitor.open("/rq/0/view/queues", TOKEN)
        with page.expect_console_message(lambda message: message.text.startswith("policy: ")):
            page.evaluate(f"() => {{ {attack} }}")
        assert page.evaluate("window.owned") is None
        assert [each for each in visitor.complaints if "policy: " in each]
