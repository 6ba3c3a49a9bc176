"""What a Go proxy answered, parsed and shown; anything may come (a login page, half a file)."""

from __future__ import annotations

from collections.abc import Sequence

from app.adapters.redact import redact
from app.domain.goinfo import InfoRefused, parse_rev_info
from app.domain.semver import semver_is_valid
from app.services.ports import ProxyInfo

_SHOWN_BODY = 200


def parse_info(body: bytes) -> ProxyInfo | str:
    """The parsed .info, or what is wrong with it: what go refuses. `Time` is passed on as it is."""
    try:
        info = parse_rev_info(body)
    except InfoRefused as error:
        return str(error)
    if not info.version:
        return "Version is missing or empty"
    return ProxyInfo(info.version, info.time, info.commit or None)


def parse_list(body: bytes) -> Sequence[str]:
    """The versions of a `list`, one a line; lines that name none are left out, as go does (modfetch/proxy.go Versions)."""
    first = (line.split() for line in body.decode("utf-8", "replace").split("\n"))
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
