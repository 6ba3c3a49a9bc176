"""What changed between two configurations, as they may be recorded. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Entries = Mapping[str, str]
"""Dotted key -> value as text, of a secret its fingerprint."""


def difference(old: Entries, new: Entries) -> tuple[dict[str, str], dict[str, str]]:
    """The entries that are not the same, as they were and as they are; a key that came or went is on one side only."""
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    before = {key: old[key] for key in sorted(changed & old.keys())}
    return before, {key: new[key] for key in sorted(changed & new.keys())}
