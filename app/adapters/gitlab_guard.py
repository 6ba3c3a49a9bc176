"""What stands before each request to GitLab's API: the login's breaker, and the limit that the host told somebody."""

from __future__ import annotations

from app.adapters.gitlab_client import Guard
from app.domain.errors import SyncError
from app.services.host_limits import HostLimits


class ApiGuard:
    """gitlab_client.Guard out of both. A 429 without Retry-After is of one kind of request, and holds nobody else off."""

    def __init__(self, login: Guard, limits: HostLimits, host: str) -> None:
        self._login, self._limits, self._host = login, limits, host

    def check(self) -> None:
        """See Guard. Errors: token_expired, rate_limited."""
        # First: the login's check may be the one probe of a while, and is spent on a request that is sent.
        self._limits.check("api", self._host, "rate_limited")
        self._login.check()

    def refused(self, error: SyncError) -> SyncError:
        """See Guard."""
        if error.code != "rate_limited":
            return self._login.refused(error)
        return self._limits.met("api", self._host, error) if error.retry_after else error

    def worked(self) -> None:
        """See Guard."""
        self._login.worked()
