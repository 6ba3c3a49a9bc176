"""The examples in docs/notifications.md are true: `python -m tests.unit.test_notifications_page` writes them anew."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.domain.notice_forms import Notice, chat, webhook
from app.domain.notify import Book, Outcome, Wishes, take
from app.domain.run import Status

PAGE = Path(__file__).parents[2] / "docs/notifications.md"
BASE = "https://modsync.corp.example"
NOW = datetime(2026, 11, 22, 12, 30, 5, tzinfo=UTC)
IDS = ["n1m81jb0k0000000001a4", "n1m81jb0k0000000002c7"]
FAILED = Outcome(
    "r1m81j18kr0000000001", 1, Status.FAILED, "pipeline", "pipeline_failed", "job precache of pipeline 4711 failed: exit 1",
    "platform", "go.corp.example/payments/ledger", "v1.4.0", "refs/tags/v1.4.0", NOW,
)  # fmt: skip
OTHER = replace(
    FAILED,
    run_id="r1m81j18kr0000000002",
    module="go.corp.example/payments/api",
    version="v2.0.1",
    ref="refs/tags/v2.0.1",
)
DONE = replace(
    FAILED, status=Status.DONE, stage="verify", error=None, message=None, attempt=2, at=NOW + timedelta(hours=1)
)


def example(name: str) -> dict[str, Any]:
    """A message as the product makes it."""
    ids, book, wishes = iter(IDS), Book(), Wishes("on-call")
    for each in (FAILED, OTHER):
        book = take(wishes, book, each, each.at, lambda: next(ids))
    if name == "recovered":  # after the first message went out
        book = take(wishes, replace(book, drafts={}), DONE, DONE.at, lambda: next(ids))
    (draft,) = book.drafts.values()
    notice = Notice(draft.id, draft.event, draft.code, draft.count, draft.items, draft.created_at)
    return chat(notice, BASE) if name == "chat" else webhook(notice, BASE)


def page(text: str) -> str:
    """The page with its examples as they are today."""
    for name in ("failed", "recovered", "chat"):
        shown = json.dumps(example(name), indent=2, ensure_ascii=False)
        block = f"<!-- {name} -->\n```json\n{shown}\n```\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->\n.*?<!-- end -->", block.replace("\\", r"\\"), text, flags=re.DOTALL)
    return text


def test_the_examples_are_what_is_sent() -> None:
    text = PAGE.read_text()
    assert text.count("```json") == 3
    assert page(text) == text, "run: python -m tests.unit.test_notifications_page"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
