"""Webhooks over real HTTP: every answer of POST /webhooks/<source>."""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.web_world import BODY_LIMIT, WebWorld, make_world, release, running, signed


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    yield from running(tmp_path_factory.mktemp("web"))


def recorded(web: WebWorld) -> int:
    return int(web.rows("SELECT count(*) FROM deliveries")[0][0])


def test_a_new_release_is_accepted_and_recorded(web: WebWorld) -> None:
    answer = web.deliver(release(version="v1.0.0"))
    assert answer.status == 202
    (run,) = answer.json["runs"]
    assert (run["status"], run["duplicate"]) == ("queued", False)
    assert run["links"]["self"] == f"{web.settings.web.base_url}/api/runs/{run['id']}"
    assert web.rows(f"SELECT status, delivery FROM runs WHERE id = '{run['id']}'") == [
        ("queued", answer.json["delivery"])
    ]


def test_the_same_delivery_again_is_a_duplicate(web: WebWorld) -> None:
    first, again = (web.deliver(release(version="v1.1.0")) for _ in range(2))
    assert (first.status, again.status) == (202, 200)
    assert again.json["delivery"] == first.json["delivery"]
    assert again.json["runs"][0] == {**first.json["runs"][0], "duplicate": True}


def test_a_module_without_a_rule_is_recorded_as_rejected(web: WebWorld) -> None:
    answer = web.deliver(release("elsewhere.example/module"))
    assert answer.status == 202
    assert (answer.json["runs"][0]["status"], answer.json["runs"][0]["error"]) == ("rejected", "no_rule")


def test_a_hundred_identical_deliveries_at_once_make_one_run(web: WebWorld) -> None:
    raw = release(version="v1.99.9")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: web.deliver(raw), range(100)))
    assert sorted(answer.status for answer in answers) == [200] * 99 + [202]
    assert len({answer.json["runs"][0]["id"] for answer in answers}) == 1
    assert web.rows("SELECT count(*) FROM runs WHERE version = 'v1.99.9'") == [(1,)]


def test_bad_signature_and_unknown_source_look_the_same_and_leave_no_trace(web: WebWorld) -> None:
    raw, before = release(version="v1.66.6"), recorded(web)
    refusals = [
        web.ask("POST", "/webhooks/platform", raw),
        web.ask("POST", "/webhooks/platform", raw, signed(raw, "another-secret-entirely")),
        web.ask("POST", "/webhooks/platform", raw, {"X-Gitlab-Token": "sha256=nothex"}),
        web.ask("POST", "/webhooks/nobody", raw, signed(raw)),
    ]
    assert {answer.status for answer in refusals} == {401}
    assert len({answer.raw for answer in refusals}) == 1
    varying = {"date"}
    shapes = [{name: value for name, value in each.headers.items() if name not in varying} for each in refusals]
    assert all(shape == shapes[0] for shape in shapes)
    assert refusals[0].json["error"]["code"] == "bad_signature"
    assert recorded(web) == before


def test_only_a_refused_signature_leaves_the_senders_address_in_the_log(web: WebWorld) -> None:
    seen = len(web.log())
    web.ask("POST", "/webhooks/platform", release(), {"X-Gitlab-Token": "sha256=nothex"})
    web.deliver(b"{}")
    web.deliver(release(version="v1.67.0"))
    lines = [each for each in web.log()[seen:] if each["event"] in ("delivery_refused", "delivery_received")]
    assert [(each.get("code"), each.get("address")) for each in lines] == [
        ("bad_signature", "127.0.0.1"), ("invalid_payload", None), (None, None),
    ]  # fmt: skip


def test_a_refused_pipeline_event_leaves_the_senders_address_in_the_log(web: WebWorld) -> None:
    seen = len(web.log())
    assert web.ask("POST", "/hooks/gitlab", b"{}", {"X-Gitlab-Token": "a-guess"}).status == 401
    (line,) = (each for each in web.log()[seen:] if each["event"] == "pipeline_event_refused")
    assert (line["code"], line["address"]) == ("bad_signature", "127.0.0.1")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"not json", "body"),
        (b"[]", "body"),
        (b'{"ref": "v1.0.0", "commit_id": "' + b"a" * 40 + b'"}', "module_path"),
        (release("Not A Module"), "module_path"),
        (release(commit_id="abc"), "commit_id"),
        (release("open.corp.example/team/repo", repo_url="https://elsewhere.example/x.git"), "repo_url"),
    ],
)
def test_what_is_signed_but_wrong_names_the_field(web: WebWorld, raw: bytes, field: str) -> None:
    before = web.rows("SELECT count(*) FROM runs")
    answer = web.deliver(raw)
    assert (answer.status, answer.json["error"]["field"]) == (422, field)
    code = answer.json["error"]["code"]
    assert code in {"invalid_payload", "clone_url_refused"}
    assert web.rows("SELECT count(*) FROM runs") == before
    newest = "SELECT verdict, reason FROM deliveries ORDER BY last_seen_at DESC LIMIT 1"
    assert web.rows(newest) == [("refused", code)]


