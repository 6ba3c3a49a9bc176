"""What the doors make of a git host that refuses: which error it is, and who is left alone for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.adapters.git_errors import LIMITED, is_surely_banned
from app.adapters.gitlab_login import GitLabLogin
from app.bootstrap_sources import clone_login, host_and_path
from app.config_models import Settings
from app.domain.errors import SyncError
from app.services.host_limits import MANY_OF_KNOWN, MANY_PATHS, HostLimits

if TYPE_CHECKING:
    from app.adapters.gitlab import GitLabApi

# What looked like a ban is one of a single path.
_REFUSED_HERE = {"rate_limited": "forbidden", "source_unreachable": "source_denied"}
# What looked like a bad token is no right to read one project (GitLab's lib/gitlab/auth.rb, can_read_project?).
_NO_ACCESS_HERE = {"token_expired": "forbidden"}
# Whether it is the token, GitLab did not say now.
_LATER = {"token_expired": LIMITED["mirror"], "source_denied": LIMITED["source"]}
_NO_ACCESS = (
    "GitLab knows the token: it answers 401 over git for a project that this token may not read; give it access"
)


class GitRefusals:
    """Hears of git's refusals. `limits`, `login` and `gitlab` give the doors' own, built when they are needed first."""

    def __init__(
        self, settings: Settings, limits: Callable[[], HostLimits], login: Callable[[], GitLabLogin],
        gitlab: Callable[[], GitLabApi],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._limits, self._login, self._gitlab = limits, login, gitlab

    def held(self, url: str, code: str) -> None:
        """Before git asks this host. Error: `code`. What all of GitLab has refused, credential() knows."""
        host, path = host_and_path(url)
        self._limits().check("git", host, code)
        if login := self._fingerprint(url):
            self._limits().check_login(host, path, login, code)

    def refused(self, url: str, error: SyncError) -> SyncError:
        """The login was not taken: leave what refused it alone, or a GitLab bans this address."""
        ours = is_gitlab(self._settings, url)
        try:
            if ours and not self._gitlab().is_token_known():
                return self._login().refused(SyncError("token_expired", error.message))
        except SyncError as later:
            return SyncError(_LATER.get(error.code, error.code), later.message, retry_after=later.retry_after)
        if login := self._fingerprint(url):
            most = MANY_OF_KNOWN if ours else MANY_PATHS
            self._limits().refused(*host_and_path(url), login, self._settings.gitlab.breaker_seconds, most=most)
        if not ours:
            return error
        self._login().worked()  # this may have been the one probe of a while
        return SyncError(_NO_ACCESS_HERE.get(error.code, error.code), f"{error.message} ({_NO_ACCESS})")

    def limited(self, url: str, error: SyncError) -> SyncError:
        """The host wants fewer of git's requests, whoever sends them, or seems to have banned this address (with a time)."""
        if error.retry_after is not None and not is_surely_banned(error):
            if not is_gitlab(self._settings, url):
                return error  # nobody to ask whether it is a ban: this run alone waits, the host is not held
            if not self._gitlab().is_banned():
                return SyncError(_REFUSED_HERE[error.code], error.message)
            self._limits().met("api", urlsplit(self._settings.gitlab.url).netloc, error)
        return self._limits().met("git", urlsplit(url).netloc, error)

    def _fingerprint(self, url: str) -> str | None:
        """What stands for the login that this URL is asked with; None: with none."""
        if not is_gitlab(self._settings, url):
            return clone_login(self._settings, url)
        from app.adapters.git import Credential

        gitlab = self._settings.gitlab
        return Credential(gitlab.username, gitlab.token).fingerprint(urlsplit(url).netloc)


def is_gitlab(settings: Settings, url: str) -> bool:
    """Whether this URL is one of the configured GitLab's."""
    return _host(url) == _host(settings.gitlab.url)


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
