"""A registry's version of which no commit gives the same content: which of its files become others, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.domain.errors import SyncError
from app.domain.served import difference
from app.services.checksum import ModuleSums

SHOWN = 10
_LONGEST = 200  # characters of a name

Attributes = Callable[[Sequence[str]], Mapping[str, str]]
"""File names -> the attributes of those that have some which change what git writes."""


def not_reproducible(served: ModuleSums, made: ModuleSums, attributes: Attributes) -> SyncError:
    """`served` by the registry, `made` of a commit of it. Names at most SHOWN files, in the message and the facts."""
    guilty = difference(served.files, made.files).names
    told = attributes(guilty[:SHOWN])
    shown = [_shown(name, told.get(name)) for name in guilty[:SHOWN]]
    more = len(guilty) - len(shown)
    facts = {"h1_served": served.h1_zip, "h1_commit": made.h1_zip, "files": shown, "more": more}
    said = f"the registry's zip is {served.h1_zip}, a commit of its files is {made.h1_zip}"
    names = ", ".join(shown) + (f" and {more} more" if more else "")
    return SyncError(
        "not_reproducible",
        f"{served.module}@{served.version}: {said}; not the same: {names}",
        facts={"registry": facts},
    )


def _shown(name: str, attributes: str | None) -> str:
    plain = repr(name)[1:-1][:_LONGEST]
    return f"{plain} ({attributes})" if attributes else plain
