"""What a request may use: the container of its application, and who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from app.bootstrap import Container
from app.domain.access import Role, Scope
from app.services.queries import Queries, Routing
from app.standing import Standing

EXTENSION = "modsync"
_STANDING = "modsync_standing"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: `actor` is what is recorded; `session` is True for a browser, whose requests other sites can forge."""

    actor: str
    session: bool
    role: Role = Role.ADMIN
    scopes: frozenset[Scope] = frozenset()


def container() -> Container:
    """The container that the application was made with."""
    return cast(Container, current_app.extensions[EXTENSION])


def standing() -> Standing:
    """How things stand; one for the application."""
    return cast(Standing, current_app.extensions.setdefault(_STANDING, Standing(container())))


def routing() -> Routing:
    """The rules, and what the sources may name."""
    return container().routed


def queries() -> Queries:
    """The reading half."""
    return container().queries


def principal() -> Principal:
    """Who asks; only on routes that are not open, where the guard has seen to it."""
    return cast(Principal, g.principal)


def api_url(path: str) -> str:
    """An absolute address below the configured base URL: the Host header is the sender's word and is not used."""
    return f"{container().settings.web.base_url}{path}"
