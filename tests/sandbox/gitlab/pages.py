"""Lists in pages: 20 by default, 100 at most, with GitLab's headers."""

from collections.abc import Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from flask import Response, jsonify, request

from tests.sandbox.gitlab.errors import bad_parameter
from tests.sandbox.gitlab.request import world

Item = TypeVar("Item")
_DEFAULT, _MOST = 20, 100


def page_of(items: Sequence[Item]) -> tuple[list[Item], dict[str, str]]:
    """The page that the request asks for, and its headers; no totals for a list above the instance's limit."""
    page, size = _number("page", 1), min(_number("per_page", _DEFAULT), _MOST)
    last = max(1, -(-len(items) // size))
    counted = len(items) <= world().settings.totals_limit
    headers = {
        "X-Page": str(page),
        "X-Per-Page": str(size),
        "X-Next-Page": str(page + 1) if page < last else "",
        "X-Prev-Page": str(page - 1) if page > 1 else "",
        "Link": _link(page, size, last, counted),
    }
    if counted:
        headers |= {"X-Total": str(len(items)), "X-Total-Pages": str(last)}
    return list(items[(page - 1) * size : page * size]), headers


def answer(items: Sequence[Any], view: Any) -> Response:
    """A page of `items`, each shown by `view`."""
    shown, headers = page_of(items)
    response = jsonify([view(item) for item in shown])
    response.headers.update(headers)
    return response


def _number(name: str, default: int) -> int:
    text = request.args.get(name) or str(default)
    if not text.isdecimal():
        raise bad_parameter(f"{name} is invalid")
    if int(text) < 1:
        raise bad_parameter(f"{name} does not have a valid value")
    return int(text)


def _link(page: int, size: int, last: int, counted: bool) -> str:
    targets = {"prev": page - 1 if page > 1 else 0, "next": page + 1 if page < last else 0, "first": 1}
    if counted:
        targets["last"] = last
    return ", ".join(f'<{_address(number, size)}>; rel="{rel}"' for rel, number in targets.items() if number)


def _address(page: int, size: int) -> str:
    raw = str(request.environ.get("RAW_URI", request.path)).partition("?")[0]
    query = {**request.args.to_dict(), "page": str(page), "per_page": str(size)}
    query.pop("private_token", None)
    return f"{world().url}{raw}?{urlencode(query)}"
