"""An operator's whole way through the pages, for each kind of database."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.browser import Visitor
from tests.e2e.pages_story import failing
from tests.sandbox.service import Service
from tests.sandbox.world import World


def operators_way(visitor: Visitor, world: World, service: Service, repository: str) -> None:
    """From an alert's link over the login to a failed run, its error, its replay, and to where it is done."""
    (run,) = failing(world, service, repository)
    _arrive(visitor, world, run)
    _read(visitor, repository)
    _replay(visitor, world, run)
    _see_it_done(visitor, service, run, repository)


def _arrive(visitor: Visitor, world: World, run: str) -> None:
    visitor.page.goto(f"/runs/{run}")
    assert visitor.page.url == f"{world.url}/login?next=/runs/{run}"
    visitor.login(world.admin_token)
    visitor.page.wait_for_url(f"{world.url}/runs/{run}")


def _read(visitor: Visitor, repository: str) -> None:
    page = visitor.page
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"go.corp.example/{repository}@v1.0.0")
    error = page.locator("#run-error")
    expect(error).to_contain_text("pipeline_failed")
    expect(error).to_contain_text("What to do: Read the pipeline's log")
    expect(error.locator("pre.log")).to_contain_text("Couldn't connect to server")


def _replay(visitor: Visitor, world: World, run: str) -> None:
    page = visitor.page
    page.get_by_label("Replay from").select_option("pipeline")
    page.get_by_label("Reason").fill("the proxy is back")
    page.get_by_role("button", name="Replay").click()
    page.wait_for_url(f"{world.url}/runs/{run}#attempt-2")


def _see_it_done(visitor: Visitor, service: Service, run: str, repository: str) -> None:
    """Nobody loads the page again: it follows the run by itself."""
    page = visitor.page
    expect(page.locator("#run-head")).to_contain_text("done", timeout=60_000)
    expect(page.locator("#said")).to_have_text("The run is done")
    expect(page).to_have_title(f"done: go.corp.example/{repository}@v1.0.0 - modsync")
    second = page.locator("#attempt-2")
    expect(second).to_contain_text("replay by session:admin from stage pipeline")
    expect(second).to_contain_text("the proxy is back")
    # What the first attempt's pipeline said is there still.
    page.locator("#attempt-1").get_by_text("The log's end").click()
    expect(page.locator("#attempt-1 pre.log")).to_contain_text("Couldn't connect to server")
    expect(page.locator("pre.copy")).to_have_text("\n".join(service.run(run)["facts"]["go_sum"]))
    expect(page.locator("#run-facts")).to_contain_text("the same")
    assert visitor.answers.count((f"/live/runs/{run}", 200)) >= 1
