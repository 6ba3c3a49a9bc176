"""gunicorn's settings, out of modsync's own: `gunicorn -c python:app.gunicorn_conf`.

gunicorn runs this module in its first process and takes the names below as its settings. The application is loaded
in each worker after the fork (no preload), so that no connection is shared between processes.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from app.adapters import migrate
from app.config import ConfigError, Settings, load_settings
from app.config_record import record_settings
from app.telemetry import configure_logging
from app.web import counter_files


def _settings() -> Settings:
    try:
        return load_settings(None, os.environ)
    except ConfigError as error:
        raise SystemExit(f"modsync's settings cannot be used:\n{error}") from None


_loaded = _settings()
_counters = _loaded.data_dir / "metrics" / "web"
_shared_memory = Path("/dev/shm")  # noqa: S108 - only for empty heartbeat files, which a slow disk must not delay

wsgi_app = "app.wsgi:create()"
proc_name = "modsync-web"
bind = [_loaded.web.listen]
workers = _loaded.web.workers
worker_class = "app.web.worker.DeadlineWorker"
threads = _loaded.web.threads
preload_app = False
worker_tmp_dir = str(_shared_memory) if os.access(_shared_memory, os.W_OK) else None
timeout = 60
graceful_timeout = 7  # SIGTERM to exit stays below ten seconds
keepalive = 5
backlog = 1024
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
control_socket_disable = True  # nothing listens but the address above
accesslog = None  # app.web.site writes one event for each request, by route and without the sender's text
# gunicorn's own messages go where all others go: it keeps no handler, and leaves the root logger's alone ("root": {}).
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {},
    "handlers": {},
    "formatters": {},
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}


# prometheus_client decides at its import, in the workers, that counters live in files of this directory.
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_counters)
_counters.mkdir(parents=True, exist_ok=True)
configure_logging(_loaded, role="web")


def on_starting(_server: Any) -> None:
    """Before the first worker: counters begin anew, and the schema is the newest."""
    for old in _counters.glob("*.db"):
        old.unlink(missing_ok=True)
    try:
        migrate.upgrade(_loaded.store.url)
        record_settings(_loaded, "web")
    except Exception:
        # Not the end: /readyz says so until the database is back and somebody (a worker's start too) has upgraded it.
        logging.getLogger(__name__).exception("migration_failed")


def post_fork(_server: Any, _worker: Any) -> None:
    """In the worker, before it loads the application."""
    counter_files.use(_counters)
