"""How things stand beside the runs: health, the service level, what reconcile last found. For pages, API and commands.

From the database, Redis and the disk; nobody else is asked. What nobody looked at yet is said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from app.adapters.board_store import SqlBoardStore
from app.adapters.reconciled_reads import SqlReconciledReads
from app.bootstrap import Container
from app.bootstrap_doors import host
from app.domain.errors import CATALOG, SyncError
from app.host_disks import with_own
from app.services.board import LevelView, Mark, Now, Seen
from app.services.disks import HostDisk, disks, shown
from app.services.level import Level, LevelRow, begin, level
from app.services.reconciled import LastReconcile
from app.services.remembered import Remembered
from app.services.standing import HostReport

SHOWN = 10
"""Runs in each list of the first page."""
_PEOPLE = 5
_SECONDS = 30.0
_SLOW = 1.0  # with very many runs in flight, which are read each time
_DAY_SECONDS, _PAST_SECONDS = 86400, 3600.0
_SOON = timedelta(days=7)


class Standing:
    """One for a process: what costs something is asked every half minute, however many look."""

    def __init__(self, parts: Container) -> None:
        self._parts = parts
        self._board = SqlBoardStore(parts.engine, parts.clock)
        self._lists = {SHOWN: Remembered(lambda: self._board.now(SHOWN), 0.0, slow=_SLOW)}
        self._levels = Remembered(self._drawn, _SECONDS)
        self._reconcile = Remembered(lambda: SqlReconciledReads(parts.engine).last(_PEOPLE), _SECONDS)
        self._hosts = Remembered(self._told, _SECONDS)
        self._past: dict[datetime, Remembered[list[LevelRow]]] = {}

    def now(self, limit: int) -> Now:
        """All of it. Error: store_unavailable."""
        found = self.lists(limit)
        levels = tuple(LevelView.of(title, each) for title, each in self.levels())
        marks, all_disks = self.marks(found, None), self.disks()
        return replace(found, marks=marks, disks=all_disks, levels=levels, reconcile=self.reconcile())

    def lists(self, limit: int) -> Now:
        """The runs at work, and the counts; remembered for a while where it takes long. Error: store_unavailable."""
        return self._lists[limit].get() if limit in self._lists else self._board.now(limit)

    def reconcile(self) -> LastReconcile:
        """What reconcile last found. Error: store_unavailable."""
        return self._reconcile.get()

    def levels(self) -> tuple[tuple[str, Level], ...]:
        """The service level of the last day and month, by a title. Error: store_unavailable."""
        return self._levels.get()

    def disks(self) -> tuple[HostDisk, ...]:
        """Of all hosts that are known, fullest first: this one's now, the others' as their workers told."""
        told = self._hosts.get() or {}
        try:
            return disks(with_own(self._parts, told))
        except OSError:
            return disks(told)  # its mark says so

    def marks(self, now: Now | None, problem: SyncError | None) -> tuple[Mark, ...]:
        """The health of each thing; `now` None: the database does not answer, `problem` says why."""
        return tuple(self._marks(now, problem))

    def _drawn(self) -> tuple[tuple[str, Level], ...]:
        return ("Last 24 hours", self._level(3600, 24)), ("Last 30 days", self._month())

    def _level(self, bucket_seconds: int, buckets: int) -> Level:
        since = begin(self._parts.clock.now(), bucket_seconds, buckets)
        return level(since, bucket_seconds, buckets, self._board.level(since, bucket_seconds))

    def _month(self) -> Level:
        """Days that are over change seldom: what they were is looked at every hour, or when another day begins."""
        since = begin(self._parts.clock.now(), _DAY_SECONDS, 30)
        recent = since + timedelta(days=28)
        if recent not in self._past:
            self._past = {recent: Remembered(lambda: self._days(since, recent), _PAST_SECONDS)}
        return level(since, _DAY_SECONDS, 30, [*self._past[recent].get(), *self._days(recent, None)])

    def _days(self, since: datetime, until: datetime | None) -> list[LevelRow]:
        return self._board.level(since, _DAY_SECONDS, until)

    def _marks(self, now: Now | None, problem: SyncError | None) -> Iterator[Mark]:
        yield Mark("Database", "bad", problem.message, problem.advice) if problem else Mark("Database", "ok", "answers")
        yield self._redis()
        yield from self._disks()
        seen = {(each.system, each.name): each for each in now.seen} if now else {}
        yield _of_steps("GitLab", seen.get(("gitlab", "")))
        for proxy in self._parts.settings.proxies:
            yield _of_steps(f"Proxy {proxy.name}", seen.get(("proxy", proxy.name)))
        yield self._gitlab_token()
        with suppress(SyncError):
            yield from self._api_tokens()

    def _gitlab_token(self) -> Mark:
        name = "GitLab token"
        try:
            state = self._parts.gitlab_login.state(self._parts.clock.now())
        except SyncError:
            return Mark(name, "unknown", "the database does not answer")
        if problems := state.problems():
            return Mark(name, "bad", "; ".join(problems), CATALOG["token_expired"].advice, state.checked_at)
        if state.checked_at is None:
            advice = "The sweeper looks every six hours, modsync gitlab check at once."
            return Mark(name, "unknown", "not checked yet", advice)
        return Mark(
            name, "ok", f"ends on {state.expires_at}" if state.expires_at else "never ends", at=state.checked_at
        )

    def _api_tokens(self) -> Iterator[Mark]:
        """Only where one ends soon: whoever uses it is locked out then."""
        now = self._parts.clock.now()
        live = [each for each in self._parts.access.tokens() if each.is_live(now)]
        for each in sorted(live, key=lambda each: each.expires_at)[:SHOWN]:
            if each.expires_at - now < min(_SOON, (each.expires_at - each.created_at) / 4):
                text = f"{each.name} ({each.role.value}) ends on {each.expires_at:%Y-%m-%d}"
                yield Mark(
                    "API token", "bad", text, "Make another one with modsync token create, and hand it to its user."
                )

    def _redis(self) -> Mark:
        try:
            depth = self._parts.queue.depth()
        except SyncError as error:
            return Mark("Redis", "bad", "does not answer", error.advice)
        return Mark("Redis", "ok", f"answers; {depth} {'job waits' if depth == 1 else 'jobs wait'}")

    def _disks(self) -> Iterator[Mark]:
        """The fullest ones, for a full disk at any host stops the runs there."""
        found = self.disks()
        for each in shown(found):
            yield Mark(
                "Disk", "bad" if each.full else "ok", each.text, CATALOG["disk_full"].advice if each.full else ""
            )
        if all(each.host != host() for each in found):
            yield Mark("Disk", "unknown", f"that of {host()}, which answers you, cannot be asked")
        if self._hosts.get() is None:
            yield Mark("Disk", "unknown", "those of other hosts are not known while Redis does not answer")

    def _told(self) -> Mapping[str, HostReport] | None:
        try:
            return self._parts.sums.hosts()
        except SyncError:
            return None


def _of_steps(name: str, seen: Seen | None) -> Mark:
    """From what the last runs met; modsync asks nobody just for this."""
    if seen is None:
        return Mark(name, "unknown", "not checked yet: no recent run came so far")
    if seen.error is None:
        return Mark(name, "ok", "answered the last run that asked", at=seen.at)
    advice = CATALOG[seen.error].advice if seen.error in CATALOG else ""
    said = f"{seen.error}: {next(iter((seen.message or '').splitlines()), '')}"
    return Mark(name, "bad", said, advice, seen.at)
