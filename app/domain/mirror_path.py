"""Legal GitLab project paths without collisions.

GitLab compares paths without letter case and refuses special characters at the edges or beside each other; Go does
neither. So a value that is not already in the common form gets a suffix made from its hash, and so does a value that
only looks as if it had one: two different values never become the same path.
"""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_LEGAL = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_HASHED = re.compile(r"(?:.*-)?x[0-9a-f]{12}")
_ENDINGS = (".git", ".atom")
_RESERVED = frozenset(
    {
        "badges",
        "blame",
        "blob",
        "builds",
        "commits",
        "create",
        "create_dir",
        "edit",
        "files",
        "find_file",
        "new",
        "preview",
        "raw",
        "refs",
        "tree",
        "update",
        "wikis",
    }
)
LONGEST = 255


def encode(value: str) -> str:
    """A path element's value as it stands in a mirror path: itself, or a readable form and a hash of it."""
    if _is_plain(value) and not _HASHED.fullmatch(value):
        return value
    mark = "x" + hashlib.sha256(value.encode()).hexdigest()[:12]
    readable = re.sub(r"[^a-z0-9]+", "-", value.lower())[:60].strip("-")
    return f"{readable}-{mark}" if readable else mark


def beside(path: str, beyond: str) -> str:
    """The mirror of a module that lies `beyond` (`sub`, `v2`, `sub/v2`; "" itself) the one whose mirror is `path`.

    Not below it: one path would be a project and a group. The name has a slash in it before it is encoded, so it
    always gets a hash: no module's own path can become the same.
    """
    if not beyond:
        return path
    parent, _, leaf = path.rpartition("/")
    return f"{parent}/{encode(f'{leaf}/{beyond}')}"


def _is_plain(value: str) -> bool:
    """True when GitLab takes the value as it is and nothing else can be meant by it."""
    fits = _PLAIN.fullmatch(value) is not None and len(value) <= 100
    return fits and not value.endswith(_ENDINGS) and value not in _RESERVED


def path_fault(path: str) -> str | None:
    """What GitLab would not take in a project's full path, None when it is good."""
    elements = path.split("/")
    if len(elements) < 2:
        return "names no group: write group/project"
    if len(path) > LONGEST:
        return f"is longer than {LONGEST} characters"
    for element in elements:
        if not _LEGAL.fullmatch(element) or element.lower().endswith(_ENDINGS) or element.lower() in _RESERVED:
            return f"has an element that GitLab does not take as a path: {element[:60]!r}"
    return None
