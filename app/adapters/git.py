"""The only door to git: source caches, and what is at a remote. git itself runs through GitPython (git_process.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from app.adapters import git_cache
from app.adapters.cache_budget import check_room, used
from app.adapters.git_copy import Copy
from app.adapters.git_env import Credential, Credentials, GitOptions, Secret, check_url
from app.adapters.git_errors import Side, from_os
from app.adapters.git_process import Watch
from app.adapters.git_repository import Repository
from app.domain.errors import SyncError
from app.domain.refs import TagAt
from app.services.ports import Checkpoint, SourceCopy

__all__ = ["Credential", "GitDoor", "GitOptions", "Secret"]


class GitDoor:
    """Implements app.services.ports.Git. `credentials` chooses by URL; None: ask without one."""

    def __init__(self, options: GitOptions, credentials: Credentials) -> None:
        self._options = options
        self._credentials = credentials

    @contextmanager
    def source(self, clone_url: str, checkpoint: Checkpoint) -> Iterator[SourceCopy]:
        """Open the cache of `clone_url` under its host-wide lock; the checkpoint is asked while waiting, too.

        Error: `cache_busy` when others on this host hold it for longer than options.cache_wait_seconds.
        """
        check_url(clone_url, self._options.protocols, "clone_url_refused")
        watch = self._watch(checkpoint)
        path = git_cache.directory(self._options.cache_dir.absolute(), clone_url)
        check_room(self._options.cache_dir, self._options.min_free_bytes)
        with git_cache.locked(path, watch, self._options.cache_wait_seconds) as ended_well:
            used(path)
            fresh = git_cache.prepare(path, self._options, watch, ended_well=ended_well)
            copy = Copy(Repository(path, self._options, self._credentials, watch), path, clone_url, fresh=fresh)
            try:
                yield copy
            except SyncError:
                # At once, not when it is opened again: what half a fetch left may be what fills the disk.
                copy.close()
                git_cache.remove_leftovers(path)
                raise
            finally:
                copy.close()

    def remote_refs(
        self, url: str, refs: Sequence[str], checkpoint: Checkpoint, *, side: Side = "mirror"
    ) -> Mapping[str, TagAt]:
        """What is at `url` now; `side` says whose errors to report. A tag of a tree or blob cannot be told from here."""
        try:
            self._options.cache_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise from_os(error, "the cache directory") from error
        repo = Repository(None, self._options, self._credentials, self._watch(checkpoint))
        return repo.remote_refs(side, url, refs)

    def _watch(self, checkpoint: Checkpoint) -> Watch:
        return Watch(self._options.timeout_seconds, checkpoint, self._options.beat_seconds)
