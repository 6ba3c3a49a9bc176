"""Repositories for reconcile, and releases that are adopted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    Select,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)

from app.adapters.database import reading, writing
from app.adapters.rows import insert_ignoring
from app.adapters.tables import marks, mirrors, releases, repositories, runs
from app.domain.errors import SyncError
from app.domain.mirror_source import source_url
from app.domain.modules import ModulePath, Version
from app.domain.reconcile import Item, Known, Release
from app.domain.run import Status
from app.services.reconcile_values import MOST_LOST, Places, Report, Repository

_CHUNK = 200  # modules in one statement
_PLACES = 1000
_SEARCHED = "unknown_mirrors"
_SEARCH_JOB = "unknown_mirrors_job"
_JOBS_LOST = "jobs_lost"  # in a repository's result, until the next one


class SqlRepositoryStore:
    """RepositoryStore on SQLite or PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, mirror: str) -> Repository | None:
        """See RepositoryStore."""
        with reading(self._engine) as connection:
            row = connection.execute(_NOTED, {"of": mirror}).mappings().one_or_none()
            return _repository(connection, mirror, row)

    def note(self, repository: Repository) -> None:
        """See RepositoryStore."""
        with writing(self._engine) as connection:
            if not insert_ignoring(connection, repositories, _row(repository)):
                named = {"source": repository.source, "clone_url": repository.clone_url}
                _change(connection, repository.mirror, **named)

    def due(self, before: datetime, job_before: datetime, limit: int) -> list[str]:
        """See RepositoryStore."""
        # By the last try: those that cannot be compared must not hold up all others.
        tried = func.coalesce(repositories.c.job_at, repositories.c.reconciled_at)
        due = _older_than(before).where(_idle(job_before)).order_by(None)
        return self._list(due.order_by(tried.nulls_first(), repositories.c.mirror).limit(limit))

    def give_job(self, mirror: str, job_before: datetime, now: datetime) -> bool:
        """See RepositoryStore."""
        with writing(self._engine) as connection:
            which = (repositories.c.mirror == mirror) & _idle(job_before)
            given = update(repositories).where(which).values(job_at=now, error=None)
            return connection.execute(given).rowcount == 1

    def searched_at(self) -> datetime | None:
        """See RepositoryStore."""
        found = self._mark(_SEARCHED)
        return found[0] if found else None

    def searched(self, now: datetime) -> None:
        """See RepositoryStore."""
        self._set_mark(_SEARCHED, now)

    def search_job(self) -> tuple[datetime, str] | None:
        """See RepositoryStore."""
        return self._mark(_SEARCH_JOB)

    def search_at_work(self, now: datetime, error: str = "") -> None:
        """See RepositoryStore."""
        self._set_mark(_SEARCH_JOB, now, error[:32])

    def free_search(self) -> None:
        """See RepositoryStore."""
        with writing(self._engine) as connection:
            connection.execute(delete(marks).where(marks.c.name == _SEARCH_JOB))

    def at_work(self, mirror: str, now: datetime, *, begins: bool = False) -> None:
        """See RepositoryStore."""
        which = repositories.c.mirror == mirror
        under_way = which & repositories.c.job_at.is_not(None) & repositories.c.error.is_(None)
        sign = update(repositories).where(which if begins else under_way).values(job_at=now, error=None)
        with writing(self._engine) as connection:
            connection.execute(sign)

    def silent_jobs(
        self, before: datetime, limit: int, after: tuple[str, datetime] | None = None
    ) -> list[tuple[str, datetime]]:
        """See RepositoryStore."""
        mirror, at = repositories.c.mirror, repositories.c.job_at
        query = select(mirror, at).where(repositories.c.error.is_(None), at < before)
        if after:
            query = query.where(or_(at > after[1], (at == after[1]) & (mirror > after[0])))
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(at, mirror).limit(limit)).all()
        return [(row.mirror, row.job_at) for row in rows]

    def free_job(self, mirror: str) -> None:
        """See RepositoryStore."""
        with writing(self._engine) as connection:
            _change(connection, mirror, job_at=None)

    def lost_job(self, mirror: str, last: datetime, now: datetime) -> None:
        """See RepositoryStore."""
        which = (repositories.c.mirror == mirror) & (repositories.c.job_at == last)
        with writing(self._engine) as connection:
            row = connection.execute(select(repositories.c.result).where(which).with_for_update()).one_or_none()
            if row is None:
                return
            lost = row.result.get(_JOBS_LOST, 0) + 1
            # Whoever kills its worker each time must not be the first in the queue for ever.
            ended = {"error": "internal", "job_at": now} if lost >= MOST_LOST else {"job_at": None}
            _change(connection, mirror, result={**row.result, _JOBS_LOST: lost}, **ended)

    def mirrors(self, before: datetime) -> list[str]:
        """See RepositoryStore."""
        return self._list(_older_than(before))

    def places(self, mirror: str) -> Places:
        """See RepositoryStore: the newest runs decide; a run that no rule knew says nothing."""
        query = select(runs.c.module, runs.c.target).where(runs.c.mirror == mirror, runs.c.pushed_at.is_not(None))
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(runs.c.created_at.desc()).limit(_PLACES)).all()
        found = [(row.target["subdir"], ModulePath.parse(row.module)) for row in reversed(rows)]
        prefixes = {subdir: module.prefix for subdir, module in found}
        return Places(prefixes, frozenset(module for _, module in found))

    def failed(self, mirror: str) -> frozenset[ModulePath]:
        """See RepositoryStore: those of the newest runs."""
        wanted = (runs.c.mirror == mirror) & (runs.c.status == Status.FAILED) & runs.c.pushed_at.is_(None)
        query = select(runs.c.module).where(wanted).order_by(runs.c.created_at.desc()).limit(_PLACES)
        with reading(self._engine) as connection:
            return frozenset(map(ModulePath.parse, set(connection.execute(query).scalars())))

    def majors(self, module: ModulePath) -> frozenset[ModulePath]:
        """See RepositoryStore."""
        name, prefix = releases.c.module, module.prefix
        begins = f"{prefix}.v" if prefix.startswith("gopkg.in/") else f"{prefix}/v"
        # "a" is what comes after the last digit in every collation; a range can use the index, a LIKE cannot.
        query = select(name).where(name > begins, name < f"{begins}a").distinct()
        with reading(self._engine) as connection:
            found = frozenset(map(ModulePath.parse, connection.execute(query).scalars()))
        return frozenset(each for each in found if each.prefix == prefix)

    def known(self, modules: Sequence[ModulePath]) -> Mapping[Release, Known]:
        """See RepositoryStore."""
        return dict(self._known([module.text for module in modules]))

    def brought(self, module: ModulePath) -> list[Version]:
        """The versions of this module that are in its mirror by modsync's records, in no order. Error: store_unavailable."""
        which = (releases.c.module == module.text) & releases.c.pushed_at.is_not(None)
        with reading(self._engine) as connection:
            found = connection.execute(select(releases.c.version).where(which)).scalars().all()
        return [Version.parse(version) for version in found]

    def adopt(self, items: Sequence[Item], now: datetime) -> int:
        """See RepositoryStore."""
        if not items:
            return 0
        with writing(self._engine) as connection:
            return sum(_adopted(connection, item, now) for item in items)

    def finish(self, report: Report, now: datetime) -> None:
        """See RepositoryStore."""
        code = report.error[0] if report.error else None
        values = {"error": code, "result": report.kept()}
        with writing(self._engine) as connection:
            _change(connection, report.mirror, **values, **({} if code else {"reconciled_at": now, "job_at": None}))

    def _mark(self, name: str) -> tuple[datetime, str] | None:
        with reading(self._engine) as connection:
            row = connection.execute(select(marks.c.at, marks.c.id).where(marks.c.name == name)).one_or_none()
        return (row.at, row.id) if row else None

    def _set_mark(self, name: str, at: datetime, text: str = "") -> None:
        with writing(self._engine) as connection:
            if not insert_ignoring(connection, marks, {"name": name, "at": at, "id": text}):
                connection.execute(update(marks).where(marks.c.name == name).values(at=at, id=text))

    def _list(self, query: Select[str]) -> list[str]:
        with reading(self._engine) as connection:
            return [row[0] for row in connection.execute(query)]

    def _known(self, modules: Sequence[str]) -> Iterator[tuple[Release, Known]]:
        columns = (releases, runs.c.status, runs.c.error, runs.c.id.label("run"))
        query = select(*columns).join(runs, runs.c.id == releases.c.run_id, isouter=True)
        for start in range(0, len(modules), _CHUNK):
            some = modules[start : start + _CHUNK]
            with reading(self._engine) as connection:
                # A run whose event named no commit holds its release only once a worker knows it; one with a row has that.
                for run in connection.execute(_ROWLESS.where(runs.c.module.in_(some))).mappings():
                    yield _release(run), Known(run["commit"], run["id"], Status(run["status"]), run["error"])
                for row in connection.execute(query.where(releases.c.module.in_(some))).mappings():
                    yield _release(row), _known_of(row)


