"""Module paths and versions are parsed once: where a name is still text, its place is listed here with the reason.

docs/decisions/0017-names-are-types-at-work-and-text-at-rest.md
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("app/domain", "app/services", "app/adapters", "app/doctor", "workers")
NAMES = {"module", "modules", "version", "versions"}

# What is typed by a person, a platform, a proxy or go itself: parsed there, or refused with the broken rule.
BOUNDARY = {
    "app/adapters/operator_http.py": {"explain", "accept_move"},
    "app/doctor/examine.py": {"Question"},
    "app/domain/goinfo.py": {"RevInfo"},
    "app/domain/gomod.py": {"GoModFile", "_Lax", "major_matches"},
    "app/domain/platforms/artifactory.py": {"_release"},
    "app/services/explain.py": {"parse_release"},
    "app/services/moves.py": {"parse"},
    "app/services/operator.py": {"explain", "accept_move"},
    "app/services/ports.py": {"ProxyInfo"},
    "app/services/queries.py": {"explain"},
    "app/services/rehearsal.py": {"Sample"},
    "app/services/validation.py": {"ask"},
}
# Rows and their keys. A run that no rule knows has a name that is no module path, and is stored, shown and found by it.
STORED = {
    "app/adapters/release_claims.py": {"claim_release"},
    "app/adapters/repository_store.py": {"_known"},
    "app/adapters/rows.py": {"hold_release", "lock_release"},
    "app/domain/pause.py": {"Parked"},
    "app/domain/run.py": {"Run", "semantic_key"},
    "app/services/stores.py": {"PlannedRun"},
}
# Text to show or to send, made from rows.
SHOWN = {
    "app/doctor/explain_modules.py": {"_repository"},
    "app/doctor/observed.py": {"Observed"},
    "app/domain/notify.py": {"Outcome", "OpenFailure"},
    "app/services/board.py": {"ModuleRow"},
    "app/services/delivery_views.py": {"DeliveryRunView"},
    "app/services/explain.py": {"Explanation"},
    "app/services/views.py": {"RunSummary", "ReleaseView"},
}
# Patterns, and what is searched for, which need not be a whole path.
SEARCHED = {
    "app/adapters/run_search.py": {"_release", "_is_prefix"},
    "app/domain/admission.py": {"covers", "blocks", "refusal"},
    "app/domain/notify.py": {"Wishes"},
    "app/domain/pause.py": {"covers_all", "_names"},
    "app/domain/routing.py": {"Rule"},
    "app/services/run_filter.py": {"RunFilter"},
}


def places() -> Iterator[tuple[str, str]]:
    """(file, function or class) of each parameter and field whose name says module or version and whose type says str."""
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if any(name in NAMES and is_text(kind) for name, kind in annotated(node)):
                    yield path.relative_to(ROOT).as_posix(), node.name  # type: ignore[attr-defined]


def is_text(kind: ast.expr) -> bool:
    said = ast.unparse(kind)
    return "str" in said and "ModulePath" not in said


def annotated(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.FunctionDef):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        yield from ((each.arg, each.annotation) for each in given if each.annotation)
    if isinstance(node, ast.ClassDef):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        yield from ((each.target.id, each.annotation) for each in fields if isinstance(each.target, ast.Name))


def test_names_are_text_only_where_there_is_a_reason() -> None:
    listed = {
        (file, name) for kind in (BOUNDARY, STORED, SHOWN, SEARCHED) for file, names in kind.items() for name in names
    }
    assert set(places()) - listed == set()
    assert listed - set(places()) == set()
