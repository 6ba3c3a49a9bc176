"""Login, sessions and forged requests over real HTTP; how the server starts and ends."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.web_world import (
    BEARER,
    BROWSER,
    FORM,
    TOKEN,
    WebWorld,
    descendants,
    make_world,
    release,
    running,
    until,
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    yield from running(tmp_path_factory.mktemp("web"))


def test_a_browser_is_sent_to_the_login_and_back(web: WebWorld) -> None:
    away = web.ask("GET", "/rq/0/view/workers", headers=BROWSER)
    assert (away.status, away.headers["location"]) == (303, "/login?next=/rq/0/view/workers")
    form = web.ask("GET", away.headers["location"], headers=BROWSER)
    assert 'value="/rq/0/view/workers"' in form.text
    back = web.login(next="/rq/0/view/workers")
    assert (back.status, back.headers["location"]) == (303, "/rq/0/view/workers")


def test_the_session_cookie_is_for_this_site_and_no_script(web: WebWorld) -> None:
    cookie = web.login().headers["set-cookie"]
    assert re.search(r"; HttpOnly", cookie)
    assert re.search(r"; SameSite=Strict", cookie)
    assert "; Path=/" in cookie
    assert TOKEN not in cookie


def test_an_api_client_gets_401_and_json(web: WebWorld) -> None:
    answer = web.ask("GET", "/api/runs", headers=BROWSER)
    assert (answer.status, answer.json["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_wrong_token_is_refused_even_with_a_session(web: WebWorld) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    assert web.ask("GET", "/api/runs", headers=wrong).status == 401
    assert web.ask("GET", "/api/runs", headers={**web.cookie(), **wrong}).status == 401
    assert web.ask("GET", "/api/runs", headers=web.cookie()).status == 200


@pytest.mark.parametrize("target", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "x"])
def test_a_login_sends_nobody_elsewhere(web: WebWorld, target: str) -> None:
    assert web.login(next=target).headers["location"] == "/"


def test_a_changed_cookie_is_no_session(web: WebWorld) -> None:
    cookie = web.cookie()["Cookie"]
    broken = cookie[:-2] + ("AA" if not cookie.endswith("AA") else "BB")
    assert web.ask("GET", "/api/runs", headers={"Cookie": broken}).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 404),
        ({"Origin": "{own}"}, 404),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "{own}"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_session_changes_something_only_from_our_own_pages(
    web: WebWorld, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.format(own=web.settings.web.base_url) for name, value in headers.items()}
    answer = web.ask("POST", f"/api/runs/r{'0' * 19}/replay", b"", {**web.cookie(), **sent})
    assert answer.status == status


def test_another_site_cannot_log_people_in(web: WebWorld) -> None:
    headers = {**FORM, "Origin": "https://elsewhere.example"}
    assert web.ask("POST", "/login", f"token={TOKEN}".encode(), headers).status == 403


def test_logout_ends_the_session_in_the_browser(web: WebWorld) -> None:
    answer = web.ask("POST", "/logout", b"", {**web.cookie(), "Sec-Fetch-Site": "same-origin"})
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_private_pages_carry_their_guards(web: WebWorld) -> None:
    headers = web.ask("GET", "/", headers={**web.cookie(), **BROWSER}).headers
    assert "script-src 'self';" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert headers["referrer-policy"] == "same-origin"


def test_an_unknown_address_is_a_json_404_or_a_page(web: WebWorld) -> None:
    assert web.ask("GET", "/api/nothing", headers=BROWSER).json["error"]["code"] == "not_found"
    page = web.ask("GET", "/nothing", headers=BROWSER)
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_guessing_tokens_is_braked_across_processes(tmp_path: Path) -> None:
    for world in running(tmp_path):
        answers = [world.login(token=f"guess-{n}") for n in range(14)]
        assert [answer.status for answer in answers] == [401] * 10 + [429] * 4
        assert 0 < int(answers[-1].headers["retry-after"]) <= 301
        assert answers[-1].json["error"]["code"] == "too_many_attempts"
        assert world.login().status == 429  # the right token, too: it could be the next guess
        # Nobody who is not a trusted proxy gets another address by saying so.
        form = b"token=guess"
        assert world.ask("POST", "/login", form, {**FORM, "X-Forwarded-For": "198.51.100.1"}).status == 429


def test_guessing_tokens_at_the_api_is_braked(tmp_path: Path) -> None:
    front = '[web]\ntrusted_proxies = ["127.0.0.1/32"]\n'
    for world in _alone(tmp_path, front):
        guess, other = {"Authorization": "Bearer guess"}, {"X-Forwarded-For": "198.51.100.1"}
        answers = [world.ask("GET", "/api/runs", headers=guess) for _ in range(33)]
        assert [answer.status for answer in answers] == [401] * 30 + [429] * 3
        assert 0 < int(answers[-1].headers["retry-after"]) <= 301
        assert answers[-1].json["error"]["code"] == "too_many_attempts"
        assert world.get("/api/runs").status == 429  # the right token, too: it could be the next guess
        assert world.ask("GET", "/api/runs", headers={**BEARER, **other}).status == 200
        assert world.login().status == 303  # people are not locked out by a script


def test_behind_a_proxy_that_is_not_trusted_nobody_waits_for_others(tmp_path: Path) -> None:
    for world in _alone(tmp_path, ""):
        forwarded = {"X-Forwarded-For": "198.51.100.1"}
        guess = {"Authorization": "Bearer guess", **forwarded}
        assert {world.ask("GET", "/api/runs", headers=guess).status for _ in range(33)} == {401}
        assert world.ask("GET", "/api/runs", headers={**BEARER, **forwarded}).status == 200


def _alone(directory: Path, front: str) -> Iterator[WebWorld]:
    """One web process, for each of them counts by itself."""
    world = make_world(directory)
    path = directory / "modsync.toml"
    path.write_text(path.read_text().replace("workers = 2", "workers = 1").replace("[web]\n", front or "[web]\n"))
    try:
        world.start_redis()
        world.start_web()
        yield world
    finally:
        world.stop()


def test_guessing_is_braked_by_each_process_while_redis_is_away(tmp_path: Path) -> None:
    for world in running(tmp_path):
        redis = world.children[0]
        redis.terminate()
        redis.wait(20)
        answers = [world.login(token=f"guess-{n}") for n in range(40)]
        assert {answer.status for answer in answers} == {401, 429}
        assert any(event["event"] == "throttle_alone" for event in world.log())


def test_sigterm_ends_all_processes_and_answers_what_was_asked(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    try:
        world.start_redis()
        server = world.start_web()
        children = descendants(server)
        assert len(children) == world.settings.web.workers
        assert world.deliver(release()).status == 202
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
        assert psutil.wait_procs(children, timeout=5)[1] == []
    finally:
        world.stop()


def test_a_killed_worker_is_replaced_and_its_counts_stay(tmp_path: Path) -> None:
    counted = 'modsync_deliveries_total{source="platform",verdict="accepted"} 6.0'
    for world in running(tmp_path):
        server = world.children[-1]
        for patch in range(6):
            world.deliver(release(version=f"v1.0.{patch}"))
        before = descendants(server)
        before[0].kill()
        until(lambda: set(descendants(server)) - set(before))  # noqa: B023 - called within this turn
        until(lambda: world.ask("GET", "/readyz").status == 200)  # noqa: B023
        assert counted in world.ask("GET", "/metrics").text


def test_the_process_titles_and_logs_hold_no_secret(web: WebWorld) -> None:
    server = web.children[-1]
    titles = " ".join(" ".join(each.cmdline()) for each in [psutil.Process(server.pid), *descendants(server)])
    logs = (web.directory / "web.log").read_text()
    for secret in ("a-token-for-the-admin", "a-secret-for-the-hook", "glpat-"):
        assert secret not in titles
        assert secret not in logs


def test_every_log_line_is_one_json_event(web: WebWorld) -> None:
    web.ask("GET", "/api/runs", headers=BEARER)
    events = web.log()
    assert {"request"} < {event["event"] for event in events}
    assert all({"event", "level", "logger", "timestamp", "role"} <= set(event) for event in events)
    assert all(event["timestamp"].endswith("Z") for event in events)
    assert all(event["event"].isidentifier() for event in events)
    assert any(event["event"] == "gunicorn" and "Listening at" in event["text"] for event in events)