@pytest.mark.parametrize("source", ["platform", "nobody"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413_before_it_is_verified(web: WebWorld, source: str, chunked: bool) -> None:
    raw = b"x" * (BODY_LIMIT + 1)
    answer = web.ask("POST", f"/webhooks/{source}", raw, signed(raw), chunked=chunked)
    assert (answer.status, answer.json["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_exactly_the_limit_is_read(web: WebWorld, chunked: bool) -> None:
    raw = b"x" * BODY_LIMIT
    answer = web.ask("POST", "/webhooks/platform", raw, signed(raw), chunked=chunked)
    assert (answer.status, answer.json["error"]["field"]) == (422, "body")


def test_a_chunked_body_is_a_body_like_any_other(web: WebWorld) -> None:
    raw = release(version="v1.4.0")
    assert web.ask("POST", "/webhooks/platform", raw, signed(raw), chunked=True).status == 202


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(web: WebWorld, method: str) -> None:
    answer = web.ask(method, "/webhooks/platform")
    assert (answer.status, answer.json["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


def test_the_senders_text_is_in_no_log_line_and_no_label(web: WebWorld) -> None:
    raw = release()
    odd = "%22%7D%0Aforged"
    assert web.ask("POST", f"/webhooks/{odd}", raw, signed(raw)).status == 401
    assert not any("forged" in str(event) for event in web.log())
    metrics = web.get("/metrics").text
    assert 'modsync_refusals_total{reason="' in metrics
    assert "forged" not in metrics
    assert 'source="unknown"' in metrics


def test_the_log_tells_the_delivery_and_no_secret(web: WebWorld) -> None:
    answer = web.deliver(release(version="v1.5.0"))
    (event,) = (each for each in web.log() if each.get("delivery") == answer.json["delivery"])
    assert (event["event"], event["source"], event["verdict"]) == ("delivery_received", "platform", "accepted")
    assert event["role"] == "web"
    assert "secret-for-the-hook" not in (web.directory / "web.log").read_text()


def test_without_redis_deliveries_are_recorded_and_fast(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    try:
        world.start_web()
        ready = world.ask("GET", "/readyz")
        assert (ready.status, ready.json["status"], ready.json["checks"]["redis"]["state"]) == (200, "degraded", "down")
        started = time.monotonic()
        answer = world.deliver(release())
        assert time.monotonic() - started < 1.0
        assert answer.status == 202
        run = answer.json["runs"][0]["id"]
        assert world.rows(f"SELECT status FROM runs WHERE id = '{run}'") == [("queued",)]
    finally:
        world.stop()


def test_without_a_database_the_sender_is_told_to_come_again(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    try:
        world.start_web()
        for path in world.settings.data_dir.glob("modsync.db*"):
            path.unlink()
        (world.settings.data_dir / "modsync.db").mkdir()
        answer = world.deliver(release())
        assert (answer.status, answer.json["error"]["code"]) == (503, "store_unavailable")
        assert answer.json["error"]["retry"] is True
        assert int(answer.headers["retry-after"]) > 0
        assert "Traceback" not in answer.text
        assert world.ask("GET", "/readyz").status == 503
        assert world.ask("GET", "/healthz").status == 200
    finally:
        world.stop()


@pytest.mark.parametrize("body", [b"zz\r\nab\r\n", b"5\r\nab"])
def test_a_broken_body_is_400_and_no_defect(web: WebWorld, body: bytes) -> None:
    head = b"POST /webhooks/platform HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as sender:
        sender.sendall(head + body)
        sender.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: sender.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert not [event for event in web.log() if event["event"] == "request_defect"]


@pytest.mark.slow
def test_senders_that_stop_in_the_middle_do_not_stop_the_others(web: WebWorld) -> None:
    head = b"POST /webhooks/platform HTTP/1.1\r\nHost: x\r\n"
    started = [head[:1], head, head + b"Content-Length: 100\r\n\r\nab"]
    with ExitStack() as stack:
        for number in range(60):
            sender = stack.enter_context(socket.create_connection(("127.0.0.1", web.port)))
            sender.sendall(started[number % 3])
        # On each of the two processes all threads wait for the rest of something; their time is bounded.
        with ThreadPoolExecutor(11) as pool:
            raws = [release("go.corp.example/slow/one", f"v1.0.{patch}") for patch in range(10)]
            question = pool.submit(asked_by_athens, web.port)
            answers = list(pool.map(lambda raw: patiently(web, raw), raws))
    assert all(statuses[-1] == 202 for statuses, _ in answers)
    # Nobody was left without an answer until a platform's own patience (10 s) was over.
    assert {status for statuses, _ in answers for status in statuses} == {202, 503}
    assert max(seconds for _, seconds in answers) < 9
    # Athens would make a stopped build of a 503: its question waits for its turn. (No secret is set here: 403.)
    assert question.result().startswith(b"HTTP/1.1 403")
    turned = [event for event in web.log() if event["event"] == "requests_turned_away"]
    assert turned
    counted = re.findall(r"(?m)^modsync_turned_away_total ([0-9.]+)", web.get("/metrics").text)
    assert [float(each) for each in counted] == [sum(event["requests"] for event in turned)]
    assert web.rows("SELECT count(*) FROM runs WHERE module = 'go.corp.example/slow/one'") == [(10,)]


def asked_by_athens(port: int) -> bytes:
    """The answer to one question, however long it takes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as athens:
        athens.sendall(
            b"POST /athens/validate/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
        )
        return b"".join(iter(lambda: athens.recv(4096), b""))


def patiently(web: WebWorld, raw: bytes) -> tuple[list[int], float]:
    """What a platform gets that sends again when it is told so (0: no answer at all), and its longest wait for an answer."""
    statuses, longest = list[int](), 0.0
    while not statuses or (statuses[-1] in (0, 503) and len(statuses) < 30):
        begun = time.monotonic()
        try:
            answer = web.deliver(raw)
            statuses.append(answer.status)
            if answer.status == 503:
                assert (answer.json["error"]["code"], answer.headers["retry-after"]) == ("busy", "5")
                time.sleep(1)  # it may ask sooner than it is told
        except (OSError, http.client.HTTPException):
            statuses.append(0)
        longest = max(longest, time.monotonic() - begun)
    return statuses, longest
