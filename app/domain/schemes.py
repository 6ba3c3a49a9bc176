"""How each platform signs a webhook: what its headers claim, and which bytes the right secret would have given.

A :class:`Scheme` is a value of small pure functions; :func:`app.domain.webhook.verify` compares. Sources: the article
(chapter 4.4), GitHub "Validating webhook deliveries", Gitea and Forgejo "Webhooks", GitLab "Webhooks" (secret token;
signing token from 19.0), the Standard Webhooks specification, JFrog "Webhooks" (signing).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

_HEADER_LIMIT = 8192  # characters; the longest honest header here has a few hundred
_SIGNATURES_LIMIT = 16  # in one standard-webhooks header: more than any rotation needs
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_UNIX_TIME = re.compile(r"[0-9]{1,11}")
_DELIVERY = re.compile(r"[!-~]{1,200}")


class Headers(dict[str, str]):
    """Header names in lower case -> value."""


def lower_case(headers: Mapping[str, str]) -> Headers:
    """The headers with their names in lower case; the same object where it has them so already."""
    if isinstance(headers, Headers):
        return headers
    return Headers({name.lower(): value for name, value in headers.items()})


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of its own signature; nothing of it is proven yet.

    `signatures`: 32 bytes each. `prefix`: signed bytes before the body. `timestamp`: Unix seconds, where one is signed.
    `problem`: `missing` or `malformed`; the claim then has no signature.
    """

    signatures: tuple[bytes, ...] = ()
    prefix: bytes = b""
    delivery_key: str | None = None
    timestamp: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to sign: `claim` reads the headers, `expected` is the signature that a key would make.

    `keys`: what a secret's text may stand for, the likeliest first; none when it stands for nothing.
    `form`: bodies may be form-encoded. `signs_delivery`: the delivery id is part of what is signed.
    """

    name: str
    claim: Callable[[Headers], Claim]
    expected: Callable[[bytes, Claim, bytes], bytes]
    keys: Callable[[bytes], tuple[bytes, ...]]
    form: bool = False
    signs_delivery: bool = False


def _header(headers: Headers, name: str) -> str:
    """The header's value, "" when it is not there."""
    return headers.get(name, "").strip(" \t")


def _delivery(headers: Headers, *names: str) -> str | None:
    """The first legal delivery id; an illegal one counts as none, for it is only a hint."""
    values = (_header(headers, name) for name in names)
    return next((value for value in values if _DELIVERY.fullmatch(value)), None)


def _hex_claim(headers: Headers, named: Mapping[str, str], delivery: tuple[str, ...]) -> Claim:
    """Signatures from headers (name -> text before the hex) that hold one hex digest each."""
    values = [(_header(headers, name), before) for name, before in named.items()]
    sent = [(value, before) for value, before in values if value]
    if not sent:
        return Claim(problem="missing")
    digests = tuple(digest for value, before in sent if (digest := _hex_digest(value, before)))
    if not digests:
        return Claim(problem="malformed")
    return Claim(digests, delivery_key=_delivery(headers, *delivery))


def _hex_digest(value: str, before: str) -> bytes | None:
    """32 bytes out of `before` + 64 hex digits; None for anything else."""
    digits = value.removeprefix(before)
    if not value.startswith(before) or not _HEX.fullmatch(digits):
        return None
    return bytes.fromhex(digits)


def _hmac_body(key: bytes, claim: Claim, raw: bytes) -> bytes:
    """HMAC-SHA256 over the prefix (mostly empty) and the raw body."""
    return hmac.digest(key, claim.prefix + raw, "sha256")


def _plain_key(secret: bytes) -> tuple[bytes, ...]:
    return (secret,) if secret else ()  # an empty key is one that anybody knows


# --- article, GitHub, Gitea, Forgejo, Artifactory: one hex digest in a header -------------------------------------


def _article(headers: Headers) -> Claim:
    return _hex_claim(headers, {"x-gitlab-token": "sha256=", "x-hub-signature-256": "sha256="}, ())


def _github(headers: Headers) -> Claim:
    return _hex_claim(headers, {"x-hub-signature-256": "sha256="}, ("x-github-delivery",))


def _gitea_like(headers: Headers) -> Claim:
    """Theirs first: both send GitHub's headers too, and Forgejo also Gitea's."""
    delivery = ("x-forgejo-delivery", "x-gitea-delivery", "x-github-delivery")
    for name in ("x-forgejo-signature", "x-gitea-signature"):
        if _header(headers, name):
            return _hex_claim(headers, {name: ""}, delivery)
    return _hex_claim(headers, {"x-hub-signature-256": "sha256="}, delivery)


