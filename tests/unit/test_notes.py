"""Pages that say which test holds which fact: each test that they name is there, and no line is without one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGES = {TESTS / "sandbox/gitlab/NOTES.md": 30, TESTS / "FACTS.md": 110}  # and how many lines it has at least
_NAMED = re.compile(r"`(?P<file>(?:\w+/)*test_\w+\.py)?::(?P<test>test_\w+)`")


def named(line: str) -> list[tuple[str, str]]:
    """The tests in a line; one without a file is in the file named before it. A directory tells equal names apart."""
    found, file = [], ""
    for match in _NAMED.finditer(line):
        file = match["file"] or file
        found.append((file, match["test"]))
    return found


@cache
def text_of(file: str) -> str:
    (path,) = TESTS.rglob(file)
    return path.read_text("utf-8")


def lines_of(page: Path) -> list[str]:
    return page.read_text("utf-8").splitlines()


LINES = [line for page in PAGES for line in lines_of(page) if named(line)]
ROWS = [line for line in lines_of(TESTS / "FACTS.md") if line.startswith("| ") and "| tests |" not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_names_tests(page: Path) -> None:
    assert len([line for line in lines_of(page) if named(line)]) >= PAGES[page]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip()[:40])
def test_every_test_that_is_named_is_there(line: str) -> None:
    for file, test in named(line):
        assert f"def {test}(" in text_of(file), f"{file}::{test}"


def test_every_fact_has_a_test_or_a_reason() -> None:
    assert [line for line in ROWS if not named(line) and "| nothing: " not in line] == []
