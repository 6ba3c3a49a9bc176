"""Bodies as the platforms' own documentation shows them, one file each; a file's name says what comes of it.

`released-*`: `outcome` holds the ReleaseEvent's fields that are not None. `ignored-<reason>[-*]`, `refused-<field>[-*]`.
Where `captured` says so, headers and body are what a real platform sent.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import SyncError
from app.domain.events import Ignored, Policy, parse
from app.domain.webhook import SCHEMES

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*/*.json"))


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    """What came of a case, in the form that the files have."""
    try:
        parsed = parse(case["scheme"], case["headers"], case["body"], Policy(**case.get("policy", {})))
    except SyncError as error:
        return {"refused": error.field if error.code == "invalid_payload" else error.code}
    if isinstance(parsed, Ignored):
        return {"ignored": parsed.reason}
    (event,) = parsed
    names = {"module": str(event.module or "") or None, "version": str(event.version or "") or None}
    return {name: value for name, value in (asdict(event) | names).items() if value is not None}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_golden(file: Path) -> None:
    case = json.loads(file.read_text("utf-8"))
    expected = {name: value for name, value in case["outcome"].items() if value is not None}
    assert outcome(case) == expected
    kind = next((kind for kind in ("ignored", "refused") if kind in expected), None)
    named = f"{kind}-{expected[kind]}" if kind else "released"
    assert file.stem == named or file.stem.startswith(f"{named}-")


def test_what_was_captured_is_told_and_has_no_signature() -> None:
    captured = {file: case for file in FILES if "captured" in (case := json.loads(file.read_text("utf-8")))}
    assert len(captured) >= 16
    for file, case in captured.items():
        version = re.search(r"-(\d+\.\d+\.\d+)-", file.stem)
        assert version is not None
        assert version[1] in case["captured"]
        assert not [name for name in case["headers"] if "signature" in name.lower() or name.lower() == "authorization"]


def test_every_scheme_has_each_outcome() -> None:
    seen = {(json.loads(file.read_text("utf-8"))["scheme"], file.stem.partition("-")[0]) for file in FILES}
    article_ignores_by_policy_only = {("article", "ignored")}
    kinds = ("released", "ignored", "refused")
    assert {(scheme, kind) for scheme in SCHEMES for kind in kinds} - article_ignores_by_policy_only == seen
