"""Which run may bring a version: the one rule for intake, branches and replays, inside the caller's transaction.

A version belongs to one commit once it was pushed or is in flight; until then a later delivery with another commit
takes the earlier one's place (issue 2, point 2).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, RowMapping, select, update

from app.adapters.rows import is_active, lock_release
from app.adapters.tables import releases, runs
from app.domain.errors import SyncError
from app.domain.moved import Content, never_fetched, version_moved
from app.domain.run import Status, known_h1, replaced


def claim_release(
    connection: Connection, module: str, version: str, run_id: str, commit: str, now: datetime, h1: str | None = None
) -> SyncError | None:
    """Let `run_id` hold (module, version) at `commit`; `version_moved` when another commit has it already.

    `h1`: the commit's, where whoever asks knows it.
    """
    release, new = lock_release(connection, module, version, run_id, commit)
    if new or release["run_id"] == run_id:
        return None
    holder = connection.execute(select(runs).where(runs.c.id == release["run_id"])).mappings().one_or_none()
    if release["commit"] != commit:
        refusal = _refusal(connection, release, holder, run_id, commit, h1)
        if refusal:
            return refusal
        if holder is not None:
            _supersede(connection, holder, run_id, now)
    which = (releases.c.module == module) & (releases.c.version == version)
    connection.execute(update(releases).where(which).values(run_id=run_id, commit=commit))
    return None


def _refusal(
    connection: Connection, release: RowMapping, holder: RowMapping | None, run_id: str, commit: str, h1: str | None
) -> SyncError | None:
    """`holder` None: the version was adopted, or its run is not kept any more."""
    if release["pushed_at"] is not None:
        state = "was already pushed at"
    elif holder is not None and is_active(holder["status"]):
        state = "is in flight at"
    elif holder is not None and replaced(holder["facts"]):
        state = "was given by accept-move to"  # its run ended, and what was there before may be there still
    else:
        return None
    name = f"{release['module']}@{release['version']}"
    mine = connection.execute(select(runs.c.facts, runs.c.target).where(runs.c.id == run_id)).one_or_none()
    facts, url = (mine.facts, mine.target["clone_url"]) if mine else ({}, "")
    new = Content(commit, h1 or known_h1(facts, commit), never_fetched(name, url))
    old = Content(release["commit"], known_h1(holder["facts"] if holder else {}, release["commit"]))
    by = f"run {holder['id']}" if holder else "no run that is kept"
    said = f"{state} {{old}}, by {by}; now asked for at {{new}}"
    return version_moved(name, said, old, new)


def _supersede(connection: Connection, holder: RowMapping, by: str, now: datetime) -> None:
    message = f"run {by} brings this version from another commit"
    connection.execute(
        update(runs)
        .where(runs.c.id == holder["id"])
        .values(status=Status.REJECTED, error="superseded", error_message=message, replaced_by=by, updated_at=now)
    )
    # Its attempt ended before, with an error of its own that people still want to read.
