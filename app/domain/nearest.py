"""What somebody may have meant by a name that is not known."""

from collections.abc import Collection
from difflib import get_close_matches


def nearest(name: str, known: Collection[str]) -> str:
    """A sentence that names the nearest known name, else all of them."""
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known) or 'none'}."
