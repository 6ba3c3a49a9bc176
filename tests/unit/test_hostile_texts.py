"""Texts of other sides that are looked through in one go, however they are made: by this process' own time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest

from app.adapters.git_archive import _failure
from app.adapters.gitlab_answers import last_lines
from app.domain.gomod import go_line, scan_module_path
from app.domain.gomod_syntax import MAX_PARSED
from app.domain.modules import RuleBroken, Version, parse_go_mod
from app.domain.retractions import retracts

GO_MOD = b"module a.b/c\n"
SIZE = 200_000
VERSION = Version.parse("v1.0.0")
SECTION = "section_start:1:a["


@pytest.mark.parametrize("piece", ["?token", "token", "?a=", "://", "?secretkeytoken", "&"])
def test_what_git_was_told(piece: str) -> None:
    began = time.process_time()
    _failure(["fetch"], (piece * (SIZE // len(piece))).encode())
    assert time.process_time() - began < 3


def test_what_git_was_told_has_no_secret() -> None:
    said = _failure(["fetch"], b"fatal: 'https://a:b@host/x?private_token=hunter2&a=1' not found")
    assert "hunter2" not in said
    assert "a:b@" not in said


@pytest.mark.parametrize("piece", [SECTION, "section_start:1:", "[", "\x1b["])
def test_a_jobs_log(piece: str) -> None:
    began = time.process_time()
    last_lines((piece * (SIZE // len(piece))).encode(), 20)
    assert time.process_time() - began < 3


def test_a_section_with_its_options_is_left_out() -> None:
    log = "section_start:1:build[collapsed=true]\r\x1b[0KBuild\nfailed\n"
    assert last_lines(log.encode(), 20) == "Build\nfailed"


def peak(reading: Callable[[bytes], object], data: bytes) -> float:
    """How many times its size a go.mod costs in memory while it is read."""
    tracemalloc.start()
    try:
        reading(data)
        return tracemalloc.get_traced_memory()[1] / len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reading", [parse_go_mod, go_line, scan_module_path, lambda data: retracts(data, VERSION)])
@pytest.mark.parametrize(
    ("before", "piece", "after"),
    [
        (b"", b"a\n", b""),
        (b"x ", b"aa ", b"\n"),
        (b"x ", b"a/", b"\n"),
        (b"x (\n", b'""\n', b")\n"),
        (b"require (\n", b"a v0\n", b")\n"),
        (b"retract (\n", b"[v0, v0]\n", b")\n"),
        (b"", b"module", b"\n"),
    ],
)
def test_a_go_mod_is_read_line_by_line(
    reading: Callable[[bytes], object], before: bytes, piece: bytes, after: bytes
) -> None:
    parse_go_mod(GO_MOD)  # tables are made once
    data = GO_MOD + before + piece * (100_000 // len(piece)) + after
    began = time.process_time()
    assert peak(reading, data) < 8
    assert time.process_time() - began < 10


@pytest.mark.parametrize("filling", [b"//", b"a\n", b"retract v1.0.0\n", "\U0001f600".encode()])
def test_a_go_mod_that_is_too_large_to_be_read(filling: bytes) -> None:
    data = GO_MOD + filling * (MAX_PARSED // len(filling))
    for reading in (parse_go_mod, go_line):
        with pytest.raises(RuleBroken) as caught:
            reading(data)
        assert caught.value.rule == "go_mod_size"
    assert not retracts(data, VERSION)
    assert scan_module_path(data) == "a.b/c"


def test_a_go_mod_as_large_as_can_be_is_read() -> None:
    data = GO_MOD + b"go 1.24\n//"
    assert go_line(data + b"x" * (MAX_PARSED - len(data))) == "1.24"


def test_an_error_at_the_end_counts_for_what_is_retracted() -> None:
    assert retracts(b"retract v1.0.0\n", VERSION)
    assert not retracts(b"retract v1.0.0\n/* */", VERSION)
