"""Starts worker processes and the sweeper: `python -m workers worker|sweeper`, or `modsync worker|sweeper`."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from app.telemetry import configure_logging

from app.adapters import migrate
from app.adapters.job_queue import LIVE
from app.bootstrap import Container
from app.config import load_settings
from workers import jobs, pool, sweeper

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM. Errors: ConfigError before anything starts."""
    options = _parser().parse_args(arguments)
    container = Container(load_settings(options.config, os.environ))
    configure_logging(container.settings, role=options.role)
    migrate.upgrade(container.settings.store.url)
    if options.role == "sweeper":
        sweeper.run(container)
        return
    jobs.use(container)
    pool.run(container, options.queue, options.processes or container.settings.worker.live)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="modsync worker")
    parser.add_argument("role", choices=["worker", "sweeper"])
    parser.add_argument("--config", type=Path)
    parser.add_argument("--queue", default=LIVE)
    parser.add_argument("--processes", type=int)
    return parser


if __name__ == "__main__":
    main()
