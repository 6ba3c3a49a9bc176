"""How things stand, for the first page: from the database, Redis and the disk. What nobody looked at yet is said so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import current_app

from app.domain.errors import CATALOG, SyncError
from app.services.board import Now, Seen
from app.services.level import Level, LevelRow, begin, level
from app.services.words import size
from app.web import held
from app.web.context import container
from app.web.page import board
from app.web.remembered import Remembered

_SHOWN = 10
_LEVEL_SECONDS = 30.0
_LEVELS = "modsync_levels"
_DAY_SECONDS, _PAST_SECONDS = 86400, 3600.0
_PAST = "modsync_past_days"
_SOON = timedelta(days=7)
_LEAST_FREE, _LEAST_SHARE = 2 << 30, 0.05


@dataclass(frozen=True, slots=True)
class Mark:
    """The health of one thing. `state`: ok, bad or unknown; `at`: when that was seen, None: right now."""

    name: str
    state: str
    text: str
    advice: str = ""
    at: datetime | None = None


def values() -> dict[str, Any]:
    """What the template shows; `now` None: the database does not answer, `problem` says why."""
    now, problem = _now()
    marks = tuple(_marks(now, problem))
    shown = {"now": now, "problem": problem, "marks": marks, "levels": _levels() if now else (), "again": _again(now)}
    return shown | (_held() if now else {})


def _held() -> dict[str, Any]:
    try:
        return held.values()
    except SyncError:
        return {}  # it went away this moment; the page looks again


def _again(now: Now | None) -> int:
    """After how many seconds a page looks again."""
    busy = now is None or now.running or now.waiting or now.blocked
    return 2 if busy else 10


def _now() -> tuple[Now | None, SyncError | None]:
    try:
        return board().now(_SHOWN), None
    except SyncError as error:
        return None, error


def _levels() -> tuple[tuple[str, Level], ...]:
    kept = current_app.extensions.setdefault(_LEVELS, Remembered(_draw, _LEVEL_SECONDS))
    try:
        drawn: tuple[tuple[str, Level], ...] = kept.get()
    except SyncError:
        return ()
    return drawn


def _draw() -> tuple[tuple[str, Level], ...]:
    return ("Last 24 hours", _level(3600, 24)), ("Last 30 days", _month())


def _level(bucket_seconds: int, buckets: int) -> Level:
    since = begin(container().clock.now(), bucket_seconds, buckets)
    return level(since, bucket_seconds, buckets, board().level(since, bucket_seconds))


def _month() -> Level:
    """Days that are over change seldom: what they were is looked at every hour, or when another day begins."""
    since = begin(container().clock.now(), _DAY_SECONDS, 30)
    recent = since + timedelta(days=28)
    kept = current_app.extensions.setdefault(_PAST, {})
    if recent not in kept:
        current_app.extensions[_PAST] = kept = {recent: Remembered(lambda: _days(since, recent), _PAST_SECONDS)}
    past: list[LevelRow] = kept[recent].get()
    return level(since, _DAY_SECONDS, 30, [*past, *_days(recent, None)])


def _days(since: datetime, until: datetime | None) -> list[LevelRow]:
    return board().level(since, _DAY_SECONDS, until)


def _marks(now: Now | None, problem: SyncError | None) -> Iterator[Mark]:
    yield Mark("Database", "bad", problem.message, problem.advice) if problem else Mark("Database", "ok", "answers")
    yield _redis()
    yield _disk()
    seen = {(each.system, each.name): each for each in now.seen} if now else {}
    yield _of_steps("GitLab", seen.get(("gitlab", "")))
    for proxy in container().settings.proxies:
        yield _of_steps(f"Proxy {proxy.name}", seen.get(("proxy", proxy.name)))
    yield _token()
    yield from _api_tokens()


def _token() -> Mark:
    name = "GitLab token"
    try:
        state = container().gitlab_login.state(container().clock.now())
    except SyncError:
        return Mark(name, "unknown", "the database does not answer")
    if problems := state.problems():
        return Mark(name, "bad", "; ".join(problems), CATALOG["token_expired"].advice, state.checked_at)
    if state.checked_at is None:
        return Mark(
            name, "unknown", "not checked yet", "The sweeper looks every six hours, modsync gitlab check at once."
        )
    return Mark(name, "ok", f"ends on {state.expires_at}" if state.expires_at else "never ends", at=state.checked_at)


def _api_tokens() -> Iterator[Mark]:
    """Only where one ends soon: whoever uses it is locked out then."""
    now = container().clock.now()
    try:
        live = [each for each in container().access.tokens() if each.is_live(now)]
    except SyncError:
        return
    for each in sorted(live, key=lambda each: each.expires_at)[:_SHOWN]:
        if each.expires_at - now < min(_SOON, (each.expires_at - each.created_at) / 4):
            text = f"{each.name} ({each.role.value}) ends on {each.expires_at:%Y-%m-%d}"
            yield Mark("API token", "bad", text, "Make another one with modsync token create, and hand it to its user.")


def _redis() -> Mark:
    try:
        depth = container().queue.depth()
    except SyncError as error:
        return Mark("Redis", "bad", "does not answer", error.advice)
    return Mark("Redis", "ok", f"answers; {depth} {'job waits' if depth == 1 else 'jobs wait'}")


def _disk() -> Mark:
    try:
        usage = shutil.disk_usage(container().settings.data_dir)
    except OSError as error:
        return Mark("Disk", "unknown", f"cannot be asked: {error.strerror}")
    text = f"{size(usage.free)} free of {size(usage.total)}"
    if usage.free < _LEAST_FREE or usage.free < _LEAST_SHARE * usage.total:
        return Mark("Disk", "bad", text, CATALOG["disk_full"].advice)
    return Mark("Disk", "ok", text)


def _of_steps(name: str, seen: Seen | None) -> Mark:
    """From what the last runs met; modsync asks nobody just for this page."""
    if seen is None:
        return Mark(name, "unknown", "not checked yet: no recent run came so far")
    if seen.error is None:
        return Mark(name, "ok", "answered the last run that asked", at=seen.at)
    advice = CATALOG[seen.error].advice if seen.error in CATALOG else ""
    return Mark(name, "bad", f"{seen.error}: {(seen.message or '').splitlines()[0]}", advice, seen.at)
