"""Standard Webhooks bodies: `type`, `timestamp` and `data`, whose fields are the article's; GitLab 19 signs its own bodies so.

Source: the Standard Webhooks specification, "Payload structure".
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.platforms.article import parse_releases
from app.domain.platforms.fields import Fields
from app.domain.platforms.gitlab import parse_gitlab
from app.domain.platforms.release import Ignored, Parsed, Policy

_WORD_LIMIT = 100
_RELEASES = ("release", "release.published")
_PINGS = ("ping", "test", "webhook.test")


def parse_standard(headers: Mapping[str, str], body: Fields, policy: Policy) -> Parsed:
    """GitLab's body where there is an `object_kind` or `event_name`, else by `type`."""
    if body.values.keys() & {"object_kind", "event_name"}:
        return parse_gitlab(headers, body, policy)
    kind = body.text("type", _WORD_LIMIT)
    if kind in _PINGS:
        return Ignored("ping", "the platform tried the webhook out, and it works")
    if kind not in _RELEASES:
        return Ignored("not_a_release", f"type {kind!r} tells no release")
    return parse_releases(body.object("data"))
