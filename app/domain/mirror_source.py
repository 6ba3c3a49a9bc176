"""Which repository a mirror is of: its clone URL in one form, the same for every spelling of it and without a password."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from app.domain.errors import SyncError
from app.domain.urls import CloneUrl

_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_NEEDS_NO_ESCAPE = re.compile(r"[A-Za-z0-9_~+@,=!]")
_ENDING = re.compile(r"(?<=[^/])(?:\.git)+$")


@lru_cache(4096)
def source_url(clone_url: str) -> str:
    """Two clone URLs have the same one exactly where they name one repository: scheme, login, host, port and path.

    The login of ssh stays: each has a home of its own there, and it is no secret. Idempotent. Error: clone_url_refused.
    """
    url = CloneUrl.parse(clone_url, sandbox=True)  # the allow-list has judged it before
    path = _ESCAPED.sub(lambda found: _plain(found[0]), url.path)
    return str(replace(url, path=_ENDING.sub("", path)))


def _plain(escaped: str) -> str:
    """What was escaped without need as it is, the rest in capitals."""
    character = chr(int(escaped[1:], 16))
    return character if _NEEDS_NO_ESCAPE.fullmatch(character) else escaped.upper()


def mirror_of_another(name: str, mirror: str, recorded: str, named: str) -> SyncError:
    """The error of release `name` (module@version), whose repository `named` is not the one that the mirror is of."""
    said = (
        f"{name} comes from {named}, and its mirror {mirror} is the mirror of {recorded}: nothing was fetched or pushed"
    )
    return SyncError("mirror_of_another", said)
