"""Who is calling: tokens, scopes, expiry, and the ban for those who keep failing."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.sandbox.gitlab.errors import ApiError
from tests.sandbox.gitlab.model import Project, Token, User
from tests.sandbox.gitlab.world import World

READ, WRITE = ("api", "read_api"), ("api",)


@dataclass(frozen=True)
class Caller:
    """One request's caller; no user means that no token was sent."""

    user: User | None = None
    token: Token | None = None

    def allows(self, scopes: Collection[str]) -> bool:
        return self.token is not None and bool(set(scopes) & set(self.token.scopes))

    def need(self, scopes: Collection[str]) -> None:
        """Raise GitLab's 403 when the token has none of these scopes."""
        if self.token is not None and not self.allows(scopes):
            raise ApiError(
                403,
                {
                    "error": "insufficient_scope",
                    "error_description": "The request requires higher privileges than provided by the access token.",
                    "scope": " ".join(scopes),
                },
            )


class Doorkeeper:
    """Checks tokens and counts failures by address."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._failures: dict[str, list[datetime]] = defaultdict(list)
        self._banned: dict[str, datetime] = {}

    def banned(self, address: str) -> bool:
        with self._world.lock:
            return self._banned.get(address, self._world.clock()) > self._world.clock()

    def api_caller(self, secret: str | None, address: str) -> Caller:
        """The caller of an API request. Raises ApiError 401 for a token that is unknown, expired or revoked."""
        if not secret:
            return Caller()
        token = self._world.tokens.get(secret)
        reason = self._reason(token)
        if token is None or reason:
            self._failed(address)
            raise ApiError(401, reason or {"message": "401 Unauthorized"})
        if self._world.settings.old_ban:
            self._failures.pop(address, None)
        return Caller(token.user, token)

    def git_caller(self, secret: str | None, address: str, project: Project | None) -> Caller | None:
        """The caller of a git request; None for a bad token, a Caller without user for none at all.

        A bot's token is a bad one for a project that the bot may not read, and counts as a failed login.
        """
        token = self._world.tokens.get(secret or "")
        if token and token.bot and project and not self._world.can_see(token.user, project):
            self._failed(address)
            return None
        try:
            caller = self.api_caller(secret, address)
        except ApiError:
            return None
        if caller.user:
            self._failures.pop(address, None)
        return caller

    def _reason(self, token: Token | None) -> dict[str, str] | None:
        """Why a known token does not count any more."""
        if token is None:
            return None
        if token.revoked:
            text = "Token was revoked. You have to re-authorize from the user."
        elif token.expires_at is not None and token.expires_at <= self._world.clock().date():
            text = "Token is expired. You can either do re-authorization or token refresh."
        else:
            return None
        return {"error": "invalid_token", "error_description": text}

    def _failed(self, address: str) -> None:
        settings, now = self._world.settings, self._world.clock()
        with self._world.lock:
            recent = [at for at in self._failures[address] if now - at < timedelta(seconds=settings.failed_seconds)]
            self._failures[address] = [*recent, now]
            if len(recent) + 1 >= settings.failed_logins:
                self._banned[address] = now + timedelta(seconds=settings.ban_seconds)
                self._failures.pop(address)


def secret_of_api(headers: dict[str, str], query: dict[str, str]) -> str | None:
    """The token of an API request: PRIVATE-TOKEN, a Bearer, or the query's private_token."""
    bearer = headers.get("authorization", "")
    if bearer.lower().startswith("bearer "):
        return bearer[7:].strip()
    return headers.get("private-token") or query.get("private_token")


def secret_of_git(authorization: str) -> str | None:
    """The token of a git request: the password of Basic, whatever the user's name."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
