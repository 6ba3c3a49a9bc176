"""Which scope of API tokens each route belongs to: by the first part of its address, pages and API alike."""

from __future__ import annotations

from app.domain.access import Scope

EVERY = frozenset({"logout", "docs", "openapi.json"})
"""What a token of any scope may ask for: the way out, and how to ask."""
_HALVES = frozenset({"api", "live"})  # another form of what has the same name without it
_OF = {
    "": Scope.NOW, "now": Scope.NOW,
    "runs": Scope.RUNS, "releases": Scope.RUNS, "replays": Scope.RUNS, "failures": Scope.RUNS, "moves": Scope.RUNS,
    "modules": Scope.MODULES, "explain": Scope.MODULES,
    "mirrors": Scope.MIRRORS, "reconcile": Scope.MIRRORS, "gitlab": Scope.MIRRORS,
    "deliveries": Scope.DELIVERIES, "sources": Scope.SOURCES, "pauses": Scope.PAUSES, "audit": Scope.AUDIT,
    "metrics": Scope.METRICS, "rq": Scope.QUEUE,
}  # fmt: skip


def subject(rule: str) -> str:
    """What the route is about: the first part of its address, behind `api` or `live`."""
    parts = [part for part in rule.split("/") if part]
    if parts and parts[0] in _HALVES:
        parts = parts[1:]
    return parts[0] if parts else ""


def scope_of(rule: str) -> Scope | None:
    """The scope that opens the route; None: no token that is limited to scopes may ask for it."""
    return _OF.get(subject(rule))


def opens(scopes: frozenset[Scope], rule: str) -> bool:
    """True when a token with these scopes may ask; without scopes it has all of its role."""
    return not scopes or subject(rule) in EVERY or scope_of(rule) in scopes
