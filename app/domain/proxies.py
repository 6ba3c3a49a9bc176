"""Kinds of private Go proxies: how long a released version may take to appear, and what it means when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProxyKind:
    """`wait`: seconds to wait for a version by default; `miss`: what a 404 of this proxy says, for people."""

    wait: float
    miss: str


KINDS: Mapping[str, ProxyKind] = {
    "any": ProxyKind(900, "proxies fetch when they are asked, and some keep a miss for a while"),
    # Asked in sync mode it fetches before it answers; any failure of that fetch is a 404 with an empty body.
    "athens": ProxyKind(1200, "Athens has not fetched it: async mode is still at it, or its fetch failed; see its log"),
    # Missed Retrieval Cache Period: 1800 s by default.
    "artifactory": ProxyKind(2100, "Artifactory keeps a miss for its missed-retrieval period, 30 minutes by default"),
    "goproxy": ProxyKind(900, "goproxy keeps a miss for 10 minutes"),
    "gitlab": ProxyKind(300, "GitLab builds it from the tag when asked: is its Go proxy switched on for the project?"),
    "static": ProxyKind(300, "nobody has put its files there yet"),
}
