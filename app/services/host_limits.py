"""A host that answered "too many requests", or did not take a clone token, is left alone by everybody for a while, not only
by the run that heard it.
"""

from __future__ import annotations

from typing import Protocol

from app.domain.errors import SyncError

UNKNOWN_SECONDS = 15.0  # git does not say what Retry-After was
LONGEST_SECONDS = 600.0  # whatever a host says: one wrong header must not stop all runs for a day
# A login that so many repositories refused is left alone. GitLab bans an address after 30 in 3 minutes, one that was
# set up by hand after 10 in one (git_basic_auth of its config/initializers/1_settings.rb).
MANY_PATHS = 5
MANY_OF_KNOWN = 8  # where the host itself said that it knows the login: all others would wait for those
_BAN_WINDOW = 180.0  # seconds in which it counts them


class Holds(Protocol):
    """Where processes share whom they leave alone; never fails itself."""

    def wait(self, name: str) -> float:
        """For how many seconds more; 0 when it may be asked."""
        ...

    def hold(self, name: str, seconds: float) -> None:
        """Leave it alone for so long, or for as long as was said before where that is longer."""
        ...

    def count(self, name: str, member: str, seconds: float) -> int:
        """How many different members, this one with them, `name` got since its first one; that ends after `seconds`."""
        ...


class HostLimits:
    """What is limited is counted by the host for its API and for git apart, so it is held apart, too."""

    def __init__(self, holds: Holds) -> None:
        self._holds = holds

    def check(self, what: str, host: str, code: str) -> None:
        """Before a request for `what` ("api", "git"). Error: `code`, with the time to come back."""
        left = self._holds.wait(f"{what}:{host}")
        if left > 0:
            said = f"{host} asked for fewer requests ({what}) and is left alone for {left:.0f} s more"
            raise SyncError(code, said, retry_after=left)

    def met(self, what: str, host: str, error: SyncError) -> SyncError:
        """After such an answer: everybody waits; the error with the time to come back."""
        seconds = min(error.retry_after or UNKNOWN_SECONDS, LONGEST_SECONDS)
        self._holds.hold(f"{what}:{host}", seconds)
        return SyncError(error.code, error.message, retry_after=error.retry_after or seconds, facts=error.facts)

    def check_login(self, host: str, path: str, login: str, code: str) -> None:
        """Before git asks with a login, which `login` stands for without giving it away. Error: as check()."""
        for place in ("", path):
            left = self._holds.wait(_login(host, login, place))
            if left > 0:
                said = f"{host}{place} refused the token for git, with which it is left alone for {left:.0f} s more"
                raise SyncError(code, said, retry_after=left)

    def refused(self, host: str, path: str, login: str, seconds: float, *, most: int = MANY_PATHS) -> None:
        """The host did not take this login: many more of it, and a GitLab bans this address.

        A token may be good for other repositories (a GitLab answers 401 for each that a group's token does not reach): the
        whole host is left alone when `most` have refused it within `seconds`, three minutes at least.
        """
        seconds = max(seconds, _BAN_WINDOW)
        self._holds.hold(_login(host, login, path), seconds)
        if self._holds.count(_login(host, login, "*"), path, seconds) >= most:
            self._holds.hold(_login(host, login), seconds)


def _login(host: str, login: str, path: str = "") -> str:
    return f"git:{host}#{login}{path}"
