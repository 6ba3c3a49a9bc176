"""Which repository a mirror is of: decided under the mirror's lease by the first release that goes there, then by people.

What a payload names is held to that. A rule's own `clone` is the operator's word: the mirror becomes what it names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from app.domain.errors import SyncError
from app.domain.mirror_source import mirror_of_another, source_url
from app.domain.run import Run
from app.domain.urls import CloneUrl
from app.services.ports import Clock
from app.services.stores import MirrorLease
from app.services.views import View

log = logging.getLogger(__name__)
_LONGEST_REASON = 500

NamedByRule = Callable[[Run], bool]
"""True where today's configuration, and no payload, says where the run's release comes from; see Planner.names_source."""


def by_payload(_run: Run) -> bool:
    """No rule names a clone URL."""
    return False


def check_source(recorded: str | None, run: Run, named_by_rule: NamedByRule) -> str:
    """The repository that the run's release comes from. Error: mirror_of_another, where its mirror is not that one's."""
    named = source_url(run.target.clone_url)
    if recorded in (None, named) or named_by_rule(run):
        return named
    raise mirror_of_another(run.name, run.target.mirror, str(recorded), named)


def lease_for(turn: MirrorLease, run: Run, named_by_rule: NamedByRule) -> MirrorLease:
    """The lease with what a push for this run makes of the mirror. Error: mirror_of_another."""
    named = check_source(turn.source_url, run, named_by_rule)
    return turn if named == turn.source_url else replace(turn, becomes=named)


@dataclass(frozen=True, slots=True)
class SourceOrder:
    """Who says that `mirror` is the mirror of the repository at `clone_url` from now on, and why."""

    mirror: str
    clone_url: str
    actor: str
    reason: str

    @classmethod
    def parse(cls, mirror: str, to: str, actor: str, reason: str, *, sandbox: bool = False) -> SourceOrder:
        """From what a person gave. Error: bad_request with its field."""
        try:
            url = CloneUrl.parse(to.strip(), sandbox=sandbox)
        except SyncError as error:
            raise SyncError("bad_request", f"to: {error.message}", field="to") from None
        if not mirror.isprintable():
            raise SyncError("bad_request", "mirror: it holds characters that cannot be there", field="mirror")
        if not reason.strip() or len(reason) > _LONGEST_REASON:
            said = f"reason: say why, in at most {_LONGEST_REASON} characters; it is kept"
            raise SyncError("bad_request", said, field="reason")
        return cls(mirror.strip(), str(url), actor, reason)

    @property
    def source(self) -> str:
        """The repository, in its one form."""
        return source_url(self.clone_url)


@dataclass(frozen=True, slots=True)
class SourceMoved(View):
    """The repositories that a mirror was of, None where nobody knew, and is of."""

    mirror: str
    before: str | None
    after: str


class MirrorSourceStore(Protocol):
    """Decisions about mirrors."""

    def move(self, order: SourceOrder, now: datetime) -> SourceMoved:
        """Record it, with an audit entry, and take the mirror from whoever works there: nothing of the old one is pushed.

        Errors: not_found, bad_request (field to: it is of that one already).
        """
        ...


class MoveSource:
    """Carries an order out."""

    def __init__(self, store: MirrorSourceStore, clock: Clock, *, sandbox: bool = False) -> None:
        self._store, self._clock, self._sandbox = store, clock, sandbox

    def move(self, mirror: str, to: str, actor: str, reason: str) -> SourceMoved:
        """Make the mirror the one of the repository at clone URL `to`. Errors: bad_request (with its field), not_found."""
        order = SourceOrder.parse(mirror, to, actor, reason, sandbox=self._sandbox)
        moved = self._store.move(order, self._clock.now())
        told = {"mirror": moved.mirror, "old": moved.before, "new": moved.after, "actor": actor, "reason": reason}
        log.warning("mirror_source_moved", extra=told)
        return moved
