"""Logs: one event a line, static names, values as fields, secrets taken out, the same form from every process.

A sentence of a library is the field `text` of the event that is called like the library.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import BaseModel, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from app.adapters.redact import MASK, redact
from app.config_models import Settings
from app.services.log_ids import ids_of

# What these say at info or debug is either noise or somebody else's command line.
_QUIET = ("urllib3", "git", "alembic", "filelock", "asyncio")
_OURS = frozenset({"timestamp", "level", "logger", "role"})  # written here, never by a sender
_PACKAGES = frozenset({"app", "workers", "__main__"})
_SHORT = 120  # characters
_OWN_ID = re.compile(r"[rd][0-9a-hjkmnp-tv-z]{19}(?:-[0-9]{1,6}-[0-9]{1,6})?")  # runs, deliveries, jobs (domain.ids)
_SECRET_NAME = re.compile(r"(?i)(token|secret|password|passwd|authorization|cookie|signature|api_?key)$")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {0x2028: "\\u2028", 0x2029: "\\u2029"}


def configure_logging(settings: Settings, role: str) -> None:
    """Send everything that logs to standard error in the settings' form; `role` (web, worker, ...) is on every line.

    May be called again (after a fork, in tests): the last call counts.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(settings.log.format, role, secret_values(settings)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log.level.upper())
    # No line says them, and each record would have to find them out.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # as the standard library's logging how-to says
    logging.captureWarnings(True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def formatter(form: str, role: str, secrets: Collection[str]) -> logging.Formatter:
    """A stdlib formatter; `form` is "json" or "console"."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp")
    clean = _redacting(secrets)
    shared: list[Processor] = [
        _with_ids, structlog.stdlib.ExtraAdder(), structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name, stamp, _adding(role=role), structlog.processors.format_exc_info,
        clean,
    ]  # fmt: skip
    last = [_one_line, _console()] if form == "console" else [structlog.processors.JSONRenderer(default=str)]
    chain = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    if form == "console":
        return structlog.stdlib.ProcessorFormatter(processors=chain, foreign_pre_chain=shared)
    return _JsonLines(role, clean, processors=chain, foreign_pre_chain=shared)


class _JsonLines(structlog.stdlib.ProcessorFormatter):
    """What the chain makes of a record, at a fifth of its cost, for records that have nothing but values."""

    _standard = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
    _encode = json.JSONEncoder(default=str).encode

    def __init__(self, role: str, clean: Processor, **chain: Any) -> None:
        super().__init__(**chain)
        self._role, self._redacted = role, clean

    def format(self, record: logging.LogRecord) -> str:
        """One line; exceptions, stacks, and what structlog itself logs go through the chain."""
        if not isinstance(record.msg, str) or record.exc_info or record.stack_info:
            return super().format(record)
        event = {**_said(record, record.getMessage()), **ids_of(record)}
        event |= {name: value for name, value in record.__dict__.items() if name not in self._standard}
        event |= {"level": record.levelname.lower(), "logger": record.name}
        event |= {"timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"), "role": self._role}
        return self._encode(self._redacted(None, "", event))


def secret_values(settings: BaseModel) -> frozenset[str]:
    """Every secret that the settings hold, the passwords inside URLs included."""
    return frozenset(filter(None, _secrets(settings)))


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, tuple):
        for each in value:
            yield from _secrets(each)
    elif isinstance(value, str) and "://" in value and "@" in value:
        password = urlsplit(value).password or ""
        yield from (password, unquote(password))


def _with_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if record is None:
        return event
    return {**_said(record, event.pop("event")), **event, **ids_of(record)}


def _said(record: logging.LogRecord, text: str) -> dict[str, Any]:
    """Our events are names; what a library says is a sentence with values in it, under the library's name."""
    package = record.name.partition(".")[0]
    return {"event": text} if package in _PACKAGES else {"event": package, "text": text}


def _adding(**values: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**event, **values}

    return add


def _redacting(secrets: Collection[str]) -> Processor:
    # Most texts come again and again (names of events, routes, sources), and looking through one takes 60 us.
    known = lru_cache(2048)(lambda text: redact(text, secrets))

    def text(value: str) -> str:
        if _OWN_ID.fullmatch(value) and value not in secrets:
            return value  # new with each request, so the cache does not help
        return known(value) if len(value) <= _SHORT else redact(value, secrets)

    def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {name: value if name in _OURS else _clean(name, value, text) for name, value in event.items()}

    return clean


def _clean(name: str, value: object, text: Callable[[str], str]) -> object:
    """`value` without secrets, at any depth; whatever is no plain value becomes its text."""
    if name.startswith("_") or value is None or isinstance(value, bool | int | float):
        return value
    if _is_secret(name):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): _clean(str(key), each, text) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", each, text) for each in value]
    return text(str(value))


@lru_cache(1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """No line breaks and no terminal escapes from values; only a traceback keeps its lines, for people."""
    return {
        name: value.translate(_CONTROL) if isinstance(value, str) and name != "exception" else value
        for name, value in event.items()
    }


def _console() -> Processor:
    plain = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
