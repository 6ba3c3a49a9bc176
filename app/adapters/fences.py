"""The fencing token of a worker's writes: each names who holds the row, and writes nothing when that is another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, collate, func, select, update

from app.adapters.tables import mirrors, runs
from app.domain.errors import SyncError
from app.domain.run import Claim
from app.services.stores import MirrorLease

_PART = 1000

# Made once, before workers fork: to make a statement takes longer than to run it.
_MINE = update(runs).where(
    runs.c.id == bindparam("on"), runs.c.fence == bindparam("held"), runs.c.lease_owner == bindparam("by")
)
_MY_MIRROR = update(mirrors).where(
    mirrors.c.path == bindparam("on"), mirrors.c.fence == bindparam("held"), mirrors.c.lease_owner == bindparam("by")
)


def in_order(claims: Sequence[Claim]) -> list[Claim]:
    """As intake takes the runs of a delivery (intake_store): of two that want the same rows none waits for the other."""
    return sorted(claims, key=lambda claim: (claim.run.module, claim.run.version or "", claim.run.commit))


def take_in_order(connection: Connection, *which: ColumnElement[bool]) -> list[str]:
    """The ids of these runs, whose rows are the transaction's from here on; taken in the order of in_order()."""
    exact = (
        "C" if connection.dialect.name == "postgresql" else "BINARY"
    )  # as Python compares, whatever the database's locale
    names = (runs.c.module, func.coalesce(runs.c.version, ""), runs.c.commit)
    ordered = select(runs.c.id).where(*which).order_by(*(collate(each, exact) for each in names))
    return list(connection.execute(ordered.with_for_update()).scalars())


def write_taken(connection: Connection, ids: Sequence[str], values: dict[str, Any]) -> None:
    """The same values to all of these runs: in parts, for a statement holds only so many ids."""
    for begin in range(0, len(ids), _PART):
        part = ids[begin : begin + _PART]
        connection.execute(update(runs).where(runs.c.id.in_(part)).values(values))


def fenced(connection: Connection, claim: Claim, values: dict[str, Any], *, strict: bool = True) -> None:
    """Write to the claimed run's row. Error: overtaken, where `strict` (the transaction must not be committed then)."""
    mine = {"on": claim.run.id, "held": claim.fence, "by": claim.owner}
    if connection.execute(_MINE, {**values, **mine}).rowcount != 1 and strict:
        raise SyncError("overtaken", f"run {claim.run.id} was taken over by another worker, or cancelled")


def fenced_mirror(connection: Connection, lease: MirrorLease, values: dict[str, Any], *, strict: bool = True) -> None:
    """Write to the leased mirror's row. Error: overtaken, where `strict`; else nothing is written then."""
    mine = {"on": lease.path, "held": lease.fence, "by": lease.owner}
    if connection.execute(_MY_MIRROR, {**values, **mine}).rowcount != 1 and strict:
        raise SyncError("overtaken", f"the lease of mirror {lease.path} was lost")
