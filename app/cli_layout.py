"""Tables that fit the terminal, and a bar for long work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

Cell = str | Text
Item = TypeVar("Item")
_GAP, _LEAST, _INDENT = 2, 18, 4


def print_table(
    out: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    whole: Collection[str] = (),
    indent: int = 0,
) -> None:
    """A table; the columns in `whole` are never broken, others may fold down to 18 cells.

    Where even that is too wide, each row becomes a few lines of its own, and nothing is cut off.
    """
    if _needed(columns, rows, whole) + indent <= out.width:
        out.print(Padding(_table(columns, rows, whole), (0, 0, 0, indent), expand=False))
        return
    for row in rows:
        for line in _flow(columns, row, out.width - indent):
            out.print(Text(" " * indent) + line, soft_wrap=True)


def watched(items: Iterable[Item], total: int, words: str, *, quiet: bool = False) -> Iterator[Item]:
    """The items, with a bar on stderr while they come; only on a terminal, and not when `quiet`."""
    screen = Console(stderr=True)
    columns = (TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:
        task = progress.add_task(words, total=total)
        for item in items:
            progress.advance(task)
            yield item


def _needed(columns: Sequence[str], rows: Sequence[Sequence[Cell]], whole: Collection[str]) -> int:
    total = _GAP * (len(columns) - 1)
    for at, name in enumerate(columns):
        widest = max([cell_len(name), *(cell_len(str(row[at])) for row in rows)])
        total += widest if name in whole else min(widest, _LEAST)
    return total


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], whole: Collection[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*row)
    return table


def _flow(columns: Sequence[str], row: Sequence[Cell], width: int) -> Iterator[Text]:
    """The row's cells one after the other, in as many lines as it takes; a number gets its column's name."""
    line = Text()
    for name, cell in zip(columns, row, strict=True):
        if not str(cell):
            continue
        shown = Text.assemble(f"{name} ", cell) if str(cell).isdigit() else Text.assemble(cell)
        if line and line.cell_len + _GAP + shown.cell_len > width:
            yield line
            line = Text(" " * _INDENT) + shown
        else:
            line = Text("  ").join([line, shown]) if line else shown
    yield line
