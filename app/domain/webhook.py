"""Is this request signed by the source it names? Raw bytes in, :class:`VerifiedBody` out, then its JSON; no clock, no I/O.

Every refusal is the same error with the same message, and costs the same work whether the source exists or not
(:func:`work_of`), so that nobody learns from outside which sources there are or what was wrong.
"""

from __future__ import annotations

import hmac
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from app.domain.errors import SyncError
from app.domain.schemes import SCHEMES, UNKNOWN, Claim, Headers, Scheme, lower_case

__all__ = [
    "SCHEMES",
    "TOLERANCE",
    "BadSignatureError",
    "Headers",
    "Scheme",
    "Secret",
    "VerifiedBody",
    "decode",
    "lower_case",
    "parse_object",
    "verify",
    "verify_unknown",
    "work_of",
]

TOLERANCE = timedelta(minutes=5)
"""How far a signed time may lie from ours, either way (the Standard Webhooks specification's value)."""

_LEAST_WORK = 3  # HMACs for every request: secrets may come and go, up to so many, and no request takes longer
_FORM = "application/x-www-form-urlencoded"
_DEPTH_LIMIT = 64  # nested arrays and objects; platforms' own events have about six
_NUMBER_LIMIT = 100  # digits


class BadSignatureError(SyncError):
    """`bad_signature`; `reason` is for metrics only and never for the sender: missing, malformed, no_secret, mismatch, stale.

    `skew` is the sender's clock minus ours, where the signature was right and only its time was not.
    """

    def __init__(self, reason: str, skew: timedelta | None = None) -> None:
        super().__init__("bad_signature", "the request is not signed with a secret of this source")
        self.reason = reason
        self.skew = skew


@dataclass(frozen=True, slots=True)
class Secret:
    """One live secret of a source; `key` as the platform shows it (`whsec_...` included), in UTF-8."""

    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedBody:
    """A body whose sender is proven, and by which secret.

    `delivery_key` is the platform's id of the delivery; only when `delivery_signed` nobody else can have changed it.
    `signed_at`: the signed time (UTC), None where the scheme signs none; `skew`: that time minus ours.
    """

    raw: bytes = field(repr=False)
    scheme: str
    secret_id: str
    delivery_key: str | None = None
    signed_at: datetime | None = None
    delivery_signed: bool = False
    skew: timedelta | None = None


def work_of(sources: Iterable[tuple[Scheme, Sequence[Secret]]]) -> int:
    """How many HMACs each request has to cost: those of the source with the most keys."""
    return max((len(_keys(scheme, secrets)) for scheme, secrets in sources), default=0)


def verify(
    scheme: Scheme, secrets: Sequence[Secret], headers: Mapping[str, str], raw: bytes, now: datetime, work: int = 0
) -> VerifiedBody:
    """The body, if one of `secrets` signed it; BadSignatureError, and nothing else, if not. `now` is aware.

    `work`: the HMACs that it costs at least.
    """
    claim = scheme.claim(lower_case(headers))
    matched = _matching(_keys(scheme, secrets), scheme, claim, raw, max(work, _LEAST_WORK))
    if claim.problem or not secrets or matched is None:
        raise BadSignatureError(claim.problem or ("mismatch" if secrets else "no_secret"))
    signed_at, skew = _signed_time(claim, now)
    return VerifiedBody(raw, scheme.name, matched.id, claim.delivery_key, signed_at, scheme.signs_delivery, skew)


def verify_unknown(headers: Mapping[str, str], raw: bytes, now: datetime, work: int = 0) -> NoReturn:
    """Refuse a request to a source that does not exist, after the same work as for one that does."""
    verify(UNKNOWN, (), headers, raw, now, work)
    raise AssertionError("unreachable: there is no secret to match")


def _keys(scheme: Scheme, secrets: Sequence[Secret]) -> list[tuple[Secret, bytes]]:
    return [(secret, key) for secret in secrets for key in scheme.keys(secret.key)]


