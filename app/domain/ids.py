"""Ids that people copy: runs, deliveries, and RQ jobs `<run>-<attempt>-<n>`.

RQ allows letters, digits, `_` and `-` in a job's id, so a run's id holds no `-`: a job's id can be taken apart
without asking Redis or the database (issue 2, point 3).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

# Crockford's base 32: no i, l, o, u, so that ids survive being read aloud.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RUN = re.compile(r"r[0-9a-hjkmnp-tv-z]{19}")
_DELIVERY = re.compile(r"d[0-9a-hjkmnp-tv-z]{19}")
_JOB = re.compile(rf"({_RUN.pattern})-([1-9][0-9]{{0,8}})-([1-9][0-9]{{0,8}})")

_CALL = re.compile(r"reconcile-([0-9a-f]{16})-([1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class JobId:
    """An RQ job's id: the run, its attempt (from 1) and the job's number within the attempt (from 1)."""

    run: str
    attempt: int
    number: int

    def __str__(self) -> str:
        return f"{self.run}-{self.attempt}-{self.number}"


@dataclass(frozen=True, slots=True)
class CallId:
    """An RQ job's id of a call that is no run's: a digest of its argument, and when it was given (seconds since 1970)."""

    digest: str
    given: int

    @classmethod
    def of(cls, argument: str, given: datetime) -> CallId:
        """The id of a call with this argument, given then."""
        return cls(hashlib.sha256(argument.encode()).hexdigest()[:16], int(given.timestamp()))

    def __str__(self) -> str:
        return f"reconcile-{self.digest}-{self.given}"


_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


def _base32(value: int) -> str:
    """The lowest 50 bits, as 10 characters."""
    return "".join([_PAIRS[value >> shift & 1023] for shift in (40, 30, 20, 10, 0)])


def make_id(prefix: str, unix_ms: int, randomness: int) -> str:
    """`prefix` + 9 characters of time + 10 of chance (50 bits): sortable by creation, unguessable enough to be unique."""
    return prefix + _base32(unix_ms)[1:] + _base32(randomness)


def run_of(text: str) -> str | None:
    """The run's id inside a run's or a job's id; None when `text` is neither."""
    if _RUN.fullmatch(text):
        return text
    job = parse_job_id(text)
    return job.run if job else None


def parse_job_id(text: str) -> JobId | None:
    """The parts of an RQ job's id; None when it is not one of ours."""
    match = _JOB.fullmatch(text)
    return JobId(match[1], int(match[2]), int(match[3])) if match else None


def parse_call_id(text: str) -> CallId | None:
    """The parts of a call's id; None when it is not one of ours."""
    match = _CALL.fullmatch(text)
    return CallId(match[1], int(match[2])) if match else None


def ids_in(text: str) -> dict[str, str]:
    """The ids that a run's, job's or delivery's id says: `run` and `job`, or `delivery`; {} for any other text."""
    if _DELIVERY.fullmatch(text):
        return {"delivery": text}
    run = run_of(text)
    if run is None:
        return {}
    return {"run": run} if run == text else {"run": run, "job": text}
