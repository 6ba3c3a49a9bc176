"""The settings as texts by dotted key, for people and for the record; a secret's value is never in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from app.config_models import Settings

# What tells of the file and not of what it says.
_ASIDE = ("origins", "warnings")


def flat(settings: Settings) -> Iterator[tuple[str, str]]:
    """(dotted key, value as text) of every setting."""
    for key, value in leaves(settings):
        yield key, text_of(value, settings.origins.get(key))


def leaves(settings: Settings) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every setting; secrets are SecretStr, and URLs may hold passwords."""
    for name in type(settings).model_fields:
        if name not in _ASIDE:
            yield from _leaves(getattr(settings, name), name)


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _leaves(getattr(value, name), f"{key}.{name}")
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for item in value:
            yield from _leaves(item, f"{key}[{_label(item)}]")
    else:
        yield key, value


def _label(item: BaseModel) -> str:
    return next(str(getattr(item, name)) for name in ("name", "id", "modules") if hasattr(item, name))


def text_of(value: Any, origin: str | None) -> str:
    """A value for people; `origin` says where it comes from."""
    if isinstance(value, SecretStr):
        return f"(set from {origin})"
    if value is None:
        return "(not set)"
    return without_password(plain_text(value)) + (f"  (from {origin})" if origin else "")


def plain_text(value: Any) -> str:
    """The value as JSON text, passwords in URLs included."""
    plain = [str(item) for item in value] if isinstance(value, tuple) else value
    return json.dumps(str(plain) if isinstance(plain, Path) else plain, ensure_ascii=False)


def without_password(text: str) -> str:
    """A URL with its password hidden; also where the password holds an @ or a query names one."""
    text = re.sub(r"(://[^/@:\s]*:)\S*@", r"\1***@", text)
    return re.sub(r"([?&](?:password|passwd|pwd|token|secret)=)[^&\s\"]*", r"\1***", text, flags=re.IGNORECASE)