def unknown_mirrors(connection: Connection, mirrors: Collection[str]) -> set[str]:
    """Those that the list of repositories does not have; no mirror ("") is none."""
    query = select(repositories.c.mirror).where(repositories.c.mirror.in_(list(mirrors)))
    return set(mirrors) - {""} - set(connection.execute(query).scalars())


def learn_mirrors(connection: Connection, paths: Collection[str]) -> None:
    """Note the repositories of these mirrors as their newest runs name them."""
    for path in sorted(paths):
        if found := _repository(connection, path, None):
            insert_ignoring(connection, repositories, _row(found))


def _repository(connection: Connection, mirror: str, noted: RowMapping | None) -> Repository | None:
    """The one that the mirror is of. Where all runs are another one's, only what they say of modsync's source is taken."""
    known = connection.execute(_KNOWN, {"of": mirror}).one_or_none()
    url, source = (known.clone_url, known.source_url) if known else (None, None)
    found = _named(connection, mirror, source) or (_of_row(noted) if noted else _named(connection, mirror, None))
    if found is None:
        return None
    clone_url = found.clone_url if _is_of(found.clone_url, source) else str(source)
    return replace(found, clone_url=clone_url, mirror_url=url, reconciled_at=noted["reconciled_at"] if noted else None)


def _named(connection: Connection, mirror: str, source: str | None) -> Repository | None:
    """The repository as the newest run names it that comes from `source` (None: from anywhere)."""
    rows = connection.execute(_NEWEST, {"of": mirror}).mappings()
    return next((_of_run(row) for row in rows if _is_of(row["target"]["clone_url"], source)), None)


