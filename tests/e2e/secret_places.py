"""Every place where a secret could have come to: files, rows, Redis' values with what is packed in them, pages."""

from __future__ import annotations

import binascii
import re
import sqlite3
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import product
from pathlib import Path
from typing import Any

import requests
from redis import Redis

from app.adapters.embedded_redis import socket_url
from tests.unit.test_web_routes import ROUTES

QUERIES: Mapping[str, str] = {
    "/api/explain": "?module={name}", "/api/replays": "?code=pipeline_failed", "/replays": "?code=pipeline_failed",
    "/setup.sh": "?ci",
}  # fmt: skip
"""What some routes want to be asked."""

Place = tuple[str, bytes]
"""Where it is, and what stands there."""


def files(root: Path, *directories: str) -> Iterator[Place]:
    """All files below these directories, as they are."""
    for path in (path for name in directories for path in (root / name).rglob("*") if path.is_file()):
        yield str(path.relative_to(root)), path.read_bytes()


def rows(database: Path) -> Iterator[Place]:
    """Each value of each row of each table that is there, whatever it is called; packed ones unpacked, too."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    for form in unpacked(value if isinstance(value, bytes) else str(value).encode()):
                        yield f"table {table}", form


def redis_values(data_dir: Path) -> Iterator[Place]:
    """Each key of Redis with its values; RQ keeps tracebacks and jobs packed."""
    with closing(Redis.from_url(socket_url(data_dir))) as redis:
        for key in redis.scan_iter():
            for value in _of_key(redis, key):
                for form in unpacked(value):
                    yield f"Redis {key!r}", form


def _of_key(redis: Any, key: bytes) -> Iterator[bytes]:
    yield key
    kind = redis.type(key)
    if kind == b"string":
        yield redis.get(key) or b""
    elif kind == b"hash":
        yield from (part for pair in redis.hgetall(key).items() for part in pair)
    elif kind == b"list":
        yield from redis.lrange(key, 0, -1)
    elif kind == b"set":
        yield from redis.smembers(key)
    elif kind == b"zset":
        yield from redis.zrange(key, 0, -1)
    elif kind == b"stream":
        yield from (part for _, entry in redis.xrange(key) for pair in entry.items() for part in pair)
    else:
        raise AssertionError(f"{key!r} is a {kind!r}: nobody looked into it")


def unpacked(value: bytes) -> Iterator[bytes]:
    """The value, and what it is when it was deflated, or deflated and written in base64."""
    yield value
    with suppress(zlib.error):
        yield zlib.decompress(value)
    with suppress(zlib.error, binascii.Error):
        yield zlib.decompress(b64decode(value, validate=True))


def pages(
    url: str, headers: Mapping[str, str], values: Mapping[str, Sequence[str]], answered: set[str]
) -> Iterator[Place]:
    """Every route of the access test's table that can be read, for each of `values`, as a page and as JSON.

    `answered`: the rules that gave something for at least one of them.
    """
    for rule in (rule for rule, methods in ROUTES.items() if "GET" in methods):
        for path in _paths(rule + QUERIES.get(rule, "").replace("{name}", values["name"][0]), values):
            for kind in ("text/html", "application/json"):
                answer = requests.get(url + path, headers={**headers, "Accept": kind}, timeout=30)
                if answer.ok:
                    answered.add(rule)
                yield path, f"{answer.headers}\n{answer.text}".encode()


def _paths(rule: str, values: Mapping[str, Sequence[str]]) -> Iterator[str]:
    names = re.findall(r"<(?:\w+:)?(\w+)>", rule)
    for each in product(*(values[name] for name in names)):
        chosen = iter(each)
        yield re.sub(r"<[^>]+>", lambda _: next(chosen), rule)  # noqa: B023 - called at once
