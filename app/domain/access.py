"""Who may do what: roles, and what API tokens, login links and sessions look like."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """Each may do what the ones before it may."""

    VIEWER = "viewer"  # see everything but secrets
    OPERATOR = "operator"  # replay, cancel, redeliver, pause
    ADMIN = "admin"  # accept moved versions, tokens, audit

    def may(self, wanted: Role) -> bool:
        """True when this role includes `wanted`."""
        order = list(Role)
        return order.index(self) >= order.index(wanted)


class Scope(StrEnum):
    """Groups of routes that an API token can be limited to, within its role; pages and API alike."""

    NOW = "now"  # how things stand
    RUNS = "runs"  # runs, failures, replays, accepted moves
    MODULES = "modules"  # modules, and which rule applies
    DELIVERIES = "deliveries"
    MIRRORS = "mirrors"  # mirrors, what reconcile found, the GitLab token's state
    SOURCES = "sources"
    PAUSES = "pauses"
    AUDIT = "audit"
    METRICS = "metrics"
    QUEUE = "queue"  # the RQ dashboard


class Kind(StrEnum):
    """What a credential is for."""

    TOKEN = "token"  # noqa: S105 - a word, not a secret
    LINK = "link"  # opens one session, once
    SESSION = "session"


_PREFIX = {Kind.TOKEN: "mst", Kind.LINK: "msl", Kind.SESSION: "mss"}
_SHAPE = re.compile(r"(ms[tls])_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential; its secret is stored as a digest only. `name` says whose it is, for the records.

    `scopes`: what it is limited to within its role; none: nothing but the role.
    """

    id: str
    kind: Kind
    name: str
    role: Role
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    scopes: frozenset[Scope] = frozenset()

    def is_live(self, now: datetime) -> bool:
        """True while it is neither revoked nor over."""
        return self.revoked_at is None and now < self.expires_at


def make_secret(kind: Kind, randomness: str) -> str:
    """The text that its holder keeps: `mst_` and 43 characters of base64url (256 bits)."""
    return f"{_PREFIX[kind]}_{randomness}"


def looks_like(text: str) -> Kind | None:
    """Which kind of credential a text could be; None for anything else."""
    match = _SHAPE.fullmatch(text)
    return next((kind for kind, prefix in _PREFIX.items() if match and match[1] == prefix), None)


def digest(secret: str) -> str:
    """What is stored. The secret has 256 random bits, so one fast hash is enough; nobody can guess their way to it."""
    return hashlib.sha256(secret.encode()).hexdigest()
