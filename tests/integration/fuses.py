"""Fuses: a worker dies at one of the calls that it makes to the outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class CrashError(BaseException):
    """The process dies here: nothing of ours may catch it."""


@dataclass
class Fuse:
    """Blows at the `at`-th outside call (from 0): before it takes effect, or `after`. None: never; calls are counted.

    Once blown it stays dead until the next worker (FlowWorld.flow): nothing that the dead one's `finally` does gets through.
    """

    at: int | None = None
    after: bool = False
    seen: list[str] = field(default_factory=list)
    dead: bool = False

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        if self.dead:
            raise CrashError(self.seen[-1])  # where it died
        number = len(self.seen)
        self.seen.append(name)
        self._blow(number, after=False)
        yield
        self._blow(number, after=True)

    def _blow(self, number: int, *, after: bool) -> None:
        if self.dead or (number == self.at and self.after == after):
            self.dead = True
            raise CrashError(self.seen[number])


class Fused:
    """Any outside thing with each of its calls through a fuse; context managers give fused things, too."""

    def __init__(self, inner: Any, fuse: Fuse, name: str) -> None:
        self._inner, self._fuse, self._name = inner, fuse, name

    def __getattr__(self, method: str) -> Any:
        target = getattr(self._inner, method)
        if not callable(target):
            return target
        if method == "source":
            return self._opened(target)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._fuse.around(f"{self._name}.{method}"):
                return target(*args, **kwargs)

        return call

    def _opened(self, source: Any) -> Any:
        @contextmanager
        def opened(*args: Any) -> Iterator[Any]:
            with source(*args) as copy:
                yield Fused(copy, self._fuse, "cache")

        return opened
