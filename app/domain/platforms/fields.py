"""Typed reading of a payload; every refusal is `invalid_payload` and names the field by its place (`release.tag_name`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from app.domain.errors import SyncError
from app.domain.rules import RuleBroken

REF_LIMIT = 1000
MODULE_LIMIT = 500
VERSION_LIMIT = 200
URL_LIMIT = 2000
ID_LIMIT = 200

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ILLEGAL_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|[./]\Z|\A[/.-]|\A@\Z")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SCP_LIKE = re.compile(r"[\w.-]+@[\w.-]+:[^\s]+")

T = TypeVar("T")


def invalid(field: str, problem: str) -> SyncError:
    """The error for a field that is missing or illegal."""
    return SyncError("invalid_payload", f"{field}: {problem}", field=field)


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object and its place in the payload ("" is the top)."""

    values: Mapping[str, Any]
    at: str = ""

    def name(self, key: str) -> str:
        """Where `key` stands, as errors name it."""
        return f"{self.at}.{key}" if self.at else key

    def text(self, key: str, limit: int) -> str:
        """A string of 1 to `limit` printable characters."""
        value = self.values.get(key)
        if value is None:
            raise invalid(self.name(key), "is missing")
        return _checked_text(value, self.name(key), limit)

    def free_text(self, key: str) -> str:
        """A name that people at the platform chose, as long and as odd as git takes it.

        Refused is only what no name of git's can hold: control characters, and half of a surrogate pair.
        """
        value = self.values.get(key)
        if value is None:
            raise invalid(self.name(key), "is missing")
        return _checked_name(value, self.name(key))

    def optional(self, key: str, limit: int) -> str | None:
        """The same where null and absent mean None."""
        return None if self.values.get(key) is None else self.text(key, limit)

    def flag(self, key: str) -> bool:
        """A boolean; absent and null are False."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise invalid(self.name(key), "is not true or false")
        return bool(value)

    def object(self, key: str) -> Fields:
        """An object that must be there."""
        value = self.values.get(key)
        if value is None:
            raise invalid(self.name(key), "is missing")
        if not isinstance(value, dict):
            raise invalid(self.name(key), "is not an object")
        return Fields(value, self.name(key))

    def objects(self, key: str, limit: int) -> list[Fields]:
        """A list of 1 to `limit` objects."""
        values = self.values.get(key)
        if not isinstance(values, list) or not 1 <= len(values) <= limit:
            raise invalid(self.name(key), f"is not a list of 1 to {limit} objects")
        places = [f"{self.name(key)}[{number}]" for number in range(len(values))]
        for place, value in zip(places, values, strict=True):
            if not isinstance(value, dict):
                raise invalid(place, "is not an object")
        return [Fields(value, place) for place, value in zip(places, values, strict=True)]

    def maybe(self, key: str) -> Fields | None:
        """An object where null and absent mean None."""
        return None if self.values.get(key) is None else self.object(key)

    def commit(self, key: str) -> str:
        """A full commit id in lower case."""
        return sha(self.text(key, 64), self.name(key))

    def url(self, key: str) -> str | None:
        """A clone URL without a password, or None; which hosts are allowed is the source's allow-list to say."""
        text = self.optional(key, URL_LIMIT)
        return text and clone_url(text, self.name(key))


def _checked_text(value: Any, field: str, limit: int) -> str:
    if not isinstance(value, str):
        raise invalid(field, "is not a string")
    if not value:
        raise invalid(field, "is empty")
    if len(value) > limit:
        raise invalid(field, f"is longer than {limit} characters")
    if not value.isprintable():
        raise invalid(field, "has a control character or another that cannot be printed")
    return value


def _checked_name(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise invalid(field, "is not a string")
    if not value:
        raise invalid(field, "is empty")
    if _NOT_IN_NAMES.search(value):
        raise invalid(field, "has a control character")
    return value


def sha(text: str, field: str) -> str:
    """A full commit id (SHA-1 or SHA-256) in lower case; all zeros is git's "no commit"."""
    lowered = text.lower()
    if not _SHA.fullmatch(lowered):
        raise invalid(field, "is not a full commit id of 40 or 64 hexadecimal digits")
    if not lowered.strip("0"):
        raise invalid(field, "is all zeros, which names no commit")
    return lowered


def clone_url(text: str, field: str) -> str:
    """`scheme://host/path` or `user@host:path`; a password in it would end up in logs and is refused."""
    if _SCP_LIKE.fullmatch(text):
        return text
    try:
        parts = urlsplit(text)
        host, password, _ = parts.hostname, parts.password, parts.port
    except ValueError:
        raise invalid(field, "is not a URL") from None
    if not (parts.scheme and host) or " " in text:
        raise invalid(field, "is not a URL with a scheme and a host")
    if password is not None:
        raise invalid(field, "must not carry a password")
    return text


def by_rule(field: str, parse: Callable[[str], T], text: str) -> T:
    """`parse(text)`, its broken Go rule told as an error of this field."""
    try:
        return parse(text)
    except RuleBroken as broken:
        raise invalid(field, f"{broken.message} ({broken.rule})") from None


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch's or tag's short name; `is_tag` is None when the text did not say which."""

    name: str
    is_tag: bool | None


def parse_ref(text: str, field: str) -> Ref:
    """`refs/tags/x`, `refs/heads/x` or a short name, by the rules of `git check-ref-format`."""
    if _ILLEGAL_REF.search(text):
        raise invalid(field, "is not a legal git ref name")
    for prefix, is_tag in (("refs/tags/", True), ("refs/heads/", False)):
        if text.startswith(prefix):
            return Ref(text.removeprefix(prefix), is_tag)
    if text.startswith("refs/"):
        raise invalid(field, "names neither a branch nor a tag")
    return Ref(text, None)
