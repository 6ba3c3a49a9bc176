"""What modsync changes at a mirror, in the audit log: once each, whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from app.adapters.access_store import append
from app.adapters.fences import fenced
from app.adapters.tables import runs
from app.domain.run import Claim, Run


def audit_push(connection: Connection, run: Run, push: Mapping[str, Any], now: datetime) -> None:
    """In the transaction that records the push: the tag that modsync put there, and where the branch went with it.

    A tag that was there already, and not by an earlier try of ours, is no push.
    """
    told = {"tag": push["tag"], "object": push["object"]} if push.get("new") else {}
    if told or push.get("branch"):
        _append(connection, run.id, run.target.mirror, told | {"commit": run.commit}, push.get("branch"), now)


def audit_unanswered(connection: Connection, row: RowMapping, now: datetime) -> None:
    """As a run ends in the middle of a push: that it was sent is all that is known, and more may never be learnt."""
    pushing = row["pushing"] or {}
    if "object" in pushing:
        told = {"tag": pushing["tag"], "object": pushing["object"], "commit": row["commit"], "answer": "none"}
        _append(connection, row["id"], row["mirror"], told, pushing.get("branch"), now)
        connection.execute(update(runs).where(runs.c.id == row["id"]).values(pushing=None))


def _append(
    connection: Connection, run: str, mirror: str, told: dict[str, Any], branch: Mapping[str, Any] | None, now: datetime
) -> None:
    before, after = {}, {**told, "run": run}
    if branch:
        before["branch"] = {branch["name"]: branch["before"]}
        after["branch"] = {branch["name"]: branch["after"]}
    append(connection, f"run:{run}", "push", f"mirror:{mirror}", now, before=before, after=after)


def note_removal(connection: Connection, claim: Claim, pushing: Mapping[str, Any], now: datetime) -> None:
    """Before a tag is removed for an accepted move: audited once, though the removal may be tried again.

    Once all rows are held: the audit log's lock comes last, for whoever cancels a run has its row before.
    """
    removes = pushing.get("removes")
    if not removes:
        return
    run = claim.run
    noted = connection.execute(select(runs.c.pushing).where(runs.c.id == run.id)).scalar_one_or_none() or {}
    if noted.get("removes") != removes:
        append(
            connection, f"run:{run.id}", "tag.remove", f"mirror:{run.target.mirror}", now,
            reason=run.facts.get("moved", {}).get("reason", ""), before=dict(removes),
            after={"commit": run.commit, "run": run.id},
        )  # fmt: skip
    fenced(connection, claim, {"pushing": dict(pushing)})
