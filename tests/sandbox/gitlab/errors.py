"""GitLab's refusals, in its own words."""

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """An answer of the API that is not a success: status, JSON body, extra headers."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body, self.headers = status, body, dict(headers or {})


class BannedError(Exception):
    """What Rack::Attack answers before GitLab sees the request: 403 `Forbidden` in plain text."""


class GitError(Exception):
    """A refusal of git over HTTP: status and text body."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status, self.text = status, text


def not_found(what: str) -> ApiError:
    return ApiError(404, {"message": f"404 {what} Not Found"})


def forbidden(reason: str = "") -> ApiError:
    return ApiError(403, {"message": f"403 Forbidden{f' - {reason}' if reason else ''}"})


def unauthorized() -> ApiError:
    return ApiError(401, {"message": "401 Unauthorized"})


def bad_parameter(text: str) -> ApiError:
    """A parameter that the API's own declaration refuses, before any model sees it."""
    return ApiError(400, {"error": text})


def invalid(**messages: list[str]) -> ApiError:
    """A model's validation errors, by attribute."""
    return ApiError(400, {"message": messages})


def base_error(text: str) -> ApiError:
    """A pipeline that cannot be created."""
    return ApiError(400, {"message": {"base": [text]}})