def _is_of(clone_url: str, source: str | None) -> bool:
    try:
        return source is None or source_url(clone_url) == source
    except SyncError:
        return False


def _adopted(connection: Connection, item: Item, now: datetime) -> bool:
    # No run made it: the release's row alone keeps the version at its commit from now on.
    if item.module is None:
        return False
    name = {"module": item.module.text, "version": item.version.text}
    values = {**name, "run_id": "", "commit": item.commit, "pushed_at": now}
    return insert_ignoring(connection, releases, values)


def _idle(job_before: datetime) -> ColumnElement[bool]:
    """Without a job. One that is lost is freed by whoever asks Redis for it (ReconcileSchedule), never by its age alone."""
    failed = repositories.c.error.is_not(None) & (repositories.c.job_at < job_before)
    return or_(repositories.c.job_at.is_(None), failed)


def _older_than(before: datetime) -> Select[str]:
    stale = or_(repositories.c.reconciled_at.is_(None), repositories.c.reconciled_at < before)
    query = select(repositories.c.mirror).where(stale)
    return query.order_by(repositories.c.reconciled_at.nulls_first(), repositories.c.mirror)


def _change(connection: Connection, mirror: str, **values: object) -> None:
    connection.execute(update(repositories).where(repositories.c.mirror == mirror).values(values))


def _release(row: RowMapping) -> Release:
    return ModulePath.parse(row["module"]), Version.parse(row["version"])


def _known_of(row: RowMapping) -> Known:
    status = Status(row["status"]) if row["status"] else None
    return Known(row["commit"], row["run"] or "", status, row["error"], pushed=row["pushed_at"] is not None)


# Those without a mirror no rule knew when they came: perhaps one does by now.
_COMMITLESS = (runs.c.commit == "") & (runs.c.mirror != "")  # one run of each version at most
_ROWLESS = select(*runs.c["id", "module", "version", "commit", "status", "error"]).where(
    runs.c.version.is_not(None), or_(runs.c.active, _COMMITLESS)
)
_LOOKED_AT = 50  # runs; what was rejected is none of them, so that few others come between
_KNOWN = select(mirrors.c.clone_url, mirrors.c.source_url).where(mirrors.c.path == bindparam("of"))
_NOTED = select(repositories).where(repositories.c.mirror == bindparam("of"))
_NEWEST = (
    select(runs.c.mirror, runs.c.source, runs.c.target)
    .where(runs.c.mirror == bindparam("of"), or_(runs.c.error.is_(None), runs.c.error != "mirror_of_another"))
    .order_by(runs.c.created_at.desc(), runs.c.id.desc())
    .limit(_LOOKED_AT)
)


def _of_run(row: RowMapping) -> Repository:
    return Repository(row["mirror"], row["source"], row["target"]["clone_url"])


def _of_row(row: RowMapping) -> Repository:
    return Repository(row["mirror"], row["source"], row["clone_url"], error=row["error"])


def _row(repository: Repository) -> dict[str, object]:
    named = {"mirror": repository.mirror, "source": repository.source, "clone_url": repository.clone_url}
    return {**named, "result": {}}