def _matching(
    keys: Sequence[tuple[Secret, bytes]], scheme: Scheme, claim: Claim, raw: bytes, work: int
) -> Secret | None:
    """The first secret that made one of the claimed signatures; every key is tried, none ends the search early."""
    found: Secret | None = None
    for index in range(max(len(keys), work)):
        secret, key = keys[index] if index < len(keys) else (None, b"\0")
        expected = scheme.expected(key, claim, raw)
        hits = [hmac.compare_digest(expected, signature) for signature in claim.signatures]
        # without a secret the work is done, the match never counts
        if any(hits) and secret and found is None:
            found = secret
    return found


def _signed_time(claim: Claim, now: datetime) -> tuple[datetime | None, timedelta | None]:
    """The signed time and its distance from ours; BadSignatureError `stale` beyond the tolerance."""
    if claim.timestamp is None:
        return None, None
    skew = timedelta(seconds=claim.timestamp - now.timestamp())
    if abs(skew) > TOLERANCE:
        raise BadSignatureError("stale", skew)
    return datetime.fromtimestamp(claim.timestamp, UTC), skew


def decode(verified: VerifiedBody, content_type: str) -> dict[str, Any]:
    """The body's JSON object; SyncError `invalid_payload` with `field` (`body`, `payload` or the key that stands twice).

    GitHub's default is a form whose field `payload` holds the JSON. Of any other scheme, and where the body starts as
    an object (`curl -d` says "form" of everything), the content type does not matter.
    """
    scheme = SCHEMES.get(verified.scheme, UNKNOWN)
    is_form = content_type.partition(";")[0].strip().lower() == _FORM and not verified.raw.lstrip().startswith(b"{")
    if scheme.form and is_form:
        return parse_object(_form_payload(verified.raw), "payload")
    return parse_object(_text(verified.raw), "body")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("body", "the body is not UTF-8") from None


def _form_payload(raw: bytes) -> str:
    """The one field `payload` of a form; GitHub sends no other."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), strict_parsing=True, errors="strict", max_num_fields=8)
    except ValueError:
        raise _invalid("body", "the body is not a form in UTF-8") from None
    values = [value for name, value in pairs if name == "payload"]
    if len(values) != 1:
        raise _invalid("payload", "the form must have exactly one field 'payload'")
    return values[0]


def parse_object(text: str, field: str) -> dict[str, Any]:
    """A JSON object without duplicate keys, NaN, huge numbers or deep nesting; SyncError `invalid_payload` names `field`."""
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=_int, parse_float=_float, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise _invalid(field, f"the {field} is not JSON that modsync reads") from None
    if not isinstance(value, dict):
        raise _invalid(field, f"the {field} is not a JSON object")
    # so few brackets cannot nest deeper: spares the walk for a release's small body
    if text.count("{") + text.count("[") > _DEPTH_LIMIT and _depth(value) > _DEPTH_LIMIT:
        raise _invalid(field, f"the {field} nests deeper than {_DEPTH_LIMIT} levels")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys stand once each: with two `commit_id` nobody can say which one was meant."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
    raise _invalid(ascii(twice)[1:-1][:100], "a key stands twice in one object")


def _int(digits: str) -> int:
    if len(digits) > _NUMBER_LIMIT:
        raise ValueError("too many digits")
    return int(digits)


def _float(digits: str) -> float:
    """A finite number: JSON that we write again must stay JSON."""
    value = float(digits if len(digits) <= _NUMBER_LIMIT else "nan")
    if not math.isfinite(value):
        raise ValueError("out of range")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    """Levels of nesting, level by level: recursion is what deep bodies are sent to exhaust."""
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        level = [child for item in level for child in _children(item)]
    return depth


def _children(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return (child for child in inner if isinstance(child, dict | list))


def _invalid(field: str, message: str) -> SyncError:
    return SyncError("invalid_payload", message, field=field)
