"""A load generator: prepared requests over kept-alive connections, one at a time on each, answers looked at at the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Load:
    """What came of a load: `seconds` for all, `latencies` of each in seconds, answers by status (0: none)."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def per_request(self) -> float:
        """Seconds per request, all connections together."""
        return self.seconds / max(1, len(self.latencies))

    @property
    def p99(self) -> float:
        """The latency that one in a hundred exceeds, in seconds."""
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)]


class _Connection(asyncio.Protocol):
    """Sends the next request when the last one was answered; ends when there is none."""

    def __init__(self, requests: Iterator[bytes], load: Load, done: asyncio.Future[None]) -> None:
        self._requests, self._load, self._done = requests, load, done
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if _whole(self._buffer):
            self._load.latencies.append(time.perf_counter() - self._sent)
            self._load.statuses[int(self._buffer[9:12])] += 1
            self._buffer = b""
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._load.statuses[0] += 1
            self._done.set_result(None)

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._done.set_result(None)
            self._transport.abort()  # type: ignore[attr-defined]
            return
        self._sent = time.perf_counter()
        self._transport.write(request)  # type: ignore[attr-defined]


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    at = head.lower().index(b"content-length:") + len(b"content-length:")
    return len(body) >= int(head[at:].split(b"\r\n", 1)[0])


def run(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send all requests over so many connections to 127.0.0.1."""
    return asyncio.run(_run(port, requests, connections))


async def _run(port: int, requests: Sequence[bytes], connections: int) -> Load:
    load, source, loop = Load(), iter(requests), asyncio.get_running_loop()
    begun = time.perf_counter()
    ended = [loop.create_future() for _ in range(connections)]
    for done in ended:
        await loop.create_connection(lambda done=done: _Connection(source, load, done), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ended)
    load.seconds = time.perf_counter() - begun
    return load
