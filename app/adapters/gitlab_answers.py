"""GitLab's answers parsed into types of our own; GitlabParsingError for another shape. Shapes: GitLab API v4."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from gitlab.exceptions import GitlabParsingError

from app.adapters.redact import redact
from app.services.gitlab_login import TokenInfo
from app.services.ports import Pipeline

T = TypeVar("T", int, str, list[Any])
_SECTION = re.compile(r"section_(?:start|end):\d+:[\w.\-]+(?:\[[^\[\]\r\n]{0,200}\])?\r?(?:\x1b\[0K)?")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LONGEST_LINE = 400


@dataclass(frozen=True, slots=True)
class ProjectAnswer:
    """A project as GitLab shows it; `raw` holds every field, for comparing settings."""

    id: int
    path: str
    web_url: str
    archived: bool
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """A job of a pipeline."""

    id: int
    name: str
    status: str
    allow_failure: bool
    web_url: str
    failure_reason: str = ""


def project(raw: Mapping[str, Any]) -> ProjectAnswer:
    """From GET or POST /projects."""
    web_url = _optional(raw, "web_url") or ""
    path = _field(raw, "path_with_namespace", str)
    return ProjectAnswer(_field(raw, "id", int), path, web_url, raw.get("archived") is True, raw)


def token(raw: object) -> TokenInfo:
    """From GET /personal_access_tokens/self; `expires_at` is a date, or null where tokens may live for ever."""
    if not isinstance(raw, Mapping):
        raise GitlabParsingError("the answer is not an object")
    scopes, ends = _field(raw, "scopes", list), _optional(raw, "expires_at")
    try:
        return TokenInfo(_field(raw, "name", str), tuple(map(str, scopes)), date.fromisoformat(ends) if ends else None)
    except ValueError as error:
        raise GitlabParsingError("field expires_at is not a date") from error


def group_id(raw: Mapping[str, Any]) -> int:
    """From GET or POST /groups."""
    return _field(raw, "id", int)


def pipeline(raw: Mapping[str, Any]) -> Pipeline:
    """From GET or POST of a pipeline; lists give the same fields."""
    return Pipeline(
        id=_field(raw, "id", int),
        status=_field(raw, "status", str),
        sha=_field(raw, "sha", str),
        web_url=_optional(raw, "web_url") or "",
        name=_optional(raw, "name"),
    )


def job(raw: Mapping[str, Any]) -> JobAnswer:
    """From the list of a pipeline's jobs."""
    return JobAnswer(
        id=_field(raw, "id", int),
        name=_field(raw, "name", str),
        status=_field(raw, "status", str),
        allow_failure=raw.get("allow_failure") is True,
        web_url=_optional(raw, "web_url") or "",
        failure_reason=_optional(raw, "failure_reason") or "",
    )


# GitLab's CommitStatus failure reasons that say nothing of the job's script (its Enums::Ci::CommitStatus).
_OF_THE_RUNNER = frozenset({
    "runner_system_failure", "stuck_or_timeout_failure", "scheduler_failure", "api_failure", "data_integrity_failure",
})  # fmt: skip


def failed_by_runner(jobs: Sequence[JobAnswer]) -> bool:
    """True when every failed job that counts failed for a reason of the runner's."""
    guilty = [one for one in jobs if one.status == "failed" and not one.allow_failure]
    return bool(guilty) and all(one.failure_reason in _OF_THE_RUNNER for one in guilty)


def guilty_job(jobs: Sequence[JobAnswer]) -> JobAnswer | None:
    """The failed job that came first, one that may not fail before one that may."""
    failed = [one for one in jobs if one.status == "failed"]
    return min(failed, key=lambda one: (one.allow_failure, one.id), default=None)


def last_lines(trace: bytes, count: int, secrets: Collection[str] = ()) -> str:
    """A job log's last `count` lines that say something, as plain text: no colours, no section marks, no
    secrets (known shapes, and `secrets`).

    Of a line that was written over (progress), what stood there last is kept.
    """
    text = _ANSI.sub("", _SECTION.sub("", trace.decode("utf-8", "replace")))
    lines = (_CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in text.split("\n"))
    # The final cut comes after redacting, and that sees all lines: half a secret would not be recognised.
    kept = [line[: 3 * _LONGEST_LINE] for line in lines if line][-count:]
    return "\n".join(line[:_LONGEST_LINE] for line in redact("\n".join(kept), secrets).split("\n"))


class Tail:
    """Keeps the last bytes of what is added, within `size` and a block."""

    def __init__(self, size: int) -> None:
        self._size, self._kept = size, bytearray()

    def add(self, block: bytes) -> None:
        self._kept += block
        del self._kept[: max(0, len(self._kept) - self._size)]

    def bytes(self) -> bytes:
        return bytes(self._kept)


def _field(raw: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = raw.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise GitlabParsingError(f"field {name} is missing or of another type")
    return value


def _optional(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) else None
