"""modsync: webhook-driven sync of Go module releases, from a platform over a GitLab mirror to a private proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.bootstrap import Container
    from app.config_models import Settings


def create_app(settings: Settings | Container) -> Flask:
    """The web application; nothing connects before the first request that needs it."""
    # Imported here: this package is also what the domain, the workers and the command line live in.
    from app.bootstrap import Container
    from app.web.site import build

    return build(settings if isinstance(settings, Container) else Container(settings, serves=True))
