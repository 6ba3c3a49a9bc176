"""Texts of other sides that are looked through in one go, however they are made: by this process' own time."""

from __future__ import annotations

import time

import pytest

from app.adapters.git_archive import _failure
from app.adapters.gitlab_answers import last_lines

SIZE = 200_000
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
