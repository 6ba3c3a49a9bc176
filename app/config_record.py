"""Records with each process's start what of the configuration is new. Part of the composition root."""

from __future__ import annotations

import getpass
import logging
import os
import socket

from pydantic import SecretStr

from app.adapters.database import connect
from app.adapters.settings_seen import SqlSettingsSeen, fingerprint
from app.adapters.system import SystemClock
from app.config_models import Settings
from app.config_text import leaves, plain_text, text_of
from app.domain.errors import SyncError

log = logging.getLogger(__name__)


def record_settings(settings: Settings, role: str) -> bool:
    """Put a change of the configuration into the audit log; True when there was one. Without a database: a log line.

    Connects for itself and leaves nothing open: whoever calls this may fork afterwards.
    """
    engine, now = connect(settings.store.url, pool_size=1), SystemClock().now()
    try:
        store = SqlSettingsSeen(engine)
        changed = store.record(entries(settings, store.salt(now)), actor(role), now)
    except SyncError as error:
        log.warning("config_not_recorded", extra={"code": error.code, "error": error.message})
        return False
    finally:
        engine.dispose()
    if changed:
        log.info("config_changed")
    return changed


def entries(settings: Settings, salt: str) -> dict[str, str]:
    """Every setting as text; of what holds a secret where it comes from, and a fingerprint. Not the file's own path."""
    return {key: _entry(value, settings.origins.get(key), salt) for key, value in leaves(settings) if key != "path"}


def actor(role: str) -> str:
    """The process: `process:<role>:<user>@<host>`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"process:{role}:{user[:30]}@{socket.gethostname()}"[:120]


def _entry(value: object, origin: str | None, salt: str) -> str:
    shown = text_of(value, origin)
    if isinstance(value, SecretStr):
        return f"{shown} {fingerprint(value.get_secret_value(), salt)}"
    hides = value is not None and text_of(value, None) != plain_text(value)
    return f"{shown} {fingerprint(plain_text(value), salt)}" if hides else shown
