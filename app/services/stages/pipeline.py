"""Stage pipeline: one effective GitLab pipeline per attempt, polled without holding a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.ports import GitLab, Pipeline
from app.services.stages import Finished, Note, Outcome, Wait

# What GitLab's words mean for us; unknown and new ones are active (doc/api/pipelines.md: the list has grown before).
_ENDS: Mapping[str, tuple[str, str]] = {
    "failed": ("pipeline_failed", "failed"),
    "canceled": ("pipeline_canceled", "was cancelled"),
    "skipped": ("pipeline_skipped", "was skipped"),
    "manual": ("pipeline_blocked", "waits for a manual job"),
}

_BEGUN = ("created", "waiting_for_resource", "preparing", "pending")

# How often a pipeline whose runner broke is retried within an attempt; a replay makes a pipeline of its own.
_RETRIES = 1

# Errors of a POST after which nobody knows whether a pipeline is being made; all others are GitLab's own no.
_UNKNOWN = frozenset({"gitlab_unreachable", "gitlab_unavailable", "read_only"})


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """How pipelines are made and awaited. `ref` is a branch, or "tag" for the version's tag; times in seconds.

    `look_again`: how far apart the two looks are that must both miss a pipeline whose `POST` was never answered, before
    another is made: GitLab may still be at work on it when the connection is long gone.
    """

    ref: str = "ci-sync"
    timeout: float = 3600.0
    poll_first: float = 1.0
    poll_longest: float = 30.0
    look_again: float = 10.0


@dataclass(frozen=True, slots=True)
class PipelineRequest:
    """`key` is `<run>-<attempt>`: what names the pipeline. `state` is facts["pipeline"] as recorded so far."""

    key: str
    fence: int
    project: int
    tag: str
    module: ModulePath
    version: Version
    commit: str
    state: Mapping[str, Any]
    since: datetime
    now: datetime

    @property
    def name(self) -> str:
        """The pipeline's name: deploy/gitlab/precache.gitlab-ci.yml sets it by workflow:name."""
        return f"modsync {self.key}"

    @property
    def intent(self) -> dict[str, Any]:
        """What is recorded before the pipeline is created: its name, and by which claim."""
        return {"pipeline": {"intent": self.name, "fence": self.fence}}

    @property
    def variables(self) -> dict[str, str]:
        """What the pipeline is told; nothing larger, for a payload above 128 kB breaks the job."""
        return {
            "MODSYNC_MODULE": self.module.text,
            "MODSYNC_MODULE_ESCAPED": self.module.escaped,
            "MODSYNC_VERSION": self.version.text,
            "MODSYNC_VERSION_ESCAPED": self.version.escaped,
            "MODSYNC_COMMIT": self.commit,
            "MODSYNC_RUN": self.key,
        }


class PipelineStage:
    """The pipeline stage over GitLab's API."""

    def __init__(self, gitlab: GitLab, options: PipelineOptions) -> None:
        self._gitlab = gitlab
        self._options = options

    def run(self, request: PipelineRequest, extra: Mapping[str, str]) -> Outcome:
        """One look: note the intent, create, or poll. `extra` are variables about the proxy (no secrets)."""
        state = request.state
        if "intent" not in state or "refused" in state:
            return Note(request.intent)
        if "id" not in state:
            return self._made(request, extra) if state.get("fence") == request.fence else self._looked_for(request)
        seen = self._gitlab.pipeline(request.project, int(state["id"]))
        return self._judged(request, {**state, **_facts(seen)}, seen)

    def _begun(self, state: Mapping[str, Any], made: Pipeline) -> Outcome:
        """A pipeline that has just begun needs no second look now; one that was there already is looked at."""
        known = {**state, **_facts(made)}
        if made.status in _BEGUN:
            note = f"pipeline {made.id} is {made.status}"
            return Wait(self._options.poll_first, {"pipeline": {**known, "polls": 1}}, note=note)
        return Note({"pipeline": {**known, "polls": 0}}, lasting=False)

    def _made(self, request: PipelineRequest, extra: Mapping[str, str]) -> Outcome:
        ref = f"refs/tags/{request.tag}" if self._options.ref == "tag" else self._options.ref
        try:
            made = self._gitlab.create_pipeline(request.project, ref, {**request.variables, **extra})
        except SyncError as error:
            if error.code in _UNKNOWN:
                raise
            facts = {"pipeline": {**request.state, "refused": error.code}}
            raise SyncError(error.code, error.message, retry_after=error.retry_after, facts=facts) from None
        return self._begun(request.state, made)

    def _looked_for(self, request: PipelineRequest) -> Outcome:
        """Another claim noted the intent: its POST may have gone through before it died, or may still be at work."""
        state = request.state
        found = self._gitlab.find_pipeline(request.project, request.name)
        if found:
            return self._begun({name: state[name] for name in ("intent", "fence")}, found)
        first = datetime.fromisoformat(state["missed"]) if "missed" in state else request.now
        left = self._options.look_again - (request.now - first).total_seconds()
        if left <= 0:
            return Note(request.intent)  # missed for long enough: this claim makes it
        missed = {"pipeline": {**state, "missed": first.isoformat()}}
        return Wait(left, missed, note=f"no pipeline {request.name} yet; looking again", heals=False)

    def _judged(self, request: PipelineRequest, state: dict[str, Any], seen: Pipeline) -> Outcome:
        if seen.status == "success":
            return Finished({"pipeline": state}, detail=_facts(seen))
        if seen.status == "failed" and (again := self._again(request, state, seen)):
            return again
        if seen.status in _ENDS:
            code, words = _ENDS[seen.status]
            said = f"pipeline {seen.id} {words}{self._why(request, seen)}"
            raise SyncError(code, said, facts={"pipeline": state})
        waited = (request.now - request.since).total_seconds()
        if waited > self._options.timeout:
            said = f"pipeline {seen.id} is still {seen.status} after {waited:.0f} s"
            raise SyncError("pipeline_timeout", said, facts={"pipeline": state})
        polls = int(state.get("polls", 0)) + 1
        delay = min(self._options.poll_longest, self._options.poll_first * 1.5 ** min(polls - 1, 64))
        return Wait(delay, {"pipeline": {**state, "polls": polls}}, note=f"pipeline {seen.id} is {seen.status}")

    def _again(self, request: PipelineRequest, state: dict[str, Any], seen: Pipeline) -> Outcome | None:
        """A runner that broke says nothing of the release: GitLab's own retry, so that there is no second pipeline."""
        retries = int(state.get("retries", 0))
        if retries >= _RETRIES:
            return None
        try:
            again = self._gitlab.retry_pipeline(request.project, seen.id)
        except SyncError as error:
            if error.retryable:
                raise
            return None  # that GitLab does not let us is no news beside the failure itself
        if again is None:
            return None
        facts = {"pipeline": {**state, **_facts(again), "retries": retries + 1}}
        return Wait(self._options.poll_first, facts, note=f"pipeline {seen.id} was retried: its runner failed")

    def _why(self, request: PipelineRequest, seen: Pipeline) -> str:
        if seen.status != "failed":
            return ""
        try:
            job = self._gitlab.failed_job(request.project, seen.id)
        except SyncError:
            return ""  # the log is a courtesy: its absence must not hide that the pipeline failed
        return f": job {job[0]} ({job[1]}) ended with:\n{job[2]}" if job else ""


def _facts(pipeline: Pipeline) -> dict[str, Any]:
    return {"id": pipeline.id, "sha": pipeline.sha, "status": pipeline.status, "url": pipeline.web_url}
