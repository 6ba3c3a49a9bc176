"""The stand-in GitLab's pages name tests; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NOTES = TESTS / "sandbox/gitlab/NOTES.md"
_NAMED = re.compile(r"`(?P<file>test_\w+\.py)?::(?P<test>test_\w+)`")


def named(line: str) -> list[tuple[str, str]]:
    """The tests in a line; one without a file is in the file named before it."""
    found, file = [], ""
    for match in _NAMED.finditer(line):
        file = match["file"] or file
        found.append((file, match["test"]))
    return found


LINES = [line for line in NOTES.read_text("utf-8").splitlines() if named(line)]


def test_the_page_names_tests() -> None:
    assert len(LINES) > 30


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip()[:40])
def test_every_test_that_is_named_is_there(line: str) -> None:
    for file, test in named(line):
        (path,) = TESTS.rglob(file)
        assert f"def {test}(" in path.read_text("utf-8"), f"{file}::{test}"
