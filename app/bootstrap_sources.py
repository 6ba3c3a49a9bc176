"""What the doors make of sources: logins, a registry's options, and what `go` makes of a source's files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.config_models import Settings
from app.domain.errors import SyncError
from app.domain.modules import RuleBroken
from app.domain.urls import CloneUrl, whose
from app.services.checksum import ModuleSums, SourceUnreadable, module_sums
from app.services.ports import SourceCopy
from app.services.stages.mirror import Release

if TYPE_CHECKING:
    from app.adapters.git import Credential
    from app.adapters.git_resolve import Resolver
    from app.adapters.go_proxy import ProxyOptions
    from app.adapters.http_pinned import Addresses

log = logging.getLogger(__name__)


def clone_credential(settings: Settings, url: str) -> Credential | None:
    """The clone token of the source whose allow-list names this URL, with its user name; None: there is none."""
    from app.adapters.git import Credential

    lists = {each.name: each.allow for each in settings.sources if each.clone_token}
    name = whose(url, lists, sandbox=settings.sandbox.enabled)
    found = next((each for each in settings.sources if each.name == name), None)
    return Credential(found.clone_username, found.clone_token) if found and found.clone_token else None


def clone_login(settings: Settings, url: str) -> str | None:
    """What stands for the login that this URL is asked with over HTTP, without giving it away; None: with none."""
    found = clone_credential(settings, url) if url.startswith("http") else None
    return found.fingerprint(urlsplit(url).netloc) if found else None


def host_and_path(url: str) -> tuple[str, str]:
    """A git URL's host with its port, and the repository's path as everybody writes it."""
    parts = urlsplit(url)
    return parts.netloc, parts.path.rstrip("/").removesuffix(".git")


def registry_bases(settings: Settings) -> set[str]:
    """The registries that rules name, in the one form that the clone URLs of their modules have."""
    bases = [rule.clone.rstrip("/") for rule in settings.rules if rule.content == "goproxy"]
    # What is forbidden in production was refused at loading; a host's root alone is no clone URL.
    return {str(CloneUrl.parse(f"{base}/x", sandbox=True)).removesuffix("/x") for base in bases}


def registry_options(
    settings: Settings, base: str, login: Credential | None, resolver: Resolver | None
) -> ProxyOptions:
    """How to ask a registry: it is a source, so its name is checked and pinned as a git host's; it has a proxy's time."""
    from app.adapters.go_proxy import ProxyOptions

    outgoing = settings.outgoing
    by = outgoing.proxy_for(base)
    return ProxyOptions(
        name="registry", url=base, username=login.username if login else "",
        password=SecretStr(login.password.get_secret_value()) if login else None,
        ca_file=text_of(outgoing.ca_file), http_proxy=by,
        min_free=gigabytes(settings.limits.min_free_gigabytes),
        addresses=None if by else _checked(base, resolver),
    )  # fmt: skip


def _checked(url: str, resolver: Resolver | None) -> Addresses | None:
    from app.adapters.git_resolve import checked_addresses

    return partial(checked_addresses, url, resolver) if resolver else None


class SourceFiles:
    """Reads sources' files in their caches; `scratch` is where what is read may be kept meanwhile."""

    def __init__(self, scratch: Callable[[], Path]) -> None:
        self._scratch = scratch

    def h1(self, cache: SourceCopy, release: Release, directory: str) -> str:
        """The h1 of the zip that `go` makes. Errors: as sums()."""
        return self.sums(cache, release, directory).h1_zip

    def sums(self, cache: SourceCopy, release: Release, directory: str) -> ModuleSums:
        """What `go` makes of a release's commit. Errors: not_a_module, git_failed."""
        from app.adapters.git_archive import GitArchive
        from app.adapters.git_copy import Copy

        try:
            if isinstance(cache, Copy):
                files: GitArchive = cache.files(self._scratch())
            else:
                files = GitArchive(Path(cache.path()), scratch=self._scratch())
            return module_sums(files, release.commit, release.module, release.version, directory)
        except RuleBroken as error:
            raise SyncError(
                "not_a_module", f"go would refuse {release.module}@{release.version}: {error.message}"
            ) from error
        except SourceUnreadable as error:
            raise SyncError("git_failed", f"the source's cache cannot be read: {error}") from error

    def attributes(self, cache: SourceCopy, commit: str, names: Sequence[str]) -> Mapping[str, str]:
        """The attributes of those that have some which change what git writes; {} when they cannot be read."""
        from app.adapters.git_attributes import attributes_of

        try:
            return attributes_of(Path(cache.path()), commit, names, self._scratch())
        except (SourceUnreadable, OSError) as error:
            log.warning("attributes_unknown", extra={"error": str(error)})
            return {}


def gigabytes(number: float) -> int:
    """In bytes."""
    return int(number * 1_000_000_000)


def text_of(path: Path | None) -> str | None:
    """A path as libraries want it."""
    return str(path) if path else None
