"""Where go knows a module's repository by the path alone, and asks no server (cmd/go/internal/vcs/vcs.go, vcsPaths)."""

from __future__ import annotations

import re

_HOSTS = (
    "github.com",
    "bitbucket.org",
    "hub.jazz.net/git",
    "git.apache.org",
    "git.openstack.org",
    "chiselapp.com",
    "example.net",  # there go says at once that it has no modules
)
_SUFFIXED = re.compile(r"[a-z0-9.-]+\.[a-z0-9.-]+(?:/~?[\w.-]+)+?\.(?:bzr|fossil|git|hg|svn)(?:/~?[\w.-]+)*", re.ASCII)


def is_known(path: str) -> bool:
    """Whether go asks nobody at https://PATH?go-get=1. Up to go1.26 it took `.bzr` for one of these, too."""
    return any(f"{path}/".startswith(f"{host}/") for host in _HOSTS) or bool(_SUFFIXED.fullmatch(path))
