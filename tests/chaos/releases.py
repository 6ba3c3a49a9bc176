"""Releases of small Go modules, and the signed webhooks that tell of them: some twice, some again later, some never."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import requests

from tests.sandbox.modules import Module, Release, make_plain
from tests.sandbox.world import World

REPOSITORIES = 20
_SENDERS = 6
_RETRY_SECONDS = 1.0
_TRIES = 60
_UNTOLD = 0.25  # of the releases: their webhooks got lost


@dataclass
class Sent:
    """A release and the run that it got; `run` "" while no delivery of it was accepted, and nobody else brought it."""

    release: Release
    run: str = ""


class Releases:
    """Makes and announces releases from a thread, one after a random pause."""

    def __init__(
        self, world: World, chance: random.Random, pause: tuple[float, float], busy: Callable[[], bool]
    ) -> None:
        """While `busy`, no new ones are made: two cores have to follow."""
        self._world, self._chance, self._pause, self._busy = world, chance, pause, busy
        self._modules: dict[str, Module] = {}
        self._foreign: dict[str, set[str]] = {}
        self._senders = ThreadPoolExecutor(_SENDERS, "webhook")
        self._under_way: list[Future[None]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="releases", daemon=True)
        self.sent: list[Sent] = []
        self.untold: list[Sent] = []
        self.deliveries = 0

    @property
    def repositories(self) -> list[str]:
        """The repositories that there are by now."""
        return list(self._modules)

    @property
    def accepted(self) -> list[Sent]:
        """The releases that were answered with 2xx, and those that were brought without a webhook."""
        return [each for each in (*self.sent, *self.untold) if each.run]

    def allowed(self, repository: str) -> set[str]:
        """The commits at which `ci-sync` may be: released ones, and those that somebody else pushed."""
        released = {each.commit for each in self._modules[repository].releases.values()}
        return released | self._foreign.get(repository, set())

    def foreign(self, repository: str, commit: str) -> None:
        """Somebody else pushed this commit."""
        self._foreign.setdefault(repository, set()).add(commit)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Make no more releases; what is under way is still delivered."""
        self._stop.set()
        self._thread.join()

    def one_more(self, repositories: Iterable[str]) -> None:
        """A last release of each of these repositories."""
        for repository in sorted(repositories):
            self._announce(repository, [0.0])

    def finish(self) -> None:
        """Wait until every webhook was accepted or given up."""
        for future in self._under_way:
            future.result()
        self._senders.shutdown()

    def _run(self) -> None:
        for repository in self._order():
            if self._stop.wait(self._chance.uniform(*self._pause)):
                return
            while self._busy():
                if self._stop.wait(_RETRY_SECONDS / 10):
                    return
            if self._chance.random() < _UNTOLD:
                self.untold.append(Sent(self._release(repository)))
            else:
                self._announce(repository, self._delays())

    def _announce(self, repository: str, delays: Sequence[float]) -> None:
        sent = Sent(self._release(repository))
        self.sent.append(sent)
        self._under_way += [self._senders.submit(self._deliver, sent, delay) for delay in delays]

    def _order(self) -> Iterator[str]:
        while True:
            yield f"chaos/mod{self._chance.randrange(REPOSITORIES):02d}"

    def _release(self, repository: str) -> Release:
        annotated = self._chance.random() < 0.5
        if repository not in self._modules:
            self._world.mirrored(repository)
            module = make_plain(self._world.platform, repository, "v1.0.0", annotated=annotated)
            self._modules[repository] = module
            return module.releases["v1.0.0"]
        module = self._modules[repository]
        version = f"v1.0.{len(module.releases)}"
        source = f'package {repository[-5:]}\n\nconst Version = "{version}"\n'
        return module.release(version, {f"{repository[-5:]}.go": source}, annotated=annotated)

    def _delays(self) -> list[float]:
        """When it is delivered: once, twice at the same moment, or again a little later."""
        kind = self._chance.random()
        if kind < 0.15:
            return [0.0, 0.0]
        return [0.0, self._chance.uniform(0.5, 8)] if kind < 0.3 else [0.0]

    def _deliver(self, sent: Sent, delay: float) -> None:
        """As a patient platform: until it is answered with 2xx."""
        time.sleep(delay)
        for _ in range(_TRIES):
            with suppress(requests.RequestException):
                address = f"{self._world.url}/webhooks/platform"
                answer = self._world.platform.webhook(address, self._world.secret, sent.release)
                if answer.status in (200, 202):
                    sent.run = str(answer.json["runs"][0]["id"])
                    self.deliveries += 1
                    return
            time.sleep(_RETRY_SECONDS)
