"""A verified payload -> the releases it tells, or why it tells none. One parser per platform, in `platforms/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from app.domain.platforms.article import parse_releases
from app.domain.platforms.artifactory import parse_artifactory
from app.domain.platforms.fields import Fields
from app.domain.platforms.forge import parse_gitea, parse_github
from app.domain.platforms.gitlab import parse_gitlab
from app.domain.platforms.release import Ignored, Parsed, Policy, ReleaseEvent
from app.domain.platforms.standard import parse_standard
from app.domain.platforms.versions import fit_path
from app.domain.schemes import lower_case

__all__ = ["PARSERS", "Ignored", "Parsed", "Policy", "ReleaseEvent", "fit_path", "parse"]

Parser = Callable[[Mapping[str, str], Fields, Policy], Parsed]


def parse(scheme: str, headers: Mapping[str, str], payload: dict[str, Any], policy: Policy) -> Parsed:
    """What the payload means, by the scheme that verified it (a key of SCHEMES).

    Headers name the kind of event on some platforms and are signed on none: they only choose among readings that the
    signed body must then satisfy. SyncError `invalid_payload` with `field`.
    """
    parsed = parse_all(scheme, headers, payload, policy)
    return parsed if isinstance(parsed, Ignored) else by_policy(parsed, policy)


def parse_all(scheme: str, headers: Mapping[str, str], payload: dict[str, Any], policy: Policy) -> Parsed:
    """The same with prerelease versions, whether the policy wants them or not."""
    return PARSERS[scheme](lower_case(headers), Fields(payload), policy)


def by_policy(events: tuple[ReleaseEvent, ...], policy: Policy) -> Parsed:
    """Without prerelease versions where the policy does not want them."""
    wanted = tuple(event for event in events if policy.prereleases or not (event.version and event.version.prerelease))
    if wanted:
        return wanted
    return Ignored("prerelease", f"{events[0].version} is a prerelease, which this source's policy leaves out")


def _article(_headers: Mapping[str, str], body: Fields, _policy: Policy) -> Parsed:
    return parse_releases(body)


PARSERS: Mapping[str, Parser] = MappingProxyType(
    {
        "article": _article,
        "github": parse_github,
        "gitea": parse_gitea,
        "forgejo": parse_gitea,
        "gitlab-token": parse_gitlab,
        "standard-webhooks": parse_standard,
        "artifactory": parse_artifactory,
    }
)
"""Every scheme's parser, by the scheme's name."""
