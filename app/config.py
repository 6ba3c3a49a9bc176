"""One frozen, validated Settings from a TOML file and the environment: all checks at start, all problems at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.config_athens import Athens, ClientSetup
from app.config_check import Draft, check_admin_token, check_tables
from app.config_check_notify import check_notify
from app.config_check_rules import check_rules
from app.config_gitlab import Discovery, GitLab
from app.config_models import (
    Access,
    ConfigError,
    Git,
    Log,
    Outgoing,
    Problem,
    Proxy,
    Queue,
    RuleTable,
    Sandbox,
    Settings,
    Source,
    Store,
    Web,
    Worker,
)
from app.config_notify import Notify
from app.config_read import Reader
from app.config_table import Table
from app.config_upkeep import Limits, Reconcile, Retries
from app.domain.nearest import nearest

__all__ = ["ConfigError", "Problem", "Settings", "find_config", "load_settings"]

TABLES: dict[str, type[Table]] = {
    "web": Web,
    "access": Access,
    "store": Store,
    "queue": Queue,
    "worker": Worker,
    "git": Git,
    "outgoing": Outgoing,
    "gitlab": GitLab,
    "discovery": Discovery,
    "athens": Athens,
    "setup": ClientSetup,
    "retry": Retries,
    "reconcile": Reconcile,
    "limits": Limits,
    "log": Log,
    "sandbox": Sandbox,
}
ARRAYS: dict[str, type[Table]] = {"proxies": Proxy, "sources": Source, "rules": RuleTable, "notify": Notify}
SYSTEM_PATH = Path("/etc/modsync/modsync.toml")


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file that `path`, $MODSYNC_CONFIG or the usual places name; raise ConfigError with all problems."""
    found = find_config(path, environ)
    raw = _parsed(found)
    reader = Reader(environ, found.absolute().parent)
    values = _read(reader, raw)
    draft = Draft.of(reader, values, raw)
    check_tables(draft)
    check_rules(draft)
    check_notify(reader, values["notify"], draft.source_names, sandbox=draft.sandbox)
    if reader.problems:
        raise ConfigError(reader.problems, found)
    return Settings(path=found.absolute(), origins=reader.origins, warnings=tuple(reader.warnings), **values)


def find_config(path: Path | None, environ: Mapping[str, str]) -> Path:
    """The configuration file: an argument or $MODSYNC_CONFIG must exist, the usual places are tried in order."""
    named = path or (Path(environ["MODSYNC_CONFIG"]) if environ.get("MODSYNC_CONFIG") else None)
    places = [named] if named else [Path("modsync.toml"), SYSTEM_PATH]
    for place in places:
        if _is_there(place):
            return place
    what = f"there is no configuration file (looked at {', '.join(map(str, places))})"
    fix = "Copy modsync.example.toml to modsync.toml and edit it, or name one by --config or MODSYNC_CONFIG."
    raise ConfigError([Problem("modsync.toml", what, fix)])


def _is_there(place: Path) -> bool:
    try:
        return place.is_file()
    except PermissionError:
        return True  # as far as this user can tell; reading it says what is wrong


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = Problem(path.name, f"cannot be read: {error.strerror}", "Make it readable for modsync's user.")
    except UnicodeDecodeError:
        problem = Problem(path.name, "is not UTF-8 text", "Save it as UTF-8.")
    except tomllib.TOMLDecodeError as error:
        problem = Problem(path.name, f"is not TOML: {error}", "Correct that place.")
    raise ConfigError([problem], path)


def _read(reader: Reader, raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of Settings from the file and the environment; None where a table has problems."""
    known = ["data_dir", *TABLES, *ARRAYS]
    for name in raw:
        if name not in known:
            reader.problem(name, "is not a known section or key", nearest(name, known))
    values: dict[str, Any] = {name: reader.table(model, raw.get(name, {}), name) for name, model in TABLES.items()}
    for name, model in ARRAYS.items():
        values[name] = tuple(reader.tables(model, raw.get(name, []), name))
    if values["access"]:
        check_admin_token(reader, values["access"].admin_token.get_secret_value())
    values["data_dir"] = _data_dir(reader, raw.get("data_dir", "var"))
    values["store"] = _store(reader, values["store"] or Store(), values["data_dir"])
    values["queue"] = _queue(reader, values["queue"] or Queue())
    return values


def _data_dir(reader: Reader, given: object) -> Path:
    if not isinstance(given, str) or not given:
        reader.problem("data_dir", "is not a path", "Give a directory, relative to this file or absolute.")
        given = "var"
    return (reader.base / given).absolute()


def _store(reader: Reader, store: Store, data_dir: Path) -> Store:
    """The database's URL: $DATABASE_URL, else the file's, else SQLite in the data directory."""
    url = _override(reader, "DATABASE_URL", "store.url") or store.url or f"sqlite:///{data_dir / 'modsync.db'}"
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            url = "postgresql+psycopg://" + url.removeprefix(scheme)
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        fix = "Give a sqlite:/// or postgresql:// URL (the driver is psycopg), or leave it out for SQLite."
        reader.problem("store.url", "is neither SQLite nor PostgreSQL", fix)
    elif url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        fix = "Write the whole path behind three slashes (sqlite:////var/lib/modsync/modsync.db), or leave it out."
        reader.problem("store.url", "is no absolute path: each process would have a database of its own", fix)
    elif not url.startswith("sqlite:"):
        _readable(reader, "store.url", url)
    return Store(url=url)


def _queue(reader: Reader, queue: Queue) -> Queue:
    """Redis' URL: $REDIS_URL, else the file's, else "" for the embedded server."""
    url = _override(reader, "REDIS_URL", "queue.url") or queue.url
    if url and not url.startswith(("redis://", "rediss://", "unix://")):
        reader.problem("queue.url", "is not a Redis URL", "Give redis://, rediss:// or unix://, or leave it out.")
    elif url and not url.startswith("unix://") and _readable(reader, "queue.url", url):
        number = urlsplit(url).path.strip("/")
        if number and not number.isdecimal():
            reader.problem("queue.url", "names no database of Redis'", "End it with a number, /0, or with the port.")
    return Queue(url=url)


def _readable(reader: Reader, key: str, url: str) -> bool:
    """Whether all read the same in it. What it is made of is not repeated: it may be a part of the password."""
    try:
        parts = urlsplit(url)
        behind = parts.path + parts.query + parts.fragment
        # An `@` behind the host's part: that one ended inside the password. Two: only some take the last one.
        cut = "@" in behind and "@" not in parts.netloc
        fine = parts.port != 0 and not cut and not (key == "store.url" and parts.password and "@" in parts.password)
    except ValueError:
        fine = False
    if not fine:
        fix = "Write / as %2F, # as %23, ? as %3F, @ as %40 in user and password; the port is a number up to 65535."
        reader.problem(key, "cannot be read as user, password, host and port", fix)
    return fine


def _override(reader: Reader, variable: str, key: str) -> str:
    value = reader.environ.get(variable, "").strip()
    if value:
        reader.origins[key] = f"${variable}"
    return value
