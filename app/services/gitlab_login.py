"""modsync's own login at GitLab: was it refused, when may it be tried again, when does the token end?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from app.domain.errors import SyncError
from app.services.ports import Clock
from app.services.views import View

log = logging.getLogger(__name__)

SCOPE = "api"
"""Lets git push, too (lib/gitlab/auth.rb: `api` has all abilities)."""
WARN_DAYS = 21
LOOK_HOURS = 6.0


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What GitLab says of a token; `expires_at` is its first day without it, None: it never ends."""

    name: str
    scopes: tuple[str, ...]
    expires_at: date | None


@dataclass(frozen=True, slots=True)
class LoginState(View):
    """What is known of the configured token. `open_until`: GitLab refused it and is left alone until then.

    `token` fields are None before somebody looked; `days_left` counts from the day of the look at this state.
    """

    refused_at: datetime | None = None
    open_until: datetime | None = None
    message: str = ""
    token_name: str | None = None
    scopes: tuple[str, ...] = ()
    expires_at: str | None = None
    checked_at: datetime | None = None
    days_left: int | None = None

    @property
    def refused(self) -> bool:
        """True from a refusal until a request with this token works again."""
        return self.open_until is not None

    def problems(self) -> tuple[str, ...]:
        """Sentences for a person, [] when all is well or nothing is known."""
        found = [f"GitLab refused the token: {self.message}"] if self.refused else []
        if self.days_left is not None and self.days_left <= 0:
            found.append(f"the token ended on {self.expires_at}")
        elif self.days_left is not None and self.days_left <= WARN_DAYS:
            found.append(f"the token ends on {self.expires_at}, in {self.days_left} days")
        if self.checked_at and SCOPE not in self.scopes:
            found.append(f"the token lacks the scope {SCOPE}")
        return tuple(found)


class LoginStore(Protocol):
    """Where processes share what they know of the login."""

    def state(self, now: datetime) -> LoginState:
        """What is known. Error: store_unavailable."""
        ...

    def looked(self, found: TokenInfo, now: datetime) -> None:
        """Remember what GitLab said of the token."""
        ...


class TokenWatch:
    """Looks at the token now and then, so that its end is known weeks before."""

    def __init__(self, store: LoginStore, ask: Callable[[], TokenInfo], clock: Clock, every_hours: float = LOOK_HOURS):
        self._store, self._ask, self._clock = store, ask, clock
        self._every = timedelta(hours=every_hours)

    def once(self) -> bool:
        """Ask GitLab when the last answer is too old; True when it was asked and answered. Never raises SyncError."""
        now = self._clock.now()
        try:
            last = self._store.state(now).checked_at
            if last is not None and now - last < self._every:
                return False
            return self._look(now)
        except SyncError as error:
            log.warning("token_not_checked", extra={"code": error.code, "error": error.message})
            return False

    def _look(self, now: datetime) -> bool:
        self._store.looked(self._ask(), now)
        for problem in self._store.state(now).problems():
            log.warning("gitlab_token_problem", extra={"problem": problem})
        return True
