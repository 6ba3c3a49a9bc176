"""Tokens, login links and server-side sessions: made, recognised, ended; each change is in the audit log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from app.domain.access import Credential, Kind, Role, Scope, digest, looks_like, make_secret
from app.domain.audit import Entry
from app.domain.errors import SyncError
from app.services.ports import Clock

log = logging.getLogger(__name__)

SESSION = timedelta(hours=12)
LINK = timedelta(minutes=10)
# Last use is written at most so often: reading the API must not cost a write each time.
_USE_NOTED_EVERY = timedelta(minutes=1)
_LONGEST_NAME = 100  # with what stands before it, the log holds 120
_CONFIGURED = "admin"


class AuditStore(Protocol):
    """The audit log. Errors: `store_unavailable`."""

    def append(
        self,
        actor: str,
        action: str,
        thing: str,
        now: datetime,
        *,
        reason: str = "",
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> Entry:
        """Add an entry behind the last one; two at once wait for each other."""
        ...

    def entries(self, after: int = 0) -> Iterator[Entry]:
        """All entries with a number above `after`, in order, a batch at a time."""
        ...


@dataclass(frozen=True, slots=True)
class Note:
    """What the audit log says of a change, as AuditStore.append takes it."""

    actor: str
    action: str
    object: str
    reason: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


class CredentialStore(Protocol):
    """Credentials by the digest of their secret; a change and its entry of the audit log are one transaction.

    Errors: `store_unavailable`.
    """

    def add(
        self,
        credential: Credential,
        secret_digest: str,
        note: Note,
        *,
        spends: str | None = None,
        under: str | None = None,
        alone: bool = False,
    ) -> bool:
        """Keep a new one; `spends` ends the link that it is made with, `under` is the token that must be live meanwhile.

        `alone`: no live one of its kind has its name. False: one of these does not hold, and nothing is kept.
        """
        ...

    def by_digest(self, secret_digest: str) -> Credential | None:
        """The one with this secret; None when there is none."""
        ...

    def used(self, credential_id: str, now: datetime) -> None:
        """Note its use."""
        ...

    def revoke(self, credential_id: str, now: datetime, note: Note, *, sessions_of: str | None = None) -> bool:
        """End it, and the sessions that `sessions_of` opened; False when it is not there or has ended already."""
        ...

    def tokens(self) -> list[Credential]:
        """All API tokens, newest first."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: `actor` is what is recorded. `until`: when a token ends; None for what sessions may outlive."""

    actor: str
    role: Role
    credential: str
    scopes: frozenset[Scope] = frozenset()
    until: datetime | None = None


