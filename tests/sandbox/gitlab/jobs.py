"""The runner's side of GitLab: take a job, write its log, end it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.gitlab.ci_variables import job_variables
from tests.sandbox.gitlab.model import Job, Variable
from tests.sandbox.gitlab.pipelines import finish, refresh
from tests.sandbox.gitlab.world import World


@dataclass(frozen=True)
class Assignment:
    """A job for a runner: script lines, variables, the time limit in seconds."""

    job_id: int
    script: tuple[str, ...]
    variables: tuple[Variable, ...]
    timeout: float


class JobBoard:
    """Where runners look for work. Its methods may be called from any thread."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def folder(self) -> Path:
        """Where runners keep their files."""
        return self._world.root / "builds"

    def take(self, stopped: Callable[[], bool]) -> Assignment | None:
        """Wait for a pending job and mark it running; None once `stopped()`. Call `wake()` after stopping."""
        with self._world.changed:
            self._world.changed.wait_for(lambda: stopped() or self._pending() is not None)
            job = None if stopped() else self._pending()
            if job is None:
                return None
            job.status, job.started_at = "running", self._world.clock()
            refresh(self._world, self._world.pipelines[job.pipeline_id])
            variables = tuple(job_variables(self._world, job))
            return Assignment(job.id, tuple(job.spec.script), variables, job.spec.timeout)

    def wake(self) -> None:
        """Let those who wait in `take` look at their `stopped` again."""
        with self._world.changed:
            self._world.changed.notify_all()

    def append(self, job_id: int, text: bytes) -> None:
        """Add to the job's log."""
        with self._world.changed:
            self._world.jobs[job_id].trace += text
            self._world.changed.notify_all()

    def is_running(self, job_id: int) -> bool:
        """False once it has been canceled."""
        with self._world.lock:
            return self._world.jobs[job_id].status == "running"

    def finish(self, job_id: int, status: str, reason: str | None = None) -> None:
        """`success` or `failed`, with GitLab's failure reason; a canceled job stays canceled."""
        with self._world.lock:
            finish(self._world, self._world.jobs[job_id], status, reason)

    def _pending(self) -> Job | None:
        jobs = self._world.jobs.values()
        return next((job for job in jobs if job.status == "pending" and not job.retried), None)
