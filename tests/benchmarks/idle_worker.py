"""A worker of modsync's whose stages do nothing, or a plain RQ worker with an empty job: what a job itself costs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from redis import Redis
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from app.bootstrap import Container
from app.config import load_settings
from app.domain.run import Claim
from app.services.flow import Flow
from app.services.lease import Lease
from app.services.stages import Finished
from workers import jobs, pool

FACTS: Mapping[str, Any] = {
    "project": {"id": 1, "path": "mirrors/x", "url": "http://127.0.0.1:1/x"},
    "push": {"tag": "v1.0.0", "object": "a" * 40, "commit": "a" * 40, "new": True},
    "proof": {"directory": "", "go_mod_sha256": "b" * 64, "h1": "h1:x", "h1_go_mod": "h1:y"},
}
PLAIN = "plain"


def nothing(_argument: str) -> None:
    """An empty job."""


class IdleContainer(Container):
    """Everything real but the three stages."""

    @cached_property
    def flow(self) -> Flow:
        """As in production; each stage finishes at once."""
        flow: Flow = Container.__dict__["flow"].func(self)
        for name in ("_pipeline", "_verify"):
            setattr(flow, name, _Idle())
        flow._turn = _IdleTurn()  # type: ignore[assignment]
        return flow


class _Idle:
    def run(self, *_given: object) -> Finished:
        return Finished({})


class _IdleTurn:
    def run(self, claim: Claim, _lease: Lease) -> Mapping[str, tuple[Claim, Finished]]:
        return {claim.run.id: (claim, Finished(FACTS))}


def main(arguments: list[str]) -> None:
    """`plain URL` or `CONFIG`."""
    if arguments[0] == PLAIN:
        redis = Redis.from_url(arguments[1])
        queue = Queue(PLAIN, connection=redis, serializer=JSONSerializer)
        Worker([queue], connection=redis, serializer=JSONSerializer, log_job_description=False).work(
            logging_level="ERROR"
        )
        return
    container = IdleContainer(load_settings(Path(arguments[0]), os.environ))
    jobs.use(container)
    pool.run(container, "live", 1)


if __name__ == "__main__":
    main(sys.argv[1:])