class Access:
    """The one place that knows whether a secret opens anything."""

    def __init__(
        self, store: CredentialStore, clock: Clock, new_id: Callable[[str], str],
        randomness: Callable[[], str],
    ) -> None:  # fmt: skip
        self._store, self._clock = store, clock
        self._new_id, self._randomness = new_id, randomness
        self._note_again_at: datetime | None = None

    def create_token(
        self, name: str, role: Role, days: float, actor: str, reason: str = "", *, scopes: Collection[Scope] = ()
    ) -> tuple[str, Credential]:
        """A new API token: (the secret, shown once, what is kept); without `scopes` it has all of its role.

        Errors: name_taken, bad_request (field name).
        """
        _check_name(name)
        secret, made = self._new(Kind.TOKEN, name, role, timedelta(days=days), actor, scopes)
        after = {"name": name, "role": role.value, "scopes": sorted(scopes), "until": made.expires_at.isoformat()}
        note = Note(actor, "token.create", f"token:{made.id}", reason, after=after)
        if not self._store.add(made, digest(secret), note, alone=True):
            raise SyncError("name_taken", f"there is a live token named {name!r}")
        return secret, made

    def revoke_token(self, identifier: str, actor: str, reason: str) -> Credential:
        """End a token, by its id or name. Error: not_found."""
        now = self._clock.now()
        found = next((t for t in self._store.tokens() if identifier in (t.id, t.name) and t.is_live(now)), None)
        if found is None or not self._ended(found, now, Note(actor, "token.revoke", f"token:{found.id}", reason)):
            raise SyncError("not_found", f"there is no live token {identifier!r}")
        return found

    def _ended(self, token: Credential, now: datetime, note: Note) -> bool:
        told = replace(note, before={"name": token.name, "role": token.role.value}, after={"ended": now.isoformat()})
        return self._store.revoke(token.id, now, told, sessions_of=f"token:{token.name}")

    def tokens(self) -> list[Credential]:
        """All API tokens, newest first, ended ones included."""
        return self._store.tokens()

    def create_link(self, name: str, role: Role, actor: str, reason: str = "") -> str:
        """The secret of a link that opens one session within ten minutes. Error: bad_request (field name)."""
        _check_name(name)
        secret, made = self._new(Kind.LINK, name, role, LINK, actor)
        after = {"name": name, "role": role.value, "until": made.expires_at.isoformat()}
        self._store.add(made, digest(secret), Note(actor, "link.create", f"link:{made.id}", reason, after=after))
        return secret

    def identify(self, secret: str, *kinds: Kind) -> Identity | None:
        """Who a secret of one of these kinds belongs to; None for any other text."""
        kind = looks_like(secret)
        if kind is None or kind not in kinds:
            return None
        found, now = self._store.by_digest(digest(secret)), self._clock.now()
        if found is None or found.kind is not kind or not found.is_live(now):
            return None
        if found.last_used_at is None or now - found.last_used_at > _USE_NOTED_EVERY:
            self._note_use(found, now)
        until = found.expires_at if found.kind is Kind.TOKEN else None
        return Identity(f"{found.kind.value}:{found.name}", found.role, found.id, found.scopes, until)

    def _note_use(self, found: Credential, now: datetime) -> None:
        """A database that takes no writes (locked, full, read-only) keeps nobody from looking what is wrong with it."""
        if self._note_again_at and now < self._note_again_at:
            return
        try:
            self._store.used(found.id, now)
        except SyncError as error:
            # Each try may wait for seconds: the next one is not at the next request.
            self._note_again_at = now + _USE_NOTED_EVERY
            log.warning("credential_use_not_noted", extra={"credential": found.id, "code": error.code})

    def open_session(self, who: Identity) -> str:
        """A session's secret for somebody who proved who they are; it ends with their token at the latest.

        A link is spent: a second time is `unauthorized`.
        """
        link = who.credential if who.actor.startswith("link:") else None
        life = min(SESSION, who.until - self._clock.now()) if who.until else SESSION
        secret, made = self._new(Kind.SESSION, who.actor.partition(":")[2], who.role, life, who.actor, who.scopes)
        note = Note(who.actor, "login", f"session:{made.id}", after={"role": who.role.value})
        if not self._store.add(made, digest(secret), note, spends=link, under=None if link else who.credential or None):
            raise SyncError("unauthorized", f"this {'login link was used' if link else 'token was revoked'} already")
        return secret

    def close_session(self, secret: str) -> None:
        """End a session; nothing happens for a text that is none."""
        found = self._store.by_digest(digest(secret)) if looks_like(secret) is Kind.SESSION else None
        if found:
            note = Note(f"session:{found.name}", "logout", f"session:{found.id}", before={"role": found.role.value})
            self._store.revoke(found.id, self._clock.now(), note)

    def _new(
        self, kind: Kind, name: str, role: Role, life: timedelta, actor: str, scopes: Collection[Scope] = ()
    ) -> tuple[str, Credential]:
        now = self._clock.now()
        secret = make_secret(kind, self._randomness())
        return secret, Credential(self._new_id("c"), kind, name, role, now, actor, now + life, scopes=frozenset(scopes))


def _check_name(name: str) -> None:
    """A name that the audit log can tell from the configuration's own token, and hold with what stands before it."""
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise SyncError("bad_request", f"name: must be a text of 1 to {_LONGEST_NAME} characters", field="name")
    if name.strip() == _CONFIGURED:
        raise SyncError("bad_request", f"name: {_CONFIGURED} is the configuration's own token", field="name")
