"""Rows of the database as the values that the pages show."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import RowMapping

from app.domain.run import Stage
from app.services.board import MirrorRow, ModuleRow, Seen
from app.services.views import RunSummary

# Errors that say something of the system itself, not of one release in it.
_GITLAB = frozenset({
    "gitlab_unreachable", "gitlab_unavailable", "rate_limited", "token_expired", "forbidden", "group_missing", "read_only",
})  # fmt: skip
_PROXY = frozenset({"proxy_unreachable", "proxy_denied", "proxy_not_goproxy"})


def module_row(row: RowMapping, newest: RunSummary) -> ModuleRow:
    """A module with its numbers."""
    return ModuleRow(row["module"], row["runs"], row["versions"], newest)


def mirror_row(row: RowMapping, newest: RunSummary | None, now: datetime) -> MirrorRow:
    """A row of `mirrors`."""
    leased = row["lease_until"] is not None and row["lease_until"] >= now
    busy = row["lease_owner"] if leased else None
    plain = {name: row[name] for name in MirrorRow.__dataclass_fields__ if name in row}
    return MirrorRow(**plain, busy=busy, newest=newest)


def seen(row: RowMapping) -> Seen | None:
    """What a step says of GitLab or of a proxy; None when it says nothing of either."""
    if row["stage"] == Stage.VERIFY:
        name = str((row["target"] or {}).get("proxy", "default"))
        return _word("proxy", name, row, _PROXY)
    return _word("gitlab", "", row, _GITLAB)


def _word(system: str, name: str, row: RowMapping, codes: frozenset[str]) -> Seen | None:
    if row["outcome"] == "ok":
        return Seen(system, name, row["ended_at"])
    if row["error"] in codes:
        return Seen(system, name, row["ended_at"], row["error"], row["message"])
    return None
