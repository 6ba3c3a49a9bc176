"""Starts worker processes and the sweeper: `python -m workers worker|sweeper`, or `modsync worker|sweeper`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from app.adapters import migrate
from app.adapters.job_queue import LIVE
from app.bootstrap import Container
from app.config import load_settings
from app.config_record import record_settings
from app.domain.run import Lane
from app.telemetry import configure_logging
from workers import jobs, pool, sweeper

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM. Errors: ConfigError before anything starts."""
    options = _parser().parse_args(arguments)
    container = Container(load_settings(options.config, os.environ))
    configure_logging(container.settings, role=options.role)
    migrate.upgrade_when_reachable(container.settings.store.url)
    record_settings(container.settings, options.role)
    if options.role == "sweeper":
        sweeper.run(container)
        return
    jobs.use(container)
    count = options.processes if options.processes is not None else _count(container, options.queue)
    if count:
        pool.run(container, options.queue, count)
    else:
        _wait_for_the_end(options.queue)


def _count(container: Container, queue: str) -> int:
    worker = container.settings.worker
    return worker.backfill if queue == Lane.BACKFILL else worker.live


def _wait_for_the_end(queue: str) -> None:
    """Nothing to do in this process: it waits, so that one Procfile serves every configuration."""
    log.info("no_workers", extra={"queue": queue})
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    signal.sigwait(ends)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="modsync worker")
    parser.add_argument("role", choices=["worker", "sweeper"])
    parser.add_argument("--config", type=Path)
    parser.add_argument("--queue", default=LIVE)
    parser.add_argument("--processes", type=int)
    return parser


if __name__ == "__main__":
    main()
