"""The clock and chance of the machine."""

from __future__ import annotations

import os
import random
import secrets
import time
from datetime import UTC, datetime


class SystemClock:
    """Clock by the machine's time."""

    def now(self) -> datetime:
        """See ports.Clock."""
        return datetime.now(UTC)

    def chance(self) -> float:
        """See ports.Clock."""
        return random.random()  # noqa: S311 - spreads retries, protects nothing

    def wait(self, seconds: float) -> None:
        """See ports.WaitingClock."""
        time.sleep(seconds)


_WORD = 8  # bytes
_words: list[int] = []  # drawn from the system, not used yet


def random_bits(bits: int) -> int:
    """Unpredictable bits for ids, at most 64; each is used once, in one process."""
    try:
        word = _words.pop()
    except IndexError:
        # The system is asked for many at once: each time other threads take the interpreter from this one.
        drawn = secrets.token_bytes(64 * _WORD)
        word, *rest = (int.from_bytes(drawn[at : at + _WORD]) for at in range(0, len(drawn), _WORD))
        _words.extend(rest)
    return word >> (64 - bits)


os.register_at_fork(after_in_child=_words.clear)


def random_secret() -> str:
    """43 characters of base64url: 256 bits that nobody can guess."""
    return secrets.token_urlsafe(32)
