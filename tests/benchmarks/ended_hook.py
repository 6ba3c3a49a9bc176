"""GitLab's pipeline webhook, which the stand-in does not send by itself: told as soon as a pipeline has ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_urlsafe

import requests

from app.domain.pipeline_event import ENDED
from tests.benchmarks.service_world import Bench


class EndedHook:
    """Watches the stand-in's pipelines in this process and posts the event that GitLab would."""

    def __init__(self) -> None:
        self._secret, self._end = token_urlsafe(32), threading.Event()
        self._told: set[int] = set()

    @contextmanager
    def watching(self, world: Bench) -> Iterator[None]:
        """While the body runs."""
        thread = threading.Thread(target=self._watch, args=(world,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What modsync needs in its environment."""
        return {"BENCH_HOOK": self._secret}

    def _watch(self, world: Bench) -> None:
        pipelines = world.world.gitlab.world
        with requests.Session() as session:
            while not self._end.is_set():
                with pipelines.changed:
                    pipelines.changed.wait(0.2)
                    ended = [one for one in pipelines.pipelines.values() if one.status in ENDED]
                for one in ended:
                    if one.id not in self._told:
                        self._told.add(one.id)
                        self._tell(session, world, one.id, one.project_id, one.status, one.name or "")

    def _tell(self, session: requests.Session, world: Bench, number: int, project: int, status: str, name: str) -> None:
        event = {
            "object_kind": "pipeline", "object_attributes": {"id": number, "status": status, "name": name},
            "project": {"id": project},
        }  # fmt: skip
        headers = {"X-Gitlab-Token": self._secret}
        session.post(f"{world.world.url}/hooks/gitlab", json=event, headers=headers, timeout=30).raise_for_status()
