"""Released versions that would change: old and new, as everybody who refuses one tells them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.errors import SyncError


@dataclass(frozen=True, slots=True)
class Content:
    """A commit, and the h1 of its zip where that is known."""

    commit: str
    h1: str | None

    def __str__(self) -> str:
        return f"{self.commit} ({self.h1 or 'h1 not known'})"


def version_moved(name: str, said: str, old: Content, new: Content) -> SyncError:
    """A released version (`module@version`) that would change; `said` has places for {old} and {new}."""
    facts = {"old_commit": old.commit, "old_h1": old.h1, "new_commit": new.commit, "new_h1": new.h1}
    return SyncError("version_moved", f"{name}: {said.format(old=old, new=new)}", facts={"conflict": facts})
