"""The tables of notifications, and of the configuration that was last seen."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, Integer, String, Table, Text

from app.adapters.tables_base import metadata, time_column

# The outbox: an attempt that failed, was rejected or made good an earlier failure, written with its outcome, in the same
# transaction; a copy, for a replay may change the run before anybody looks. Taken out when it became a part of notices.
outcomes = Table(
    "outcomes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(32), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("error", String(40)),
    Column("message", Text),
    Column("source", String(64), nullable=False),
    Column("module", String(500), nullable=False),
    Column("version", String(200)),
    Column("ref", String(1000), nullable=False),
    time_column("at", nullable=False),
    Index("ix_outcomes_run_id", "run_id"),
    Index("ix_outcomes_module_version", "module", "version"),
)

# What each receiver knows to be broken: told or not wanted there. `notice` is "" when nobody was told.
open_failures = Table(
    "open_failures",
    metadata,
    Column("receiver", String(64), primary_key=True),
    Column("run_id", String(32), primary_key=True),
    Column("code", String(40), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("module", String(500), nullable=False),
    Column("version", String(200)),
    Column("notice", String(32), nullable=False),
    time_column("told_at", nullable=False),
    Index("ix_open_failures_run_id", "run_id"),
    Index("ix_open_failures_module_version", "module", "version"),
    Index("ix_open_failures_told_at", "told_at"),
)

# One message to one receiver. `state`: gathering (more may join until due_at), waiting (to be sent at due_at, or again
# then), delivered, given_up. `id` is the webhook-id, the same at each try.
notices = Table(
    "notices",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("receiver", String(64), nullable=False),
    Column("event", String(16), nullable=False),
    Column("code", String(40), nullable=False),
    Column("count", Integer, nullable=False),
    Column("items", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    time_column("created_at", nullable=False),
    time_column("due_at", nullable=False),
    time_column("sent_at"),
    Column("tries", Integer, nullable=False),
    Column("answer", String(300), nullable=False),
    time_column("ended_at"),
    Index("ix_notices_state_due_at", "state", "due_at"),
    Index("ix_notices_receiver_event_code_created_at", "receiver", "event", "code", "created_at"),
    Index("ix_notices_ended_at", "ended_at"),
)

# How each receiver does: counts since ever, and since when it takes nothing.
receivers = Table(
    "receivers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("delivered", Integer, nullable=False),
    Column("given_up", Integer, nullable=False),
    time_column("delivered_at"),
    time_column("failing_since"),
    Column("answer", String(300), nullable=False),
)

# The configuration as a process saw it last: plain values, and of secrets a salted fingerprint.
settings_seen = Table(
    "settings_seen",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("salt", String(64), nullable=False),
    Column("entries", JSON, nullable=False),
    time_column("changed_at", nullable=False),
)
