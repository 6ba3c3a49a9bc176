"""Tables fit the terminal: wide ones fold, and where that is not enough each row becomes lines; nothing is cut off."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from app.cli_layout import print_table

COLUMNS = ("created", "status", "release", "attempt", "run")
ROWS = [
    ("2026-11-22 12:00:00", Text("failed", "red"), "go.corp.example/payments/ledger-of-all@v1.4.0", "2", "r1m81j18kr0000000001"),
    ("2026-11-22 12:00:01", Text("done"), "go.corp.example/日本語@v1.0.0", "1", "r1m81j18kr0000000002"),
]  # fmt: skip


def shown(width: int) -> list[str]:
    file = io.StringIO()
    out = Console(file=file, width=width, markup=False, highlight=False)
    print_table(out, COLUMNS, ROWS, whole=("created", "status", "run"))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def squeezed(lines: list[str]) -> str:
    return "".join("".join(lines).split())


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 120, 200])
def test_no_line_is_too_long_and_ids_stay_whole(width: int) -> None:
    lines = shown(width)
    longest = max(cell_len(line) for line in lines)
    assert longest <= max(width, 4 + max(cell_len(str(cell)) for row in ROWS for cell in row))
    for row in ROWS:
        assert any(row[4] in line for line in lines)
        assert any(row[0] in line for line in lines)


@pytest.mark.parametrize("width", [24, 40, 60])
def test_where_rows_become_lines_nothing_is_lost(width: int) -> None:
    text = squeezed(shown(width))
    for row in ROWS:
        for cell in row:
            assert "".join(str(cell).split()) in text


def test_a_wide_terminal_has_a_table_with_a_head() -> None:
    lines = shown(200)
    assert lines[0].split() == list(COLUMNS)
    assert len(lines) == 1 + len(ROWS)


def test_a_narrow_terminal_names_the_numbers() -> None:
    assert any("attempt 2" in line for line in shown(60))
    assert not any(line.startswith("created") for line in shown(60))
