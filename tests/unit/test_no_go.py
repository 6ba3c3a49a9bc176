"""modsync works without `go` in production: nothing that serves or works starts it; the doctor, on a developer's machine, may."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {"app/doctor/probe_settings.py"}


def starts_go(source: str) -> bool:
    """Whether a program's words begin with `go`, or `go` is looked for on the PATH."""
    for node in ast.walk(ast.parse(source)):
        words = (
            node.elts if isinstance(node, (ast.List, ast.Tuple)) else node.args if isinstance(node, ast.Call) else []
        )
        first = words[0] if words else None
        if isinstance(first, ast.Constant) and first.value == "go" and _may_be_a_program(node):
            return True
    return False


def _may_be_a_program(node: ast.AST) -> bool:
    """A list of words; or a call that looks one up (`self.seen.add("go")` does not)."""
    if not isinstance(node, ast.Call):
        return True
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in {"which", "run", "Popen", "check_output", "execvp", "system"}


def test_nothing_but_the_doctor_starts_go() -> None:
    files = [path for place in ("app", "workers") for path in (ROOT / place).rglob("*.py")]
    assert len(files) > 200
    assert {str(path.relative_to(ROOT)) for path in files if starts_go(path.read_text())} == ALLOWED


def test_the_guard_sees_one() -> None:
    assert starts_go('import subprocess\nsubprocess.run(["go", "mod", "download"])\n')
    assert starts_go('import shutil\nshutil.which("go")\n')
    assert not starts_go('seen = set()\nseen.add("go")\n')
