"""What an operator asks and does, over modsync's API: the other machine's side of app.services.operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from app.adapters.api_session import ApiSession
from app.domain.audit import Entry
from app.domain.errors import SyncError
from app.domain.pause import PauseKind
from app.domain.run import Stage
from app.services.board import FailureCount, MirrorRow, ModuleRow, Now
from app.services.bulk import ReplayPlan
from app.services.delivery_views import DeliveryDetail, DeliverySummary
from app.services.drift import MirrorCheck
from app.services.explain import Explanation
from app.services.mirror_source import SourceMoved
from app.services.operator import (
    Begun,
    Cancelled,
    Filters,
    Pauses,
    Redelivered,
    Replayed,
    SecretRow,
)
from app.services.reconciled import RepositoryRow
from app.services.rehearsal import Rehearsal, Sample
from app.services.run_filter import LONGEST_PAGE
from app.services.views import Page, RunDetail, RunSummary

Value = TypeVar("Value")
_READERS: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


class HttpAsking:
    """See app.services.operator.Asking."""

    def __init__(self, session: ApiSession) -> None:
        self._session = session

    def clock(self) -> datetime:
        """See Asking; the server's own word, to the second, so that a wrong clock here does not matter."""
        self._get(dict, "/api/failures", {"since": "1s"})
        return self._session.date or datetime.now(UTC)

    def now(self, limit: int) -> Now:
        """See Asking."""
        return self._get(Now, "/api/now", {"limit": str(limit)})

    def runs(self, wanted: Filters, cursor: str | None, limit: int) -> Page[RunSummary]:
        """See Asking."""
        found = self._page("/api/runs", {**wanted, "cursor": cursor, "limit": str(limit)})
        return _read(Page[RunSummary], {"items": found.get("runs"), "next": found.get("next_cursor")})

    def run(self, identifier: str) -> RunDetail:
        """See Asking."""
        return self._get(RunDetail, f"/api/runs/{_part(identifier)}")

    def explain(self, module: str, version: str | None) -> Explanation:
        """See Asking."""
        return self._get(Explanation, "/api/explain", {"module": module, "version": version})

    def modules(self, text: str, after: str | None, limit: int) -> Page[ModuleRow]:
        """See Asking."""
        return self._get(Page[ModuleRow], "/api/modules", {"q": text, "after": after, "limit": str(limit)})

    def mirrors(self, text: str, after: str | None, limit: int) -> Page[MirrorRow]:
        """See Asking."""
        return self._get(Page[MirrorRow], "/api/mirrors", {"q": text, "after": after, "limit": str(limit)})

    def reconciled(self, mirror: str, after: str | None, limit: int, *, people: bool) -> Page[RepositoryRow]:
        """See Asking."""
        query = {"mirror": mirror or None, "after": after, "limit": str(limit), "people": "true" if people else None}
        return self._get(Page[RepositoryRow], "/api/reconcile", query)

    def failures(self, since: str) -> tuple[FailureCount, ...]:
        """See Asking."""
        found = self._page("/api/failures", {"since": since})
        return _read(tuple[FailureCount, ...], found.get("failures"))

    def deliveries(self, wanted: Filters, cursor: str | None, limit: int) -> Page[DeliverySummary]:
        """See Asking."""
        found = self._page("/api/deliveries", {**wanted, "cursor": cursor, "limit": str(limit)})
        return _read(Page[DeliverySummary], {"items": found.get("deliveries"), "next": found.get("next_cursor")})

    def delivery(self, identifier: str) -> DeliveryDetail:
        """See Asking."""
        return self._get(DeliveryDetail, f"/api/deliveries/{_part(identifier)}")

    def sources(self) -> tuple[SecretRow, ...]:
        """See Asking."""
        return _read(tuple[SecretRow, ...], self._page("/api/sources").get("sources"))

    def pauses(self) -> Pauses:
        """See Asking."""
        return self._get(Pauses, "/api/pauses")

    def audit(self, after: int) -> Iterator[Entry]:
        """See Asking; a page at a time."""
        query: dict[str, str | None] = {"limit": str(LONGEST_PAGE)}
        while True:
            entries = _read(tuple[Entry, ...], self._page("/api/audit", query | {"after": str(after)}).get("entries"))
            if not entries:
                return
            yield from entries
            after = entries[-1].number

    def _get(self, kind: type[Value], path: str, query: Mapping[str, str | None] | None = None) -> Value:
        return _read(kind, self._session.get(path, query))

    def _page(self, path: str, query: Mapping[str, str | None] | None = None) -> dict[str, Any]:
        return _read(dict, self._session.get(path, query))


