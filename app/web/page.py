"""What all pages share: their blueprint, and how times, durations and commits are written."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, g, request
from markupsafe import Markup

from app.adapters.board_store import SqlBoardStore
from app.domain.access import Role
from app.domain.errors import SyncError
from app.services.answers import answers
from app.services.found import found
from app.services.words import duration, size
from app.web.context import container, principal
from app.web.orders import LONGEST_REASON, wrong

blueprint = Blueprint("pages", __name__)
PAGE = 50


def board() -> SqlBoardStore:
    """The reads that only pages need; cheap to make."""
    return SqlBoardStore(container().engine, container().clock)


def typed(names: Collection[str]) -> dict[str, str]:
    """The query's parameters of these names that are not empty, as they came: for a form that shows what is wrong with them."""
    return {name: text for name in names if (text := request.args.get(name, "").strip())}


def given(names: Collection[str]) -> dict[str, str]:
    """As typed(); others are left alone, for links may carry them.

    Error: bad_request (its field) for one that nobody can read.
    """
    found = typed(names)
    for name, text in found.items():
        if not text.isprintable():
            raise wrong(name, "must be a text that can be read")
    return found


def here(**changed: str | None) -> str:
    """This page's address with parameters changed; None leaves one out."""
    values = {**request.args.to_dict(), **changed}
    kept = {name: value for name, value in values.items() if value}
    return f"{request.path}?{urlencode(kept)}" if kept else request.path


blueprint.add_app_template_filter(found)
blueprint.add_app_template_filter(answers)


@blueprint.app_template_filter("when")
def when(moment: datetime | None, form: str = "full") -> Markup:
    """A <time> in UTC, which static/app.js turns into the reader's zone; `form` is full or clock. None: a dash."""
    if moment is None:
        return Markup("-")
    utc = moment.astimezone(UTC)
    text = utc.strftime("%H:%M:%S" if form == "clock" else "%Y-%m-%d %H:%M:%S UTC")
    stamp = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(stamp, form, text)


@blueprint.app_template_filter("took")
def took(seconds: float | None) -> str:
    """A duration in words; None: a dash."""
    return "-" if seconds is None else duration(seconds)


@blueprint.app_template_filter("size")
def bytes_in_words(count: int) -> str:
    """Bytes in words."""
    return size(count)


@blueprint.app_template_filter("plain")
def plain(value: Any) -> str:
    """A fact's value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, str | int | float):
        return "-" if value in (None, "") else str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


@blueprint.app_template_global("longest_reason")
def longest_reason() -> int:
    """How many characters a reason may have; macros see no other value that all pages share."""
    return LONGEST_REASON


@blueprint.app_template_test("weblink")
def is_weblink(value: object) -> bool:
    """True for what may be a link's target: never javascript: and the like, whatever GitLab or a payload says."""
    return isinstance(value, str) and value.startswith(("https://", "http://"))


@blueprint.app_context_processor
def shared() -> dict[str, Any]:
    """What each template may use."""
    role = principal().role if "principal" in g else None
    return {
        "known": role is not None, "here": here, "role": role, "may_do": bool(role and role.may(Role.OPERATOR)),
        "may_decide": bool(role and role.may(Role.ADMIN)),
    }  # fmt: skip


def missing(what: str, name: str) -> SyncError:
    """The error for an address that names nothing."""
    return SyncError("not_found", f"there is no {what} {name[:80]!r}")
