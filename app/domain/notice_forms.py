"""A notice as the JSON that its receiver takes: Standard Webhooks' envelope, or a chat's incoming webhook. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from app.domain.errors import CATALOG
from app.domain.notify import Event

_LONGEST_NAME = 200  # characters of a release's name in a chat
_LONGEST_LINE = 200  # characters of an error's message in a chat
_COLOURS = {Event.FAILED: "#c62828", Event.REJECTED: "#ef6c00", Event.RECOVERED: "#2e7d32", Event.TEST: "#546e7a"}
_MARKS = {Event.FAILED: "🔴", Event.REJECTED: "🟠", Event.RECOVERED: "🟢", Event.TEST: "⚪"}


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to one receiver. `items`: the releases that it names, of `count`; `code` "" in a test."""

    id: str
    event: Event
    code: str
    count: int
    items: Sequence[Mapping[str, Any]]
    created_at: datetime

    @property
    def more(self) -> int:
        """How many releases are not named."""
        return self.count - len(self.items)


def webhook(notice: Notice, base_url: str) -> dict[str, Any]:
    """The body of a signed webhook; `base_url` is where people reach modsync, without a last slash."""
    runs = [{**item, "link": run_link(base_url, item["run"])} for item in notice.items]
    return {
        "type": f"modsync.{notice.event}" if notice.event is Event.TEST else f"modsync.run.{notice.event}",
        "timestamp": _time(notice.created_at),
        "data": {
            "id": notice.id, "code": notice.code or None, "advice": _advice(notice) or None, "count": notice.count,
            "more": notice.more, "link": link(notice, base_url), "runs": runs,
        },
    }  # fmt: skip


def chat(notice: Notice, base_url: str) -> dict[str, Any]:
    """The body for Slack's and Mattermost's incoming webhooks: what both understand."""
    title = headline(notice)
    lines = [_line(item, base_url) for item in notice.items]
    if notice.more:
        lines.append(f"… and <{escaped(link(notice, base_url))}|{notice.more} more>")
    if advice := _advice(notice):
        lines.append(escaped(advice))
    attachment = {
        "fallback": escaped(title), "color": _COLOURS[notice.event], "title": escaped(title),
        "title_link": link(notice, base_url), "text": "\n".join(lines), "footer": f"modsync {notice.id}",
        "ts": int(notice.created_at.timestamp()), "mrkdwn_in": ["text"],
    }  # fmt: skip
    return {"text": f"{_MARKS[notice.event]} {escaped(title)}", "attachments": [attachment]}


def headline(notice: Notice) -> str:
    """One line: what happened to how much, and why."""
    if notice.event is Event.TEST:
        return "modsync can reach you: this is a test"
    what = _name(notice.items[0]) if notice.count == 1 else f"{notice.count} releases"
    word = "after" if notice.event is Event.RECOVERED else "with"
    return f"{what} {notice.event} {word} {notice.code}"


def link(notice: Notice, base_url: str) -> str:
    """Where a person looks next: the run, or the list of all that are like it."""
    if notice.event is Event.TEST:
        return f"{base_url}/"
    if notice.count == 1:
        return run_link(base_url, notice.items[0]["run"])
    if notice.event is Event.RECOVERED:
        return f"{base_url}/releases?status=done"
    return f"{base_url}/releases?{urlencode({'status': notice.event.value, 'error': notice.code})}"


def run_link(base_url: str, run: str) -> str:
    """A run's page."""
    return f"{base_url}/runs/{run}"


def escaped(text: str) -> str:
    """A text that is nothing but text in a chat: no markup, no link, and nobody is called by it.

    Slack asks for `&<>` as entities; Mattermost calls people by @name, which a zero-width space prevents (not in
    module@version, which people copy).
    """
    plain = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text)
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        plain = plain.replace(sign, entity)
    return re.sub(r"(?<!\w)@", "@\u200b", plain).replace("`", "'")


def _line(item: Mapping[str, Any], base_url: str) -> str:
    name = f"<{escaped(run_link(base_url, item['run']))}|{escaped(_name(item))}>"
    if failed := item.get("failed"):
        return (
            f"• {name}: done, attempt {item['attempt']}; it failed at {failed['at']} ({failed['notice'] or 'not told'})"
        )
    said = escaped(str(item["message"] or "")[:_LONGEST_LINE])
    return f"• {name} in stage {item['stage']}, attempt {item['attempt']}: {said}"


def _name(item: Mapping[str, Any]) -> str:
    return f"{item['module']}@{item['version'] or item['ref']}".replace("|", "/")[:_LONGEST_NAME]


def _advice(notice: Notice) -> str:
    kind = CATALOG.get(notice.code)
    return kind.advice if kind and notice.event is not Event.RECOVERED else ""


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
