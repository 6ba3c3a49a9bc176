"""What the proxy serves against what was released: which files differ, and what that says about the cause. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.domain.modules import RuleBroken, Version
from app.domain.modzip import FileHash
from app.domain.retractions import retracts

_SHOWN = 10  # files named in one message


@dataclass(frozen=True, slots=True)
class Difference:
    """File names, sorted: `changed` have other bytes, `extra` are served and not released, `missing` the reverse."""

    changed: tuple[str, ...]
    extra: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def served(self) -> tuple[str, ...]:
        """What the proxy serves and the release does not have like that."""
        return (*self.changed, *self.extra)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.changed, *self.extra, *self.missing)

    def __bool__(self) -> bool:
        return bool(self.changed or self.extra or self.missing)

    def __str__(self) -> str:
        kinds = {"changed": self.changed, "only in the proxy's": self.extra, "only in the release": self.missing}
        return "; ".join(f"{kind}: {_some(names)}" for kind, names in kinds.items() if names)


def difference(released: Iterable[FileHash], served: Iterable[FileHash]) -> Difference:
    """Compare two module contents, file by file."""
    ours, theirs = ({each.name: each.sha256 for each in files} for files in (released, served))
    return Difference(
        changed=tuple(sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])),
        extra=tuple(sorted(theirs.keys() - ours.keys())),
        missing=tuple(sorted(ours.keys() - theirs.keys())),
    )


def follows_other_rules(found: Difference, tree: Mapping[str, str], blobs: Mapping[str, str]) -> bool:
    """True when all that differs is still the released commit's: only the rules of what is packed, and how, are others.

    `tree`: git's blob ids of the released directory as committed, by name; `blobs`: those of the served files that
    differ. GitLab's own proxy packs raw blobs: with vendored packages, symlinks as texts, without attributes, and
    without the LICENSE that a module in a subdirectory inherits.
    """
    same_source = all(name in tree and tree[name] == blobs.get(name) for name in found.served)
    return bool(found) and same_source and set(found.missing) <= {"LICENSE"}


def listed_fault(version: Version, go_mod: bytes, listed: Sequence[str], newest_go_mod: bytes | None) -> str | None:
    """Why `list` is not what it should be after a release of `version`; None when it is.

    `go` itself leaves out pseudo-versions, +incompatible ones beside a go.mod, and what the newest go.mod retracts, be that
    version itself retracted and left out. Of a major it lists all +incompatible versions or none, so that one alone says
    whether ours has to be there.
    """
    exempt = version.is_pseudo or version.text in listed or (version.is_incompatible and not _beside(version, listed))
    if exempt or retracts(go_mod, version) or (newest_go_mod and retracts(newest_go_mod, version)):
        return None
    return f"list does not have it ({len(listed)} others are there)"


def latest_fault(version: Version, go_mod: bytes, listed: Sequence[str], latest: str | None) -> str | None:
    """Why `@latest` is not sane; None when it is, or when the proxy has none (it is optional)."""
    if latest is None:
        return None
    named = parsed(latest)
    if named is None:
        return f"@latest names {latest[:80]!r}, which is no version"
    if newest(listed) != version or retracts(go_mod, version) or named >= version:
        return None
    return f"@latest still names {named}"


def latest_note(listed: Sequence[str], latest: str) -> str | None:
    """What is odd about a sane `@latest`: `list` has a higher version, which may be retracted, or newer than a cached answer."""
    highest, named = newest(listed), parsed(latest)
    behind = named and highest and named < highest
    return f"@latest names {named}, list has {highest}" if behind else None


def newest(listed: Sequence[str]) -> Version | None:
    """The one that go takes for the latest: a release before a prerelease, one with a go.mod before an +incompatible one."""
    found = [each for each in map(parsed, listed) if each]
    releases = [each for each in found if not each.prerelease]
    return max([each for each in releases if not each.is_incompatible] or releases or found, default=None)


def _beside(version: Version, listed: Sequence[str]) -> bool:
    """Whether another +incompatible version of the same major is listed."""
    others = filter(None, map(parsed, listed))
    return any(each.is_incompatible and each.major == version.major for each in others)


def parsed(text: str) -> Version | None:
    """The version, None when it is not one."""
    try:
        return Version.parse(text)
    except RuleBroken:
        return None


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name)[1:-1] for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
