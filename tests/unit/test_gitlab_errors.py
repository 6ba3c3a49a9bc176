"""GitLab's answers and the codes that they become: the table, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from app.adapters.gitlab_errors import Call, classify, flatten, is_taken, is_there_already

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FIND = Call("find project", "mirrors/ledger")
GROUP = Call("find group", "mirrors", missing="group_missing")
SET_UP = Call("set up project", "mirrors/ledger", writes=True)
PIPELINE = Call("create pipeline", "on ci-sync of project 7", refused="pipeline_refused", writes=True)
_API = "https://gitlab.example/api/v4/projects/"


def code(call: Call, status: int | None, message: Any, headers: Mapping[str, str] | None = None) -> str:
    return classify(status, message, headers or {}, call=call, now=NOW).code


@pytest.mark.parametrize(
    ("call", "status", "message", "wanted"),
    [
        (FIND, 401, "401 Unauthorized", "token_expired"),
        (FIND, 401, "invalid_token", "token_expired"),
        (SET_UP, 403, "403 Forbidden", "forbidden"),
        (FIND, 403, "insufficient_scope", "forbidden"),
        (FIND, 403, "Forbidden\n", "rate_limited"),
        (FIND, 403, b"Forbidden\n", "rate_limited"),
        (SET_UP, 403, "You cannot perform write operations on a read-only instance", "read_only"),
        (
            SET_UP,
            403,
            "Git push is not allowed because this GitLab instance is currently in (read-only) maintenance mode.",
            "read_only",
        ),
        (SET_UP, 400, {"name": ["go/read-only-fs is too long"]}, "gitlab_refused"),
        (SET_UP, 503, "You cannot perform write operations on a read-only instance", "read_only"),
        (FIND, 503, "no upstream for read-only-fs", "gitlab_unavailable"),
        (FIND, 404, "404 Project Not Found", "project_missing"),
        (GROUP, 404, "404 Group Not Found", "group_missing"),
        (Call("read pipeline", "9", missing="gitlab_refused"), 404, "404 Pipeline Not Found", "gitlab_refused"),
        (Call("read pipeline", "9", missing="gitlab_refused"), 404, "404 Project Not Found", "project_missing"),
        (FIND, 408, "<html>408 Request Time-out</html>", "gitlab_unavailable"),
        (PIPELINE, 408, "", "gitlab_unavailable"),
        (FIND, 409, "Resource lock: please retry", "gitlab_unavailable"),
        (FIND, 409, "Conflict", "gitlab_refused"),
        (SET_UP, 400, {"namespace": ["is not valid"]}, "forbidden"),
        (SET_UP, 400, {"name": ["is too long"]}, "gitlab_refused"),
        (FIND, 418, "", "gitlab_refused"),
        (FIND, 429, "Retry later\n", "rate_limited"),
        (FIND, 500, "500 Internal Server Error", "gitlab_unavailable"),
        (FIND, 502, b"<html>GitLab is not responding</html>", "gitlab_unavailable"),
        (FIND, 503, "", "gitlab_unavailable"),
        (SET_UP, 503, "GitLab is undergoing maintenance", "gitlab_unavailable"),
        (FIND, None, "Connection refused", "gitlab_unreachable"),
    ],
)
def test_status_and_text_decide(call: Call, status: int | None, message: Any, wanted: str) -> None:
    assert code(call, status, message) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Missing CI config file", "no_ci_config"),
        ("Missing .gitlab-ci.yml file", "no_ci_config"),
        ("Project `platform/ci` not found or access denied! Make sure any includes are correct.", "no_ci_config"),
        ("Project `platform/ci` file `precache.yml` does not exist!", "no_ci_config"),
        ("precache job: chosen stage warm does not exist; available stages are build, test", "pipeline_refused"),
        ("precache job: chosen stage read-only does not exist; available stages are build", "pipeline_refused"),
        ("Reference not found", "push_not_visible"),
        ("Ref is ambiguous", "pipeline_refused"),
        ("Pipelines are disabled!", "pipeline_refused"),
        ("Insufficient permissions to create a new pipeline", "forbidden"),
        ("Insufficient permissions to set pipeline variables", "pipeline_refused"),
        ("You do not have sufficient permission to run a pipeline on 'ci-sync'. Please select another.", "forbidden"),
        ("Pipeline filtered out by workflow rules.", "pipeline_skipped"),
        ("Pipeline will not run for the selected trigger. The rules configuration prevented any", "pipeline_skipped"),
        ("Too many pipelines created in the last minute. Try again later.", "rate_limited"),
        ("Failed to persist the pipeline, please retry", "gitlab_unavailable"),
        ("Failed to persist the pipeline: Validation failed: Name is invalid", "pipeline_refused"),
        ("jobs config should contain at least one visible job", "pipeline_refused"),
    ],
)
def test_a_refused_pipeline_says_why(text: str, wanted: str) -> None:
    error = classify(400, {"base": [text]}, call=PIPELINE)
    assert error.code == wanted
    assert text in error.message
    assert "project 7" in error.message


def test_the_limit_of_a_commits_pipelines_is_a_minutes() -> None:
    text = {"base": ["Too many pipelines created in the last minute. Try again later."]}
    assert classify(400, text, call=PIPELINE).retry_after == 60.0
    assert classify(400, {"base": ["Reference not found"]}, call=PIPELINE).retry_after is None


def test_the_texts_of_pipelines_mean_nothing_elsewhere() -> None:
    assert code(SET_UP, 400, {"base": ["Missing CI config file"]}) == "gitlab_refused"


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, None),
        ({"Retry-After": "60"}, 60.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT"}, 90.0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT", "Date": "Sun, 01 Mar 2026 12:01:20 GMT"}, 10.0),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "999999999"}, 3600.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"RateLimit-Reset": str(int(NOW.timestamp()) + 42)}, 42.0),
        ({"Retry-After": "5", "RateLimit-Reset": str(int(NOW.timestamp()) + 42)}, 5.0),
    ],
)
def test_how_long_a_limit_wants_us_to_wait(headers: Mapping[str, str], wanted: float | None) -> None:
    error = classify(429, "Retry later\n", headers, call=FIND, now=NOW)
    assert (error.code, error.retry_after) == ("rate_limited", wanted)


def test_maintenance_refuses_writes_as_read_only_and_reads_as_unavailable() -> None:
    wait = {"Retry-After": "30"}
    assert code(SET_UP, 503, "GitLab is undergoing maintenance", wait) == "read_only"
    assert code(FIND, 503, "GitLab is not responding", wait) == "gitlab_unavailable"
    assert classify(503, "", wait, call=SET_UP, now=NOW).retry_after == 30.0


@pytest.mark.parametrize(
    ("location", "wanted", "words"),
    [
        (f"{_API}42", "project_missing", "moved to project 42"),
        (f"{_API}mirrors%2Fnew%2Fledger?x=1", "project_missing", "moved to project mirrors/new/ledger"),
        (f"{_API}mirrors%2Fledger", "gitlab_refused", "check gitlab.url"),
        ("https://login.example/saml?SAMLRequest=abc", "gitlab_refused", "https://login.example/saml"),
    ],
)
def test_a_redirect_names_the_new_place_or_the_wrong_url(location: str, wanted: str, words: str) -> None:
    error = classify(301, "", {"Location": location}, call=FIND)
    assert error.code == wanted
    assert words in error.message
    assert "SAMLRequest" not in error.message


def test_the_races_are_told_apart_from_other_refusals() -> None:
    taken = {"project_namespace.name": ["has already been taken"], "path": ["has already been taken"]}
    assert is_taken(classify(400, taken, call=SET_UP))
    assert is_taken(classify(400, 'Failed to save group {:path=>["has already been taken"]}', call=SET_UP))
    assert not is_taken(classify(400, {"path": ["is too long"]}, call=SET_UP))
    assert not is_taken(classify(502, "has already been taken", call=SET_UP))
    assert is_there_already(classify(409, "Protected branch 'ci-sync' already exists", call=SET_UP))
    assert is_there_already(classify(422, ["Name has already been taken"], call=SET_UP))
    assert not is_there_already(classify(422, ["Name is invalid"], call=SET_UP))
    twice = ["Create access levels access level has already been taken"]  # another model's, of a rule that was not made
    assert not is_there_already(classify(422, twice, call=SET_UP))
    assert not is_there_already(classify(500, "Name has already been taken", call=SET_UP))


def test_messages_of_any_shape_become_one_short_line() -> None:
    assert flatten({"base": ["a", "b"], "path": {"deep": ["c"]}}) == "base: a, b; path: deep: c"
    assert flatten(b"two\nlines \xff") == "two lines \N{REPLACEMENT CHARACTER}"
    assert flatten(" <!DOCTYPE html><title>502</title>") == "an HTML page instead of an answer of the API"
    assert flatten(None) == ""
    assert len(classify(400, "x" * 10_000, call=FIND).message) == 700


def test_what_is_known_as_secret_is_not_in_the_message() -> None:
    secret = "s3cr3t/token"
    assert "s3cr3t" not in classify(400, "x" * 650 + secret, call=FIND, secrets=(secret,)).message
    for form in (secret, "s3cr3t%2Ftoken"):
        error = classify(400, f"cannot parse {form}", call=FIND, secrets=(secret,))
        assert form not in str(error)
        assert "cannot parse" in str(error)


def test_hints_for_refusals_that_say_too_little() -> None:
    assert "scope api" in classify(403, "insufficient_scope", call=FIND).message
    assert "banned" in classify(403, "Forbidden\n", call=FIND).message


def test_a_banned_address_comes_back_later() -> None:
    assert classify(403, "Forbidden\n", call=FIND).retry_after == 600.0
    assert classify(403, "403 Forbidden", call=FIND).retry_after is None
