"""docs/errors.md is the catalogue: `python -m tests.unit.test_errors_page` writes it anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.errors import CATALOG, ErrorKind, Retry

PAGE = Path(__file__).parents[2] / "docs/errors.md"
HEAD = """# Errors

Every error that modsync records, answers or prints has one of these codes, but for what is HTTP's own: `cross_site` (403: a
form of another site), `method_not_allowed` (405), `too_many_attempts` (429: too many wrong tokens; wait as long as
Retry-After says), and for the rules of Go that `modsync checksum` names in brackets. This page is made from
`app/domain/errors.py` by `python -m tests.unit.test_errors_page`; a test compares them.

What happens by itself: **retried** with growing delays until `retry.give_up_seconds`; **waited for** until
`retry.patience_seconds` (in stage verify the proxy's `wait_seconds`); **ends** the run at once, as failed or as rejected.
A `Retry-After` of the other side is waited for by the run, and no worker sleeps meanwhile.

| code | by itself | what to do |
|---|---|---|
"""
WORDS = {Retry.NEVER: "ends", Retry.BACKOFF: "retried", Retry.PATIENT: "waited for"}


def row(kind: ErrorKind) -> str:
    word = "ends, rejected" if kind.rejects else WORDS[kind.retry]
    return f"| `{kind.code}` | {word} | {kind.advice.replace('|', '/')} |"


def page() -> str:
    return HEAD + "\n".join(row(kind) for kind in CATALOG.values()) + "\n"


def test_the_page_is_the_catalogue() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.unit.test_errors_page"


@pytest.mark.parametrize("code", CATALOG)
def test_every_advice_is_a_sentence(code: str) -> None:
    advice = CATALOG[code].advice
    assert advice.endswith(".")
    assert "\n" not in advice


if __name__ == "__main__":
    PAGE.write_text(page())
