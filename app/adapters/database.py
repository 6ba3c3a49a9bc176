"""One engine for SQLite (WAL, full durability) or PostgreSQL; the database's own errors become ours here, once."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.errors import SyncError

# How long a writer waits for another one before the caller is told to come back; intake must answer within 10 s.
BUSY_SECONDS = 5.0
# A host that vanished without a word is noticed within 20 s, not after the hours that TCP allows.
_NOTICE_SILENCE = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
# What is stricter or laxer about standby servers stays as it was chosen; only "off" is no answer to a platform.
_PINNED = """
SELECT set_config('synchronous_commit', CASE current WHEN 'off' THEN 'on' ELSE current END, false)
FROM current_setting('synchronous_commit') AS current
"""
# The same from the server's side, which else keeps a vanished client's locks for hours; and a process that stands still in
# the middle of a transaction (SIGSTOP) must not hold up the sweeper for longer than a lease.
_POSTGRES_OPTIONS = (
    "-c lock_timeout=5000 -c timezone=UTC -c idle_in_transaction_session_timeout=8000"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
_READ_ONLY = "25006"  # the SQLSTATE of a write where none is taken
_REFUSES = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool"
# How long a batch waits for another transaction's row: nobody else's record shall wait for it any longer.
HURRY_MS = 500
_LOOK_MS = 8  # SQLite sleeps 1, 2 and 5 ms between its first looks


def connect(url: str, *, pool_size: int = 10) -> Engine:
    """An engine for `url`; connects at first use. SQLite's directory is made when it is missing (store_unavailable, if not)."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url, parsed.database, pool_size)
    # A server that went away is noticed at checkout instead of inside a transaction.
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=BUSY_SECONDS,
        connect_args={
            "connect_timeout": int(BUSY_SECONDS),
            "options": " ".join([_POSTGRES_OPTIONS, *_asked(parsed, "options")]),
            **_NOTICE_SILENCE,
            **_the_one_that_writes(parsed),
        },
    )
    event.listen(engine, "checkout", _as_the_server_has_it)
    event.listen(engine, "handle_error", _leave_who_takes_no_write)
    event.listen(engine, "connect", _postgres_settings)
    event.listen(engine, "begin", _postgres_begin)
    return engine


def _asked(url: URL, name: str) -> list[str]:
    """What the URL's query says. Of `options` that counts after ours: a schema of its own, a role."""
    given = url.query.get(name, ())
    return [given] if isinstance(given, str) else list(given)


def _the_one_that_writes(url: URL) -> dict[str, str]:
    """Of several servers only the primary will do, unless the URL says which."""
    hosts = ",".join(filter(None, [url.host, *_asked(url, "host")]))
    return {"target_session_attrs": "read-write"} if "," in hosts and not _asked(url, "target_session_attrs") else {}


def _as_the_server_has_it(connection: Any, _record: Any, _proxy: Any) -> None:
    """After a transaction for reading SQLAlchemy would say READ WRITE: an error of its own at a standby, an order elsewhere."""
    if connection.read_only is not None:
        connection.read_only = None


def _leave_who_takes_no_write(context: ExceptionContext) -> None:
    """A standby, or a primary that became one: its address has moved, or will, and only a new connection sees that."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True  # all connections of the pool are made anew


def unhurried(engine: Engine) -> Engine:
    """The same database, whose commits do not wait for the disk: all see them at once, the next other commit keeps them.

    What a power failure, or the end of PostgreSQL's server, may take away must be nothing that an effect outside relies on
    (docs/decisions/0015).
    """
    return engine.execution_options(unhurried=True)


def _sqlite(url: str, database: str | None, pool_size: int) -> Engine:
    if database:
        _make(Path(database).parent)
    pool = {"pool_size": pool_size, "max_overflow": pool_size, "pool_timeout": BUSY_SECONDS} if database else {}
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, **pool)
    event.listen(engine, "connect", _sqlite_settings)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SyncError("store_unavailable", f"{directory} cannot be made: {error.strerror}") from error


def _sqlite_settings(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling is off: we say BEGIN IMMEDIATE ourselves (see _sqlite_begin).
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail at once when another writer came between.
    if connection.get_execution_options().get("readonly"):
        connection.exec_driver_sql("BEGIN")
        return
    execute: Callable[[str], object] = connection.connection.driver_connection.execute  # type: ignore[union-attr]
    wanted = "NORMAL" if connection.get_execution_options().get("unhurried") else "FULL"
    if connection.info.setdefault("synchronous", "FULL") != wanted:
        execute(f"PRAGMA synchronous={wanted}")
        connection.info["synchronous"] = wanted
    _begin_writing(execute)


def _postgres_settings(connection: Any, _record: Any) -> None:
    """Commits wait for the disk, whatever is the default of server, database or role, now or later."""
    with connection.cursor() as cursor:
        cursor.execute(_PINNED)
    connection.commit()


def _postgres_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("unhurried"):
        connection.exec_driver_sql("SET LOCAL synchronous_commit TO off")


def hurry(connection: Connection, milliseconds: int = HURRY_MS) -> None:
    """Let this transaction wait no longer for a row of another one's (SQLite has no such rows)."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, milliseconds)}")  # 0 would be for ever


def _begin_writing(execute: Callable[[str], object]) -> None:
    """BEGIN IMMEDIATE once no other connection writes; OperationalError after BUSY_SECONDS.

    SQLite itself looks every 100 ms after a while, and so starves next to a writer that commits every few milliseconds.
    """
    end = time.monotonic() + BUSY_SECONDS
    execute(f"PRAGMA busy_timeout={_LOOK_MS}")
    try:
        while True:
            try:
                execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            else:
                return
    finally:
        execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes; committed at the end, rolled back on any exception.

    Errors: `store_unavailable` for everything that the database or its driver raises.
    """
    with _own_errors(), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view for reading, whatever is written meanwhile. Errors: `store_unavailable`."""
    options: dict[str, Any] = {"readonly": True}
    if engine.dialect.name == "postgresql":  # SQLite's transactions have one view anyway
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _own_errors(), engine.connect().execution_options(**options) as connection:
        yield connection


def takes_writes(engine: Engine) -> bool:
    """False at a standby or a server set to read only, and for a file that may not be written. Error: `store_unavailable`.

    A pool that is found there leaves its connections: its address may have moved, and without webhooks no write would notice.
    """
    if engine.dialect.name == "sqlite":
        file = Path(engine.url.database or "")
        return not file.is_file() or os.access(file, os.W_OK)
    with reading(engine) as connection:
        refuses: bool = connection.exec_driver_sql(_REFUSES).scalar_one()
    if refuses:
        # Its error has the pool leave them all, those in use at their return; dispose() would leave those open.
        with suppress(SyncError), writing(engine) as connection:
            connection.exec_driver_sql("UPDATE runs SET id = id WHERE false")
    return not refuses


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise SyncError("store_unavailable", "no database connection was free in time", retry_after=2) from error
    except DBAPIError as error:
        # The statement's parameters (bodies, headers) stay out of the message: only the driver's first line.
        text = str(error.orig).splitlines()[0] if error.orig and str(error.orig) else type(error).__name__
        raise SyncError("store_unavailable", f"the database refused: {text}", retry_after=2) from error
    except sqlite3.Error as error:  # from _begin_writing, which asks the driver itself
        raise SyncError("store_unavailable", f"the database refused: {error}", retry_after=2) from error
    except SQLAlchemyError as error:
        raise SyncError("store_unavailable", f"the database layer failed: {type(error).__name__}") from error
