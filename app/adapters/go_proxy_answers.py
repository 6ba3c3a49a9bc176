"""What a Go proxy answered, parsed and shown; anything may come (a login page, half a file)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import NoneType

from app.adapters.redact import redact
from app.domain.semver import semver_is_valid
from app.services.ports import ProxyInfo

_SHOWN_BODY = 200


def parse_info(body: bytes) -> ProxyInfo | str:
    """The parsed .info, or what is wrong with it. An RFC 3339 `Time` is passed on as it is."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return "not JSON"
    if not isinstance(raw, dict):
        return "not a JSON object"
    origin = {} if raw.get("Origin") is None else raw["Origin"]
    if not isinstance(origin, dict):
        return "Origin is not an object"
    version, time, commit = raw.get("Version"), raw.get("Time"), origin.get("Hash")
    if not isinstance(version, str) or not version:
        return "Version is missing or not a string"
    if not isinstance(time, (str, NoneType)) or not isinstance(commit, (str, NoneType)):
        return "Time or Origin.Hash is not a string"
    return ProxyInfo(version, time, commit or None)


def parse_list(body: bytes) -> Sequence[str]:
    """The versions of a `list`, one a line; lines that name none are left out, as go does (modfetch/proxy.go Versions)."""
    first = (line.split() for line in body.decode("utf-8", "replace").splitlines())
    return [words[0] for words in first if words and semver_is_valid(words[0])]


def is_html(start: bytes) -> bool:
    return start.lstrip()[:1] == b"<"


def shown(body: bytes, secrets: Sequence[str]) -> str:
    """The start of an answer for a message, without the secrets; pages of HTML are only named.

    They go before it is cut: of one that is cut in its middle, the rest would stay.
    """
    if is_html(body):
        return "an HTML page"
    return " ".join(redact(body.decode("utf-8", "replace"), secrets).split())[:_SHOWN_BODY] or "an empty body"
