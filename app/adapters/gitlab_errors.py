"""GitLab's answers as modsync's errors: one table, from status and text to a code.

Texts: GitLab's source (lib/api, app/services/ci), its documentation, and references/gitlab.md of this project's notes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from app.adapters.git_errors import BAN_SECONDS, BANNED, READ_ONLY
from app.adapters.http_session import shown_url, wait_seconds
from app.adapters.redact import redact
from app.domain.errors import SyncError

_LONGEST_MESSAGE = 700
_THERE_ALREADY = re.compile(r": (?:409: Protected branch .* already exists|422: Name has already been taken)")
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Call:
    """One call, for messages and codes: `what` was tried on `subject`; `missing` is a 404's code, `refused` the code of
    a plain refusal; `writes` says that it would change something.
    """

    what: str
    subject: str
    missing: str = "project_missing"
    refused: str = "gitlab_refused"
    writes: bool = False

    def __str__(self) -> str:
        return f"GitLab, {self.what} {self.subject}"


# The first pattern found in the text decides, whatever the status (of 400 to 499).
_TEXTS: tuple[tuple[str, str], ...] = (
    (READ_ONLY, "read_only"),
    (r"^Forbidden$", "rate_limited"),  # Rack::Attack's whole answer to a banned address; GitLab's own begin with 403
    (r"resource lock", "gitlab_unavailable"),
    (r"namespace: is not valid", "forbidden"),
    (r"404 project not found", "project_missing"),
)
_PIPELINE_TEXTS: tuple[tuple[str, str], ...] = (
    (r"missing (ci config|\.gitlab-ci\.yml) file|not found or access denied|does not exist!", "no_ci_config"),
    (r"insufficient permissions to create a new pipeline|not have sufficient permission to run", "forbidden"),
    (r"reference not found", "push_not_visible"),
    (r"too many pipelines created", "rate_limited"),  # lib/gitlab/ci/pipeline/chain/limit/rate_limit.rb
    (r"failed to persist the pipeline, please retry", "gitlab_unavailable"),  # chain/create.rb: its number was taken
    (
        r"filtered out by workflow|no stages / jobs|(pipeline|rules) .*(empty|will not run|prevented)",
        "pipeline_skipped",
    ),
)
# How long the limits are that come without a header, in seconds by status: that of a commit's pipelines is a minute's.
_UNTOLD: Mapping[int, float] = {400: 60.0, 403: BAN_SECONDS}
_HINTS: Mapping[str, str] = {
    "insufficient_scope": "the token lacks the scope api",
    "Forbidden": BANNED,
}


def classify(
    status: int | None,
    message: Any,
    headers: Mapping[str, str] = _NOTHING,
    *,
    call: Call,
    now: datetime | None = None,
    secrets: Collection[str] = (),
) -> SyncError:
    """The error for one failed call.

    `status` None: no usable answer came (connection, time limit, truncated, not JSON), `message` says why. `message` is
    GitLab's `message` or `error`: text, list, or a dict of lists. `now` (aware; default the current time) and the headers
    give `retry_after`, of limits without headers their length; `secrets` never appear in the error's message.
    """
    text = flatten(message)
    code = _code(status, text, headers, call)
    said = _said(status, text, headers, call)
    wait = wait_seconds(headers, now or datetime.now(UTC)) if status in (429, 503) else None
    if status is not None and code == "rate_limited":
        wait = _UNTOLD.get(status, wait)
    # the final cut comes after redacting: half a secret would not be recognised
    shown = redact(f"{call}: {said[: 3 * _LONGEST_MESSAGE]}", secrets)[:_LONGEST_MESSAGE]
    return SyncError(code, shown, retry_after=wait)


def flatten(message: Any) -> str:
    """GitLab's message as one line: `base: Reference not found`; pages of HTML are only named."""
    if isinstance(message, dict):
        text = "; ".join(f"{key}: {flatten(value)}" for key, value in message.items())
    elif isinstance(message, (list, tuple)):
        text = ", ".join(flatten(part) for part in message)
    else:
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message or "")
    text = " ".join(text.split())
    return "an HTML page instead of an answer of the API" if text.startswith("<") else text


def is_taken(error: SyncError) -> bool:
    """True for GitLab's answer that a name or path exists already (somebody else was faster)."""
    return error.code == "gitlab_refused" and "has already been taken" in error.message


def is_there_already(error: SyncError) -> bool:
    """True for GitLab's answers that a protection exists already: 409 for branches (lib/api/protected_branches.rb), 422
    for tags, which only know that their model's name is not unique (lib/api/protected_tags.rb).
    """
    return error.code == "gitlab_refused" and _THERE_ALREADY.search(error.message) is not None


def _code(status: int | None, text: str, headers: Mapping[str, str], call: Call) -> str:
    if status is None:
        return "gitlab_unreachable"
    if status >= 500:
        return _server_code(status, text, headers, call)
    if status < 400:
        return "project_missing" if _moved_project(headers, call) else "gitlab_refused"
    fixed = {401: "token_expired", 408: "gitlab_unavailable", 429: "rate_limited"}.get(status) or _by_text(text, call)
    return fixed or {403: "forbidden", 404: call.missing}.get(status, call.refused)


def _server_code(status: int, text: str, headers: Mapping[str, str], call: Call) -> str:
    """A read-only GitLab (maintenance) answers writes with 503 and Retry-After."""
    asks_to_wait = any(name.lower() == "retry-after" for name in headers)
    if status == 503 and (re.search(READ_ONLY, text, re.IGNORECASE) or (call.writes and asks_to_wait)):
        return "read_only"
    return "gitlab_unavailable"


def _by_text(text: str, call: Call) -> str | None:
    table = _PIPELINE_TEXTS + _TEXTS if call.refused == "pipeline_refused" else _TEXTS
    return next((code for pattern, code in table if re.search(pattern, text, re.IGNORECASE)), None)


def _said(status: int | None, text: str, headers: Mapping[str, str], call: Call) -> str:
    if status is None:
        return text
    if 300 <= status < 400:
        new = _moved_project(headers, call)
        if new:
            return f"{status}: it moved to {new}, or is to be deleted and waits for that under another name"
        return f"{status}: redirected to {_location(headers)}, check gitlab.url"
    hint = f" ({_HINTS[text]})" if text in _HINTS else ""
    return f"{status}: {text}{hint}" if text else f"{status} without a text"


def _location(headers: Mapping[str, str]) -> str:
    return shown_url(next((value for name, value in headers.items() if name.lower() == "location"), ""))


def _moved_project(headers: Mapping[str, str], call: Call) -> str | None:
    """`project <path or id>`: where GitLab says that a project is now. A redirect to the same path is none of that."""
    found = re.search(r"/api/v4/projects/([^/]+)", _location(headers))
    new = unquote(found[1]) if found else call.subject
    return f"project {new}" if new != call.subject and call.missing == "project_missing" else None
