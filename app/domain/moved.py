"""Released versions that would change: old and new, as everybody who refuses one tells them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.errors import SyncError

_SAME = "; the zip is the same, the commit alone differs (of a registry's version: .info's Time, or .mod)"


@dataclass(frozen=True, slots=True)
class Content:
    """A commit, and the h1 of its zip where that is known; `unknown` is said in its place."""

    commit: str
    h1: str | None
    unknown: str = "h1 not known"

    def __str__(self) -> str:
        return f"{self.commit} ({self.h1 or self.unknown})"


def never_fetched(name: str, clone_url: str) -> str:
    """In place of the h1 of a commit that was only told of: intake reads no source, and so it says how to learn it."""
    if not clone_url:
        return "h1 not known: it was never fetched"
    return f"h1 not known: it was never fetched; `modsync checksum {name} --repo {clone_url}` prints it"


def version_moved(name: str, said: str, old: Content, new: Content) -> SyncError:
    """A released version (`module@version`) that would change; `said` has places for {old} and {new}."""
    facts = {"old_commit": old.commit, "old_h1": old.h1, "new_commit": new.commit, "new_h1": new.h1}
    same = _SAME if old.h1 and old.h1 == new.h1 else ""
    return SyncError("version_moved", f"{name}: {said.format(old=old, new=new)}{same}", facts={"conflict": facts})
