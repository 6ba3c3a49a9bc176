"""A database with very many runs, made inside the database itself: what production looks like after some years.

Modules are a hundredth of the runs, at least a hundred; the most released one has a twentieth of all runs, most have some dozens.
A run every twenty seconds, one in fifty failed, one in two hundred rejected, twelve in flight; each with its delivery,
attempt and last step. The names of modules are there, as the sweeper keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from app.adapters import migrate
from app.adapters.database import connect, writing

APART = timedelta(seconds=20)
_RUN_EVERY, _IN_FLIGHT = int(APART.total_seconds()), 12

# number -> the number's module: the cube of an even distribution (16 bits of it), by whole numbers on both databases.
_NUMBERS = """
CREATE TEMPORARY TABLE numbered AS
WITH RECURSIVE {series},
shuffled AS (SELECT n, (n * 2654435761 % 4294967296) / 65536 AS k FROM series),
placed AS (SELECT n, k * k * k / 4294967296 * {modules} / 65536 AS module FROM shuffled),
counted AS (SELECT n, module, row_number() OVER (PARTITION BY module ORDER BY n) AS nth FROM placed)
SELECT n, {id} AS id, {time} AS at, 'go.corp.example/team' || (module % 97) || '/mod' || module AS name,
  'v1.' || (nth / 10) || '.' || (nth % 10) AS version, {commit} AS sha,
  CASE WHEN n > {count} - {in_flight} THEN 'queued' WHEN n % 50 = 0 THEN 'failed' WHEN n % 200 = 7 THEN 'rejected' ELSE 'done' END
    AS status,
  CASE WHEN n % 10 = 3 THEN 'gitea' ELSE 'platform' END AS source
FROM counted ORDER BY n
"""
_DELIVERIES = """
INSERT INTO deliveries (id, source, dedupe, scheme, secret_id, received_at, last_seen_at, seen, headers, body, verdict,
  note, reason, pruned)
SELECT 'd' || substr(id, 2), source, id, 'article', 'one', at, at, 1, '{{}}', {body}, 'accepted', '', '', {false} FROM numbered
"""
_RUNS = """
INSERT INTO runs (id, source, delivery, module, version, ref, "commit", semantic, target, event, mirror, status, stage,
  active, attempt, fence, due_at, tries, facts, error, pushed_at, lane, created_at, updated_at, ended_at)
SELECT id, source, 'd' || substr(id, 2), name, version, 'refs/tags/' || version, sha, 's' || id,
  '{{"clone_url": "https://git.corp.example/x.git", "mirror": "x", "proxy": "default", "subdir": ""}}', '{{}}',
  'go-mirrors/' || substr(name, 17), status, CASE WHEN status = 'queued' THEN 'mirror' ELSE 'verify' END,
  status = 'queued', 1, 0, CASE WHEN status = 'queued' THEN at END, 0, '{{}}', CASE status WHEN 'failed' THEN 'pipeline_failed'
  WHEN 'rejected' THEN 'version_moved' END, CASE WHEN status = 'done' THEN at END, 'live', at, at,
  CASE WHEN status <> 'queued' THEN at END FROM numbered
"""
_REST = (
    "INSERT INTO delivery_runs (delivery, run_id, duplicate) SELECT 'd' || substr(id, 2), id, {false} FROM numbered",
    """INSERT INTO attempts (run_id, number, kind, from_stage, actor, reason, jobs, created_at, ended_at, outcome)
SELECT id, 1, 'first', 'mirror', 'source:platform', '', 1, at, CASE WHEN status <> 'queued' THEN at END,
  CASE WHEN status <> 'queued' THEN status END FROM numbered""",
    """INSERT INTO steps (run_id, attempt, stage, outcome, started_at, ended_at, detail)
SELECT id, 1, 'verify', 'ok', at, at, '{{}}' FROM numbered WHERE status <> 'queued'""",
    """INSERT INTO releases (module, version, run_id, "commit", pushed_at)
SELECT name, version, id, sha, CASE WHEN status = 'done' THEN at END FROM numbered""",
    """INSERT INTO mirrors (path, project_id, fence, updated_at)
SELECT 'go-mirrors/' || substr(name, 17), min(n), 0, max(at) FROM numbered GROUP BY name""",
    """INSERT INTO repositories (mirror, source, clone_url, reconciled_at, result)
SELECT 'go-mirrors/' || substr(name, 17), 'platform', 'https://git.corp.example/x.git', max(at), '{{}}'
FROM numbered GROUP BY name""",
    "INSERT INTO modules (name, folded) SELECT DISTINCT name, name FROM numbered",
    "INSERT INTO marks (name, at, id) SELECT 'names', max(at), '' FROM numbered",
)
_WORDS: Mapping[str, Mapping[str, str]] = {
    "sqlite": {
        "series": "series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count})",
        "id": "printf('r%019d', n)",
        "time": "strftime('%Y-%m-%d %H:%M:%f000', '{first}', '+' || (n * {every}) || ' seconds')",
        "commit": "printf('%08x%032x', n * 2654435761 % 4294967296, n)",
        "body": "x'7b7d'", "false": "0",
    },
    "postgresql": {
        "series": "series AS (SELECT n FROM generate_series(1, CAST({count} AS bigint)) AS n)",
        "id": "'r' || lpad(CAST(n AS text), 19, '0')",
        "time": "CAST('{first}+00' AS timestamptz) + n * interval '{every} seconds'",
        "commit": "lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || lpad(to_hex(n), 32, '0')",
        "body": "'\\x7b7d'::bytea", "false": "false",
    },
}  # fmt: skip


def module_count(runs: int) -> int:
    """How many modules they are of."""
    return max(100, runs // 100)


def fill(url: str, count: int) -> None:
    """So many runs, up to now, into an empty database. PostgreSQL gets statistics, as autovacuum makes them; SQLite has none."""
    migrate.upgrade(url)
    engine = connect(url)
    with writing(engine) as connection:
        for statement in _statements(connection.dialect.name, count):
            connection.exec_driver_sql(statement)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def _statements(dialect: str, count: int) -> list[str]:
    first = (datetime.now(UTC) - APART * count).strftime("%Y-%m-%d %H:%M:%S")
    plain = {"count": str(count), "modules": str(module_count(count)), "in_flight": str(_IN_FLIGHT)}
    words = {name: text.format(first=first, every=_RUN_EVERY, **plain) for name, text in _WORDS[dialect].items()}
    made = [each.format(**words, **plain) for each in (_NUMBERS, _DELIVERIES, _RUNS, *_REST)]
    return [each.replace("%", "%%") if dialect == "postgresql" else each for each in [*made, "DROP TABLE numbered"]]
