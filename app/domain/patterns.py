"""Module path patterns and the templates that are filled from them: `go.corp.example/{team}/{repo}`.

A placeholder `{name}` stands for one path element, or for a part of one beside literal text; never for a `/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from app.domain.modules import ModulePath

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_ELEMENT = re.compile(r"(?:[A-Za-z0-9._~-]|\{[a-z][a-z0-9_]*\})+")
_MAJOR = re.compile(r"v(?:[2-9]|[1-9][0-9]+)")


def placeholders(template: str) -> list[str]:
    """The placeholders' names in order, repeated ones too."""
    return PLACEHOLDER.findall(template)


def fill(template: str, values: Mapping[str, str], encode: Callable[[str], str] = str) -> str:
    """The template with each placeholder replaced by its value. KeyError: a placeholder without a value."""
    return PLACEHOLDER.sub(lambda found: encode(values[found[1]]), template)


def split_major(path: str) -> tuple[str, str]:
    """(module path or pattern without its major suffix, the suffix "v2" or "")."""
    base, slash, last = path.rpartition("/")
    return (base, last) if slash and _MAJOR.fullmatch(last) else (path, "")


def match_module(pattern: str, module: ModulePath) -> tuple[dict[str, str], str] | None:
    """(placeholder values, directory below the repository's root) of a module path, None when it does not match.

    A final /vN is a major suffix: it is neither matched nor part of the directory.
    """
    elements = split_major(module.text)[0].split("/")
    depth = pattern.count("/") + 1
    values = match(pattern, "/".join(elements[:depth]))
    return None if values is None else (values, "/".join(elements[depth:]))


def match(template: str, text: str) -> dict[str, str] | None:
    """The placeholders' values when the filled template is `text`, else None."""
    found = _expression(template).fullmatch(text)
    return found.groupdict() if found else None


def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a module path pattern, None when it is good."""
    elements = pattern.split("/")
    if not all(_ELEMENT.fullmatch(element) for element in elements):
        return "has an empty element, or characters that are not in module paths"
    if any(len(placeholders(element)) > 1 for element in elements):
        return "has two placeholders in one path element, which cannot be told apart"
    if len(set(placeholders(pattern))) != len(placeholders(pattern)):
        return "uses a placeholder twice"
    if split_major(pattern)[1]:
        return "ends in a major suffix: leave /vN out, it is matched by itself"
    return None


def unify(one: str, other: str) -> tuple[dict[str, str], dict[str, str]] | None:
    """Values for the placeholders of two templates that make both the same (letter case aside), None if there are none.

    Where both have a placeholder at the same place, both get the same stand-in.
    """
    ours, theirs = one.split("/"), other.split("/")
    if len(ours) != len(theirs):
        return None
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for at, (mine, yours) in enumerate(zip(ours, theirs, strict=True)):
        if not _unify_element(mine.lower(), yours.lower(), f"same{at}", found):
            return None
    return found


def _unify_element(mine: str, yours: str, stand_in: str, found: tuple[dict[str, str], dict[str, str]]) -> bool:
    text = _shared_text(mine, yours, stand_in)
    first, second = match(mine, text), match(yours, text)
    if first is None or second is None:
        return False
    return _bind(found[0], first) and _bind(found[1], second)


def _shared_text(mine: str, yours: str, stand_in: str) -> str:
    """A text that both elements may stand for: the one without a placeholder, else the filled ones' common form."""
    if not placeholders(mine):
        return mine
    if not placeholders(yours):
        return yours
    # With several placeholders, which is a problem of its own, this text fits neither.
    (before, *_, after), (start, *_, end) = (PLACEHOLDER.split(side)[::2] for side in (mine, yours))
    return max(before, start, key=len) + stand_in + max(after, end, key=len)


def _bind(known: dict[str, str], new: Mapping[str, str]) -> bool:
    """Take the new values over; False when one contradicts what is known."""
    fits = all(known.get(name, value) == value for name, value in new.items())
    known.update(new)
    return fits


@lru_cache(maxsize=1024)
def _expression(template: str) -> re.Pattern[str]:
    seen: set[str] = set()
    return re.compile(PLACEHOLDER.sub(lambda found: _group(found[1], seen), _escaped(template)))


def _escaped(template: str) -> str:
    parts = re.split(r"(\{[a-z][a-z0-9_]*\})", template)
    return "".join(part if PLACEHOLDER.fullmatch(part) else re.escape(part) for part in parts)


def _group(name: str, seen: set[str]) -> str:
    """A named group, or a reference to it where the template repeats a placeholder."""
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return f"(?P<{name}>[^/]+)"
