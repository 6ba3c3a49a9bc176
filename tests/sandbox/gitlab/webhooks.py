"""Webhooks that GitLab sends when a pipeline changes state: one after the other, behind the scenes, never twice.

Known: the headers, ten seconds for an answer, no redelivery, hooks that are switched off for a while after four failures
in a row (one minute at first, twice as long each time, a day at most). Believed: the body shows the pipeline as it is
when it is sent, and `created` is no event.
"""

import json
import queue
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import requests
from standardwebhooks import Webhook as Signer

from tests.sandbox.gitlab.hook_events import pipeline_event
from tests.sandbox.gitlab.model import Pipeline
from tests.sandbox.gitlab.world import World

_TIMEOUT_SECONDS = 10.0
_FAILURES = 4
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(days=1)
_JOIN_SECONDS = 15.0


@dataclass
class Hook:
    """A webhook of a project, or of a group and all that is below it; `secret` is sent, `signing` (`whsec_...`) signs."""

    path: str
    url: str
    secret: str = field(default="", repr=False)
    signing: str = field(default="", repr=False)
    failures: int = 0
    off_until: datetime | None = None
    pauses: int = 0

    def covers(self, project: str) -> bool:
        return f"{project}/".lower().startswith(f"{self.path}/".lower())


@dataclass(frozen=True)
class Sent:
    """One event on its way: what was sent, and the answer's status, 0 where there was none."""

    hook: Hook
    pipeline: int
    state: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    status: int = 0


class Webhooks:
    """Sends while it is started; what happens while it is stopped is sent at the next start, as Sidekiq would.

    `timeout`: seconds in which a receiver has to answer; ten, as GitLab gives.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.hooks: list[Hook] = []
        self.sent: list[Sent] = []
        self.timeout = _TIMEOUT_SECONDS
        self._waiting: queue.Queue[Pipeline | None] = queue.Queue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        world.pipeline_changed = self._waiting.put

    def add(self, path: str, url: str, *, secret: str = "", signing: str = "") -> Hook:
        """A webhook for pipeline events of the group or project at this full path."""
        self.hooks.append(Hook(path, url, secret, signing))
        return self.hooks[-1]

    def start(self) -> None:
        """Send from a background thread; nothing happens when it already does."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = threading.Thread(target=self._work, name="gitlab-webhooks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Finish the event at hand and send no more for now."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._waiting.put(None)
            thread.join(_JOIN_SECONDS)

    def resend(self, sent: Sent, hook: Hook) -> None:
        """What the button "Resend request" does, for another hook: the pipeline's event anew, from the caller's thread."""
        self._send(hook, self._world.pipelines[sent.pipeline])

    def _work(self) -> None:
        while not self._stopping.is_set():
            if (pipeline := self._waiting.get()) is not None:
                for hook in self._for(pipeline):
                    self._send(hook, pipeline)

    def _for(self, pipeline: Pipeline) -> list[Hook]:
        """The hooks that are on; none where the project is gone meanwhile."""
        project, now = self._world.projects.get(pipeline.project_id), self._world.clock()
        covering = [hook for hook in self.hooks if project is not None and hook.covers(project.path)]
        return [hook for hook in covering if hook.off_until is None or hook.off_until <= now]

    def _send(self, hook: Hook, pipeline: Pipeline) -> None:
        with self._world.lock:
            event = pipeline_event(self._world, pipeline)
        body = json.dumps(event).encode()
        headers = _headers(self._world, hook, body)
        status = _post(hook.url, body, headers, self.timeout)
        sent = Sent(hook, pipeline.id, str(event["object_attributes"]["status"]), body, headers, status)
        with self._world.changed:
            _count(hook, 200 <= status < 300, self._world.clock())
            self.sent.append(sent)
            self._world.changed.notify_all()


def _headers(world: World, hook: Hook, body: bytes) -> dict[str, str]:
    key, now = str(uuid.uuid4()), world.clock()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"GitLab/{world.settings.version}",
        "X-Gitlab-Event": "Pipeline Hook",
        "X-Gitlab-Event-UUID": str(uuid.uuid4()),
        "X-Gitlab-Instance": world.url,
        "Idempotency-Key": key,
    }
    if hook.secret:
        headers["X-Gitlab-Token"] = hook.secret
    if hook.signing:
        signature = Signer(hook.signing).sign(key, now, body.decode())
        headers |= {"webhook-id": key, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    return headers


def _post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> int:
    """The answer's status; 0 for none within `timeout` seconds."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
        except requests.RequestException:
            return 0
        return answer.status_code


def _count(hook: Hook, good: bool, now: datetime) -> None:
    """A success forgets all failures; from the fourth failure in a row on, each switches the hook off for a while."""
    if good:
        hook.failures, hook.pauses, hook.off_until = 0, 0, None
        return
    hook.failures += 1
    if hook.failures >= _FAILURES:
        hook.off_until = now + min(_FIRST_PAUSE * 2**hook.pauses, _LONGEST_PAUSE)
        hook.pauses += 1
