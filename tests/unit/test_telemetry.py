"""Logs: the form of a line, and that no secret is in any."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from structlog.stdlib import ProcessorFormatter

from app.services import log_ids
from app.telemetry import configure_logging, formatter, secret_values
from tests.integration.web_world import ENVIRONMENT, SECRET, write_settings


def line(form: str = "json", message: str = "event_name", secrets: tuple[str, ...] = (), **values: Any) -> str:
    """What one record becomes; `exc_info` among `values` is the record's."""
    error = values.pop("exc_info", None)
    logger = logging.Logger("app.somewhere")
    record = logger.makeRecord(logger.name, logging.INFO, "file", 1, message, (), error, extra=values)
    return formatter(form, "worker", secrets).format(record)


def test_a_line_is_one_json_object_with_the_values_as_fields() -> None:
    event = json.loads(line(run="r1", count=3, good=True, nothing=None, many=["a", "b"]))
    stamp = event.pop("timestamp")
    assert stamp.endswith("Z")
    assert event == {
        "event": "event_name", "level": "info", "logger": "app.somewhere", "role": "worker", "run": "r1", "count": 3,
        "good": True, "nothing": None, "many": ["a", "b"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"runs": ["r1m81j18kr0000000001", f"x {SECRET}"], "count": 3, "ratio": 0.5, "good": True, "nothing": None},
        {"admin_token": "short", "deep": {"password": "p", "list": [(SECRET,)]}, "role": "forged", "level": "forged"},
        {"error": ValueError(SECRET), "path": Path("/x"), "value": "\u2028 \x1b[31m \u00e4"},
    ],
)
@pytest.mark.parametrize("name", ["app.x", "rq.worker"])
def test_the_quick_way_says_what_the_chain_says(name: str, values: dict[str, Any]) -> None:
    record = logging.Logger(name).makeRecord(name, logging.WARNING, "f", 1, "said %s", ("it",), None, extra=values)
    quick = formatter("json", "web", (SECRET,))
    with log_ids.about(run="r0", job=SECRET):
        lines = [json.loads(quick.format(record)), json.loads(ProcessorFormatter.format(quick, record))]  # type: ignore[arg-type]
    assert list(lines[0]) == list(lines[1])
    for each in lines:
        assert each.pop("timestamp").endswith("Z")
    assert lines[0] == lines[1]
    assert lines[0]["event" if name == "app.x" else "text"] == "said it"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_librarys_sentence_is_a_field_of_one_event(form: str) -> None:
    for error in (None, (ValueError, ValueError("x"), None)):
        record = logging.Logger("rq.worker").makeRecord("rq.worker", 40, "f", 1, "Worker %s: quitting", ("w",), error)
        told = formatter(form, "worker", ()).format(record)
        if form == "json":
            event = json.loads(told)
            assert (event["event"], event["text"], event["logger"]) == ("rq", "Worker w: quitting", "rq.worker")
        else:
            assert "text='Worker w: quitting'" in told
            assert "] rq " in told


def test_lines_have_the_ids_of_what_is_at_hand_and_their_own_first() -> None:
    with log_ids.about(job="j"):
        log_ids.note(run="r", delivery="d", release="m@v1")
        for form in (line(), line(exc_info=(ValueError, ValueError("x"), None))):
            event = json.loads(form)
            assert (event["job"], event["run"], event["delivery"], event["release"]) == ("j", "r", "d", "m@v1")
        other = json.loads(line(run="r2"))
        assert (other["run"], other["job"], "delivery" in other, "release" in other) == ("r2", "j", False, False)
        assert json.loads(line(run="r", delivery="d2"))["delivery"] == "d2"
        assert "delivery=d" in line("console").replace(" ", "")
    assert "run" not in json.loads(line())


def test_ids_go_with_threads_that_are_begun_there_and_with_no_other() -> None:
    with log_ids.about(run="r"), ThreadPoolExecutor(1) as pool:
        begun, other = pool.submit(log_ids.carried(line)), pool.submit(line)
    assert (json.loads(begun.result())["run"], "run" in json.loads(other.result())) == ("r", False)


def test_what_is_noted_at_no_place_is_on_no_line() -> None:
    log_ids.note(run="r")
    log_ids.begin()
    log_ids.note(run="r")
    assert json.loads(line())["run"] == "r"
    log_ids.end()
    assert "run" not in json.loads(line())


def test_an_exception_is_one_field() -> None:
    try:
        raise ValueError(f"bad {SECRET}")
    except ValueError:
        text = line(secrets=(SECRET,), exc_info=sys.exc_info())
    assert "\n" not in text
    assert "ValueError: bad ***" in json.loads(text)["exception"]


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f"before {SECRET} after",
        [{"deep": (SECRET,)}],
        {SECRET[:3]: {"x": SECRET}},
        ValueError(SECRET),
        f"https://user:{SECRET}@git.corp.example/x.git",
        SECRET.encode(),
    ],
)
def test_no_secret_is_in_any_line_at_any_depth(form: str, value: object) -> None:
    assert SECRET not in line(form, secrets=(SECRET,), field=value)
    assert SECRET not in line(form, message=f"third party says {value}", secrets=(SECRET,))


def test_a_field_that_is_called_a_secret_is_masked_whatever_it_holds() -> None:
    event = json.loads(line(admin_token="short", password="p", source="platform", Authorization=b"x"))
    assert (event["admin_token"], event["password"], event["Authorization"]) == ("***", "***", "***")
    assert event["source"] == "platform"


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\u2028b", "a\x85b"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_value_cannot_forge_a_line(form: str, evil: str) -> None:
    for text in (line(form, field=evil), line(form, message=evil), line(form, field=[evil])):
        assert len(text.splitlines()) == 1
        assert "\x1b" not in text


def test_the_settings_secrets_are_all_known(tmp_path: Path) -> None:
    settings = write_settings(
        tmp_path, DATABASE_URL="postgresql://u:p%40ss-word@db/x", REDIS_URL="redis://:redis-pass@cache:6379/0"
    )
    found = secret_values(settings)
    assert set(ENVIRONMENT.values()) <= found
    assert {"p%40ss-word", "p@ss-word", "redis-pass"} <= found


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.captureWarnings(False)


def test_configure_takes_every_logger_once(
    tmp_path: Path, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = write_settings(tmp_path)
    for role in ("first", "web"):
        configure_logging(settings, role)
    logging.getLogger("app.anything").warning("said_once", extra={"detail": SECRET})
    logging.getLogger("app.anything").debug("too_quiet")
    (event,) = (json.loads(each) for each in capsys.readouterr().err.splitlines())
    assert (event["event"], event["role"], event["detail"]) == ("said_once", "web", "***")
