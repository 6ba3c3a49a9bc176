"""The breaker for modsync's login at GitLab: 30 failed logins in 3 minutes ban the address for an hour, for everybody.

One row per host and token (by fingerprint), shared by all processes: the first 401 opens it, one request at a time
probes after a while, a success closes it, and another token in the configuration has a row of its own.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, RowMapping, delete, select, update

from app.adapters.database import reading, writing
from app.adapters.rows import insert_ignoring
from app.adapters.tables import gitlab_logins as logins
from app.domain.errors import SyncError
from app.services.gitlab_login import LoginState, TokenInfo
from app.services.ports import Clock

log = logging.getLogger(__name__)

# How old the news may be here that GitLab is left alone. That it is not is asked anew before each request: what many
# processes believed for a second, each would find out by a 401 of its own.
_FRESH_SECONDS = 1.0
# For how long a probe holds the others off; longer than one request takes.
_PROBE_SECONDS = 60.0
_LONGEST_MESSAGE = 300


class GitLabLogin:
    """Breaker and memory for one host and token; safe for threads and for processes forked from this one."""

    def __init__(self, engine: Engine, clock: Clock, host: str, token: str, seconds: float) -> None:
        self._engine, self._clock, self._host, self._seconds = engine, clock, host, seconds
        self._key = hashlib.sha256(f"{host}\0{token}".encode()).hexdigest()[:32]
        self._lock = threading.Lock()
        self._seen: tuple[datetime, datetime | None] | None = None  # (when looked, open until)
        self._probe_until: datetime | None = None

    def check(self) -> None:
        """Before a request: `token_expired`, with the time to come back, while GitLab is to be left alone.

        A database that does not answer stops nobody here: it is asked for everything else as well.
        """
        now = self._clock.now()
        try:
            until = self._open_until(now)
            if until is None or (self._probe_until is not None and now < self._probe_until):
                return
            if until <= now and self._take_probe(until, now):
                return
        except SyncError as error:
            log.warning("breaker_not_read", extra={"code": error.code})
            return
        raise self._closed(until, now)

    def refused(self, error: SyncError) -> SyncError:
        """GitLab answered 401: open. Returns the error with the time to come back; others are returned as they are."""
        if error.code != "token_expired" or error.retry_after is not None:
            return error
        now = self._clock.now()
        until = now + timedelta(seconds=self._seconds)
        values = {"refused_at": now, "open_until": until, "message": error.message[:_LONGEST_MESSAGE]}
        try:
            self._write(values)
        except SyncError as away:
            log.warning("breaker_not_written", extra={"code": away.code})
        self._seen, self._probe_until = (now, until), None
        log.error("gitlab_login_refused", extra={"host": self._host, "until": str(until)})
        return SyncError(error.code, error.message, retry_after=self._seconds)

    def worked(self) -> None:
        """A request with the token was answered: close, where it was open."""
        if self._probe_until is None and (self._seen is None or self._seen[1] is None):
            return
        try:
            self._write({"refused_at": None, "open_until": None, "message": ""})
        except SyncError as error:
            log.warning("breaker_not_written", extra={"code": error.code})
            return
        self._seen, self._probe_until = (self._clock.now(), None), None
        log.info("gitlab_login_works_again", extra={"host": self._host})

    def close(self) -> None:
        """A person's own look worked: close, whatever this process knew."""
        self._probe_until = self._clock.now()
        self.worked()

    def state(self, now: datetime) -> LoginState:
        """See LoginStore."""
        with reading(self._engine) as connection:
            row = connection.execute(select(logins).where(logins.c.key == self._key)).mappings().one_or_none()
        return _state(row, now) if row else LoginState()

    def looked(self, found: TokenInfo, now: datetime) -> None:
        """See LoginStore."""
        ends = found.expires_at.isoformat() if found.expires_at else None
        self._write(
            {"token_name": found.name[:120], "scopes": list(found.scopes), "expires_at": ends, "checked_at": now}
        )

    def _open_until(self, now: datetime) -> datetime | None:
        with self._lock:
            looked, until = self._seen or (now, None)
            if until is None or (now - looked).total_seconds() >= _FRESH_SECONDS:
                until = self.state(now).open_until
                self._seen = now, until
            return until

    def _take_probe(self, until: datetime, now: datetime) -> bool:
        """Compare-and-set: one of all processes gets to try."""
        held = now + timedelta(seconds=_PROBE_SECONDS)
        which = (logins.c.key == self._key) & (logins.c.open_until == until)
        with writing(self._engine) as connection:
            mine = connection.execute(update(logins).where(which).values(open_until=held)).rowcount == 1
        if mine:
            self._probe_until = held
        self._seen = None
        return mine

    def _write(self, values: Mapping[str, Any]) -> None:
        with writing(self._engine) as connection:
            first = {"key": self._key, "host": self._host, "message": "", "scopes": []}
            if insert_ignoring(connection, logins, {**first, **values}):
                # The row of a token that is not configured any more says nothing true.
                connection.execute(delete(logins).where(logins.c.host == self._host, logins.c.key != self._key))
            connection.execute(update(logins).where(logins.c.key == self._key).values(**values))

    def _closed(self, until: datetime, now: datetime) -> SyncError:
        wait = max((until - now).total_seconds(), 1.0)
        message = f"GitLab at {self._host} refused modsync's token and is left alone until {until:%H:%M:%S} UTC"
        return SyncError("token_expired", message, retry_after=wait)


def _state(row: RowMapping, now: datetime) -> LoginState:
    ends = row["expires_at"]
    left = (date.fromisoformat(ends) - now.date()).days if ends else None
    names = ("refused_at", "open_until", "message", "token_name", "expires_at", "checked_at")
    return LoginState(**{name: row[name] for name in names}, scopes=tuple(row["scopes"]), days_left=left)