class HttpOperator(HttpAsking):
    """See app.services.operator.Operator."""

    def replay(self, identifier: str, stage: Stage | None, reason: str, force: bool) -> Begun:
        """See Doing."""
        order = {"from": stage.value if stage else None, "reason": reason, "force": force or None}
        return self._post(Begun, f"/api/runs/{_part(identifier)}/replay", order)

    def plan_replays(self, code: str, since: str, after: str | None, limit: int) -> ReplayPlan:
        """See Doing."""
        query = {"code": code, "since": since, "after": after, "limit": str(limit)}
        return self._get(ReplayPlan, "/api/replays", query)

    def replay_many(self, runs: Sequence[str], reason: str) -> tuple[Replayed, ...]:
        """See Doing."""
        found = self._post(dict, "/api/replays", {"runs": list(runs), "reason": reason})
        return _read(tuple[Replayed, ...], found.get("runs"))

    def cancel(self, identifier: str, reason: str = "") -> Cancelled:
        """See Doing."""
        return self._post(Cancelled, f"/api/runs/{_part(identifier)}/cancel", _why(reason))

    def accept_move(self, module: str, version: str, commit: str, reason: str) -> Begun:
        """See Doing."""
        order = {"module": module, "version": version, "commit": commit, "reason": reason}
        return self._post(Begun, "/api/moves", order)

    def redeliver(self, identifier: str, reason: str = "") -> Redelivered:
        """See Doing."""
        return self._post(Redelivered, f"/api/deliveries/{_part(identifier)}/redeliver", _why(reason))

    def pause(self, kind: PauseKind, value: str, reason: str) -> bool:
        """See Doing."""
        order = {"kind": kind.value, "value": value, "reason": reason}
        return _read(bool, self._post(dict, "/api/pauses", order).get("new"))

    def resume(self, kind: PauseKind, value: str, reason: str = "") -> int:
        """See Doing."""
        order = {"kind": kind.value, "value": value, **(_why(reason) or {})}
        return _read(int, self._post(dict, "/api/pauses/end", order).get("runs"))

    def check_mirror(self, path: str) -> MirrorCheck:
        """See Doing."""
        return self._post(MirrorCheck, "/api/mirrors/check", {"mirror": path})

    def mend_mirror(self, path: str, reason: str) -> MirrorCheck:
        """See Doing."""
        return self._post(MirrorCheck, "/api/mirrors/mend", {"mirror": path, "reason": reason})

    def move_source(self, mirror: str, to: str, reason: str) -> SourceMoved:
        """See Doing."""
        return self._post(SourceMoved, "/api/mirrors/move-source", {"mirror": mirror, "to": to, "reason": reason})

    def test_source(self, source: str, sample: Sample, reason: str = "") -> Rehearsal:
        """See Doing."""
        return self._post(Rehearsal, f"/api/sources/{_part(source)}/test", asdict(sample) | (_why(reason) or {}))

    def _post(self, kind: type[Value], path: str, body: Mapping[str, Any] | None = None) -> Value:
        given = {name: value for name, value in (body or {}).items() if value is not None}
        return _read(kind, self._session.post(path, given))


def _read(kind: type[Value], found: object) -> Value:
    """The server's JSON as ours. Fields that we do not know are left out: a newer server may say more."""
    try:
        value: Value = _READERS(kind).validate_python(found)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the answer"
        raise SyncError("server_wrong", f"the server's answer is not understood: {place}: {first['msg']}") from None
    return value


def _part(identifier: str) -> str:
    return quote(identifier.strip(), safe="")


def _why(reason: str) -> dict[str, Any] | None:
    """A server of before knows no reason for these, and refuses one."""
    return {"reason": reason} if reason else None
