"""Redis' address moves to another server while connections to the old one stay: with two real Valkeys."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import ReadOnlyError

from app.adapters.job_queue import RqJobQueue, redis_for_enqueue
from app.domain.errors import SyncError
from tests.integration.databases import wait_until
from tests.integration.embedded import embedded_redis


class Address(socketserver.ThreadingTCPServer):
    """What a TCP load balancer or a moving address is to clients: new connections go to `master`, old ones stay."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, master: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.master = master

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, login: str = "") -> str:
        return f"redis://{login}127.0.0.1:{self.port}/0"


class _Connection(socketserver.BaseRequestHandler):
    server: Address

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(urlsplit(self.server.master).path)
            threading.Thread(target=_copy, args=(server, self.request), daemon=True).start()
            _copy(self.request, server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class World:
    """An address, the server behind it, and another one that is ready to take its place."""

    def __init__(self, address: Address, old: str, new: str) -> None:
        self.address, self.old, self.new = address, Redis.from_url(old), Redis.from_url(new)
        self._new_url = new

    def demote(self) -> None:
        """The old one becomes a replica; the address is still its."""
        self.old.replicaof("127.0.0.1", str(self.address.port))

    def fail_over(self) -> None:
        """The address becomes the new one's, the old one its replica, as it is some seconds later."""
        self.address.master = self._new_url
        self.demote()
        wait_until(lambda: self.old.role()[3] == b"connected")


@pytest.fixture
def world() -> Iterator[World]:
    with embedded_redis() as old, embedded_redis() as new, Address(old) as address:
        made = World(address, old, new)
        made.new.config_set("repl-diskless-sync-delay", 0)
        threading.Thread(target=address.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        address.shutdown()


SENT: dict[str, Callable[[RqJobQueue, str], None]] = {
    "enqueue": lambda queue, job: queue.enqueue(job, "r1"),
    "enqueue_all": lambda queue, job: queue.enqueue_all([(job, "r1"), (f"{job}-2", "r2")]),
    "call": lambda queue, job: queue.call("reconcile", "m", job, "live"),
}


@pytest.mark.parametrize("kind", SENT)
def test_after_a_fail_over_the_next_but_one_job_arrives_at_the_new_server(world: World, kind: str) -> None:
    queue = RqJobQueue(world.address.url())
    SENT[kind](queue, "before")
    world.fail_over()
    with suppress(SyncError):
        SENT[kind](queue, "lost")
    SENT[kind](queue, "after")
    assert b"after" in world.new.lrange("rq:queue:live", 0, -1)
    queue.ping()
    assert queue.waiting(["after"]) == {"after"}


def test_a_replica_takes_no_jobs_and_says_so(world: World) -> None:
    queue = RqJobQueue(world.address.url())
    queue.ping()
    queue.enqueue("before", "r1")
    world.demote()
    asked: tuple[Callable[[], object], ...] = (queue.ping, lambda: queue.waiting(["before"]))
    for ask in (*asked, *asked):
        with pytest.raises(SyncError, match=r"queue_unavailable: .*ReadOnlyError"):
            ask()
    world.fail_over()
    queue.ping()  # nobody had to send anything
    queue.enqueue("after", "r1")
    assert queue.waiting(["after"]) == {"after"}


def _piped(client: Redis, *, transaction: bool) -> None:
    with client.pipeline(transaction=transaction) as together:
        together.set("key", 1)
        together.execute()


WRITTEN: dict[str, Callable[[Redis], object]] = {
    "command": lambda client: client.set("key", 1),
    "pipeline": lambda client: _piped(client, transaction=False),
    "transaction": lambda client: _piped(client, transaction=True),
    "script": lambda client: client.register_script("return redis.call('SET', KEYS[1], 1)")(keys=["key"]),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_all_clients_leave_a_server_that_takes_no_writes_any_more(world: World, kind: str) -> None:
    """What processes share (pace, holds, sums, brakes) has clients of its own, which ask nobody's role."""
    client = redis_for_enqueue(world.address.url())
    WRITTEN[kind](client)
    world.fail_over()
    with pytest.raises(ReadOnlyError):
        WRITTEN[kind](client)
    WRITTEN[kind](client)
    assert world.new.get("key") == b"1"


def test_a_user_who_may_not_ask_the_role_is_answered(world: World) -> None:
    world.old.acl_setuser("limited", enabled=True, passwords="+pw", keys="*", categories=["+@all"], commands=["-role"])
    queue = RqJobQueue(world.address.url("limited:pw@"))
    queue.ping()
    queue.enqueue("job", "r1")
    assert queue.waiting(["job"]) == {"job"}
