"""The least that a Flask webhook endpoint can be: what modsync's intake is compared with."""

from __future__ import annotations

from typing import Any

from flask import Flask, request


def create() -> Flask:
    """A view that reads the body and answers."""
    app = Flask("bare")

    @app.post("/webhooks/<source>")
    def receive(source: str) -> tuple[dict[str, Any], int]:
        return {"source": source, "bytes": len(request.get_data())}, 202

    app.add_url_rule("/readyz", view_func=ready)
    return app


def ready() -> dict[str, str]:
    """As modsync's own says it."""
    return {"status": "ready"}
