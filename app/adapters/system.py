"""The clock and chance of the machine."""

from __future__ import annotations

import random
import secrets
from datetime import UTC, datetime


class SystemClock:
    """Clock by the machine's time."""

    def now(self) -> datetime:
        """See ports.Clock."""
        return datetime.now(UTC)

    def chance(self) -> float:
        """See ports.Clock."""
        return random.random()  # noqa: S311 - spreads retries, protects nothing


def random_bits(bits: int) -> int:
    """Unpredictable bits for ids."""
    return secrets.randbits(bits)


def random_secret() -> str:
    """43 characters of base64url: 256 bits that nobody can guess."""
    return secrets.token_urlsafe(32)
