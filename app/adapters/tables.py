"""The database's tables (SQLAlchemy Core), the same on SQLite and PostgreSQL; migrations/ brings a database here."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

import app.adapters.tables_notify  # noqa: F401 - the rest of the tables
from app.adapters.tables_base import UtcDateTime as UtcDateTime
from app.adapters.tables_base import metadata as metadata
from app.adapters.tables_base import time_column as _time

_UNUSUAL = text("verdict <> 'accepted'")

# One webhook request as received. `dedupe` is the platform's delivery id with the body's digest: ids are not signed.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("source", String(64), nullable=False),
    Column("dedupe", String(400), nullable=False),
    Column("scheme", String(32), nullable=False),
    Column("secret_id", String(64), nullable=False),
    _time("received_at", nullable=False),
    _time("last_seen_at", nullable=False),
    Column("seen", Integer, nullable=False, default=1),
    Column("headers", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("reason", String(40), nullable=False, server_default=text("''")),
    Column("skew_ms", Integer),
    # After [limits] delivery_days headers and body are emptied; the row stays while a run refers to it.
    Column("pruned", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("source", "dedupe"),
    # Lists and retention go by when it last came: who sends it again has it at the top, and for as long as a new one.
    Index("ix_deliveries_last_seen_at_id", "last_seen_at", "id"),
    Index("ix_deliveries_pruned_last_seen_at", "pruned", "last_seen_at"),
    Index("ix_deliveries_source_secret_id_last_seen_at", "source", "secret_id", "last_seen_at"),
    Index(
        "ix_deliveries_verdict_last_seen_at",
        "verdict",
        "last_seen_at",
        sqlite_where=_UNUSUAL,
        postgresql_where=_UNUSUAL,
    ),
)

# What deliveries that are not kept any more said of the secrets: a count, and when each was last used.
secret_uses = Table(
    "secret_uses",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("secret_id", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
    _time("last_used_at", nullable=False),
)

# One module path at one version: the row that is locked while two deliveries of a version meet.
releases = Table(
    "releases",
    metadata,
    Column("module", String(500), primary_key=True),
    Column("version", String(200), primary_key=True),
    Column("run_id", String(32), nullable=False),
    Column("commit", String(64), nullable=False),
    _time("pushed_at"),
)

_WRONG, _ENDED = text("error IS NOT NULL"), text("ended_at IS NOT NULL")

# The work to bring one release through. The row is its own outbox: `due_at` says when work may begin, `job_at` when a
# job was last enqueued for it (NULL: none since), `lease_until` until when a worker holds it, `fence` which worker.
runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("source", String(64), nullable=False),
    Column("delivery", String(32), ForeignKey("deliveries.id"), nullable=False),
    Column("module", String(500), nullable=False),
    Column("version", String(200)),
    Column("ref", String(1000), nullable=False),
    Column("commit", String(64), nullable=False),
    Column("semantic", String(64), nullable=False, unique=True),
    Column("target", JSON, nullable=False),
    Column("event", JSON, nullable=False),
    Column("mirror", String(500), nullable=False, default=""),
    Column("status", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("attempt", Integer, nullable=False, default=1),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_owner", String(120)),
    _time("lease_until"),
    _time("due_at"),
    Column("job", String(64)),
    _time("job_at"),
    Column("tries", Integer, nullable=False, default=0),
    _time("stage_since"),
    Column("facts", JSON, nullable=False),
    Column("error", String(40)),
    Column("error_message", Text),
    Column("replaced_by", String(32)),
    _time("pushed_at"),
    # Noted before each push, forgotten with its outcome: what may be at the mirror though no answer said so.
    Column("pushing", JSON(none_as_null=True)),
    Column("lane", String(16), nullable=False, server_default=text("'live'")),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
    _time("ended_at"),
    Index("ix_runs_delivery", "delivery"),  # without it the database reads all runs to remove one delivery
    Index("ix_runs_active_due_at", "active", "due_at"),
    Index("ix_runs_active_lane_due_at", "active", "lane", "due_at"),
    Index("ix_runs_ended_at", "ended_at"),
    Index("ix_runs_status_ended_at", "status", "ended_at", sqlite_where=_ENDED, postgresql_where=_ENDED),
    Index("ix_runs_mirror_active", "mirror", "active"),
    Index("ix_runs_created_at_id", "created_at", "id"),
    Index("ix_runs_module_version", "module", "version"),
    Index("ix_runs_commit", "commit"),
    # Lists of runs with one of these, newest first (run_search.py).
    Index("ix_runs_status_created_at", "status", "created_at"),
    Index("ix_runs_module_created_at_id", "module", "created_at", "id"),
    Index("ix_runs_version_created_at", "version", "created_at"),
    Index("ix_runs_mirror_created_at_id", "mirror", "created_at", "id"),
    Index("ix_runs_source_created_at", "source", "created_at"),
    Index("ix_runs_error_created_at", "error", "created_at", sqlite_where=_WRONG, postgresql_where=_WRONG),
)

# The names of all modules that runs are of, for searching (names_store.py); `folded`: in small letters.
modules = Table(
    "modules",
    metadata,
    Column("name", String(500), primary_key=True),
    Column("folded", String(500), nullable=False),
)

# Up to which run, by its time and id, something was done with all runs.
marks = Table(
    "marks",
    metadata,
    Column("name", String(32), primary_key=True),
    _time("at", nullable=False),
    Column("id", String(32), nullable=False),
)

# Which runs a delivery was about; a duplicate delivery names the run that was there already.
delivery_runs = Table(
    "delivery_runs",
    metadata,
    Column("delivery", String(32), ForeignKey("deliveries.id"), primary_key=True),
    Column("run_id", String(32), ForeignKey("runs.id"), primary_key=True),
    Column("duplicate", Boolean, nullable=False),
    Index("ix_delivery_runs_run_id", "run_id"),
)

# The first attempt of a run and its replays: who asked, why, from which stage, and how it ended.
attempts = Table(
    "attempts",
    metadata,
    Column("run_id", String(32), ForeignKey("runs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("from_stage", String(16), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("jobs", Integer, nullable=False, default=0),
    _time("created_at", nullable=False),
    _time("ended_at"),
    Column("outcome", String(16)),
    Column("error", String(40)),
)

# Each try of each stage, with its times: what the run's page draws.
steps = Table(
    "steps",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(32), ForeignKey("runs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    _time("started_at", nullable=False),
    _time("ended_at", nullable=False),
    Column("error", String(40)),
    Column("message", Text),
    _time("retry_at"),
    Column("detail", JSON, nullable=False),
    Index("ix_steps_run_id_id", "run_id", "id"),
)

# A GitLab project that we push to: what we remember of it, and the lease that one mirror stage holds on it at a time.
mirrors = Table(
    "mirrors",
    metadata,
    Column("path", String(500), primary_key=True),
    Column("project_id", Integer),
    Column("clone_url", String(1000)),
    Column("web_url", String(1000)),
    Column("branch_at", String(64)),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_owner", String(120)),
    _time("lease_until"),
    _time("updated_at", nullable=False),
    Column("source_url", String(1000)),  # the repository that it is of, in the form of domain/mirror_source.py
)

# A source repository and its mirror, as reconcile knows them: outlives the runs that it was learnt from.
repositories = Table(
    "repositories",
    metadata,
    Column("mirror", String(500), primary_key=True),
    Column("source", String(64), nullable=False),
    Column("clone_url", String(1000), nullable=False),
    _time("job_at"),
    _time("reconciled_at"),
    Column("error", String(40)),
    Column("result", JSON, nullable=False),
    Index("ix_repositories_reconciled_at", "reconciled_at"),
)

# What is not worked on now, by whose order and why.
pauses = Table(
    "pauses",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("value", String(500), primary_key=True),
    Column("actor", String(120), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    _time("created_at", nullable=False),
)

# What one process does for all of them, such as sweeping: who does it, and until when without a sign of life.
duties = Table(
    "duties",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("owner", String(120), nullable=False),
    _time("until", nullable=False),
)

# API tokens, login links and sessions: the digest of each secret, never the secret.
credentials = Table(
    "credentials",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(120), nullable=False),
    Column("role", String(16), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    _time("created_at", nullable=False),
    Column("created_by", String(120), nullable=False),
    _time("expires_at", nullable=False),
    _time("last_used_at"),
    _time("revoked_at"),
    Column("scopes", JSON(none_as_null=True)),  # NULL: all of its role
    Index("ix_credentials_kind_created_at", "kind", "created_at"),
)

# Append-only: each entry holds the hash of the one before (domain/audit.py).
audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    _time("at", nullable=False),
    Column("actor", String(120), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(700), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

# modsync's login at GitLab, by host and token: refused (the breaker is open), and what GitLab says of the token.
gitlab_logins = Table(
    "gitlab_logins",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("host", String(300), nullable=False),
    _time("refused_at"),
    _time("open_until"),
    Column("message", String(300), nullable=False),
    Column("token_name", String(120)),
    Column("scopes", JSON, nullable=False),
    Column("expires_at", String(10)),
    _time("checked_at"),
)
