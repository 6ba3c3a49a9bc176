"""What reconcile last found, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from app.cli_layout import print_table
from app.cli_output import local, printable
from app.services.reconciled import RepositoryRow
from app.services.views import Page


def print_reconciled(out: Console, page: Page[RepositoryRow]) -> None:
    """A line for each mirror."""
    if not page.items:
        out.print("no findings")
    else:
        rows = [
            (printable(each.mirror), local(each.compared_at), str(each.tags), _found(each), str(len(each.runs)))
            for each in page.items
        ]
        print_table(out, ("mirror", "compared", "tags", "findings", "runs"), rows, whole=("mirror", "compared"))
    if page.next:  # also behind an empty page: those further on are not looked at yet
        out.print(f"there are more: --after {page.next}")


def print_findings(out: Console, page: Page[RepositoryRow]) -> None:
    """A mirror's last comparison, and a line for each finding that is kept."""
    for each in page.items:
        out.print(printable(f"{each.mirror}  compared {local(each.compared_at)}: {_found(each)}"), soft_wrap=True)
        if each.error:
            out.print(printable(f"{each.error.message}. {each.error.advice}"), soft_wrap=True)
        if each.findings:
            rows = [tuple(_text(found, name) for name in _COLUMNS) for found in each.findings]
            print_table(out, _COLUMNS, rows, whole=("version", "finding"))
        if (kept := len(each.findings)) < (all_of_them := sum(each.counts.values())):
            out.print(f"{kept} of {all_of_them} findings are kept")
    if not page.items:
        out.print("nothing needs a person")


_COLUMNS = ("version", "finding", "module", "detail")


def _found(row: RepositoryRow) -> str:
    error = [row.error.code] if row.error else []
    return ", ".join([*error, *(f"{count} {_words(name)}" for name, count in row.counts.items())]) or "-"


def _words(finding: str) -> str:
    return printable(finding.replace("_", " "))


def _text(found: Mapping[str, object], name: str) -> str:
    text = str(found.get(name) or (found.get("tag") if name == "version" else "") or "-")
    return _words(text) if name == "finding" else printable(text)
