"""Pure plans for a push: what was observed in the mirror, what is wanted, and so which refs to push with which lease.

Facts behind it (measured, see docs/decisions): a lease is always an explicit value; an empty expectation means
"create only"; one refused ref refuses the whole atomic push; re-made annotated tags differ, so commits are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TagAt:
    """A tag as observed: the object that the ref names, and the commit it peels to (None: a tree or a blob).

    `h1`: the content's, where that was seen, too: a registry's.
    """

    object: str
    commit: str | None
    h1: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release's tag as it shall be in the mirror: `name` without refs/tags/, its object and commit."""

    name: str
    object: str
    commit: str


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One ref of a push: its full name, the new object, and the lease (None: it must not exist)."""

    ref: str
    new: str
    expected: str | None


@dataclass(frozen=True, slots=True)
class PushPlan:
    """`updates` go into one atomic push; `settled` tags are there already; `moved` name a tag and the commit found."""

    updates: tuple[RefUpdate, ...]
    settled: tuple[str, ...]
    moved: tuple[tuple[str, str], ...]


def plan_push(
    branch: str,
    branch_at: str | None,
    tags_at: Mapping[str, TagAt],
    wanted: Sequence[Wanted],
    *,
    head: str | None = None,
) -> PushPlan:
    """Plan the push of `wanted` (in order; the last new one becomes `branch`'s commit).

    `branch` is a short name, `branch_at` the commit it is believed to be at (None: it does not exist). `tags_at` holds
    the mirror's tags as far as they are known. A branch that would not change is not pushed; with nothing new, the branch
    is left alone, or created at the last settled release when the mirror has none.
    """
    moved = tuple((w.name, tags_at[w.name].commit or tags_at[w.name].object) for w in wanted if _moved(w, tags_at))
    settled = [w for w in wanted if w.name in tags_at and not _moved(w, tags_at)]
    new = [w for w in wanted if w.name not in tags_at]
    tip = head or _tip(branch_at, new, settled)
    updates = [RefUpdate(f"refs/tags/{w.name}", w.object, None) for w in new]
    if tip and tip != branch_at:
        updates.insert(0, RefUpdate(f"refs/heads/{branch}", tip, branch_at))
    return PushPlan(tuple(updates), tuple(w.name for w in settled), moved)


def _moved(wanted: Wanted, tags_at: Mapping[str, TagAt]) -> bool:
    found = tags_at.get(wanted.name)
    return found is not None and found.commit != wanted.commit


def _tip(branch_at: str | None, new: Sequence[Wanted], settled: Sequence[Wanted]) -> str | None:
    if new:
        return new[-1].commit
    return settled[-1].commit if settled and branch_at is None else branch_at
