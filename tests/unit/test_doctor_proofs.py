"""No code of the doctor's without a test in which a real `go` meets the cause and the doctor names it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.doctor.causes import CAUSES

TESTS = Path(__file__).parents[1] / "integration"
RUNS_GO = re.compile(r"\.(?:go|download)\(|\bbuild\(machine")
ASKS_DOCTOR = re.compile(r"\.(?:codes|doctor|explained)\(")


@cache
def proofs() -> tuple[tuple[str, str], ...]:
    return tuple(_proofs())


def _proofs() -> Iterator[tuple[str, str]]:
    """(test, its source with its decorators and the tables they name) of each test that runs go and asks the doctor."""
    for path in sorted(TESTS.glob("test_doctor_*.py")):
        text = path.read_text()
        tree = ast.parse(text)
        tables = {name: ast.get_source_segment(text, node) or "" for name, node in _assigned(tree)}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                source = ast.get_source_segment(text, node) or ""
                decorators = " ".join(ast.get_source_segment(text, each) or "" for each in node.decorator_list)
                named = (table for name, table in tables.items() if re.search(rf"\b{name}\b", decorators))
                if RUNS_GO.search(source) and ASKS_DOCTOR.search(source):
                    yield node.name, " ".join((source, decorators, *named))


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("code", CAUSES)
def test_a_real_go_meets_each_cause(code: str) -> None:
    assert [name for name, source in proofs() if f'"{code}"' in source], f"no test runs go and finds {code}"
