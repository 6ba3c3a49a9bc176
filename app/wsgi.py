"""gunicorn's entry: `gunicorn -c python:app.gunicorn_conf`, which names `app.wsgi:create()`."""

from __future__ import annotations

import os

from flask import Flask

from app import create_app
from app.config import load_settings
from app.telemetry import configure_logging


def create() -> Flask:
    """The application with the settings that $MODSYNC_CONFIG names. Error: ConfigError."""
    settings = load_settings(None, os.environ)
    configure_logging(settings, role="web")
    return create_app(settings)