def _artifactory(headers: Headers) -> Claim:
    return _hex_claim(headers, {"x-jfrog-event-auth": ""}, ())


# --- GitLab's plain secret token ----------------------------------------------------------------------------------


def _gitlab_token(headers: Headers) -> Claim:
    token = _header(headers, "x-gitlab-token")
    if not token:
        return Claim(problem="missing")
    if len(token) > _HEADER_LIMIT:
        return Claim(problem="malformed")
    delivery = _delivery(headers, "idempotency-key", "webhook-id")
    # hashed, so that the comparison takes the same time for every length
    return Claim((hashlib.sha256(_bytes_of_header(token)).digest(),), delivery_key=delivery)


def _bytes_of_header(value: str) -> bytes:
    """WSGI gives header bytes as Latin-1 text; these are the bytes again (and never an exception)."""
    return value.encode("latin-1", "backslashreplace")


def _token_hash(key: bytes, claim: Claim, raw: bytes) -> bytes:
    """sha256 of the secret; the body is hashed too, so that this source costs what every other one costs."""
    _hmac_body(key, claim, raw)
    return hashlib.sha256(key).digest()


# --- Standard Webhooks (Svix; GitLab 19.0 and newer) --------------------------------------------------------------


def _standard(headers: Headers) -> Claim:
    # Svix' server names its headers after itself, if it is not told otherwise; never some of one family, some of the other.
    family = "webhook" if _header(headers, "webhook-signature") else "svix"
    delivery, timestamp, signatures = (
        _header(headers, f"{family}-{name}") for name in ("id", "timestamp", "signature")
    )
    if not (delivery and timestamp and signatures):
        return Claim(problem="missing")
    digests = _standard_digests(signatures)
    if not digests or not _DELIVERY.fullmatch(delivery) or not _UNIX_TIME.fullmatch(timestamp):
        return Claim(problem="malformed")
    # An id with a dot in it could be split otherwise, but then the body would start with a digit: not a JSON object.
    return Claim(digests, f"{delivery}.{timestamp}.".encode("ascii"), delivery, int(timestamp))


def _standard_digests(value: str) -> tuple[bytes, ...]:
    """The `v1,` items, other versions (`v1a,` is ed25519) left out; () when there is none or there are too many."""
    items = value.split(" ") if len(value) <= _HEADER_LIMIT else []
    if len(items) > _SIGNATURES_LIMIT:
        return ()
    decoded = (_base64(item.removeprefix("v1,")) for item in items if item.startswith("v1,"))
    return tuple(digest for digest in decoded if len(digest) == hashlib.sha256().digest_size)


def _whsec_keys(secret: bytes) -> tuple[bytes, ...]:
    """What is base64 decoded, with `whsec_` before it or without, as the official packages read it.

    Without the prefix it may also be a key that somebody chose, and signs with as it is.
    """
    text = secret.removeprefix(b"whsec_")
    readings = (_base64(text.decode("utf-8", "replace")), secret if text == secret else b"")
    return tuple(key for key in readings if key)


def _base64(text: str) -> bytes:
    """Standard base64, padding optional; b"" when it is anything else."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


_ALL = (
    Scheme("article", _article, _hmac_body, _plain_key),
    Scheme("github", _github, _hmac_body, _plain_key, form=True),
    Scheme("gitea", _gitea_like, _hmac_body, _plain_key),
    Scheme("forgejo", _gitea_like, _hmac_body, _plain_key),
    Scheme("gitlab-token", _gitlab_token, _token_hash, _plain_key),
    Scheme("standard-webhooks", _standard, _hmac_body, _whsec_keys, signs_delivery=True),
    Scheme("artifactory", _artifactory, _hmac_body, _plain_key),
)

SCHEMES: Mapping[str, Scheme] = MappingProxyType({scheme.name: scheme for scheme in _ALL})
"""Every scheme by the name that the configuration uses."""

UNKNOWN = Scheme("unknown", _article, _hmac_body, _plain_key)
"""Stands in for the scheme of a source that does not exist."""


def secret_problem(scheme: Scheme, key: bytes) -> str | None:
    """What is wrong with a configured secret, for `modsync config check`; None when it can be used."""
    if not key:
        return "the secret is empty"
    if not (keys := scheme.keys(key)):
        return "what follows whsec_ is not base64"
    if max(map(len, keys)) < 16:
        return "the secret is shorter than 16 bytes"
    return None
