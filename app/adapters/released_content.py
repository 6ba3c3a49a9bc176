"""The released content read again from a source's cache: to name what differs in the proxy, or to write a static one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import BinaryIO

from app.adapters.git_archive import GitArchive
from app.adapters.git_history import GitHistory
from app.domain.errors import SyncError
from app.domain.modules import RuleBroken
from app.services.checksum import SourceUnreadable, module_sums, write_module_zip
from app.services.ports import Checkpoint, Git, SourceCopy
from app.services.registry import Registries
from app.services.stages import PASSED_ON
from app.services.stages.publish import Packed
from app.services.stages.verify import Released, VerifyRequest

log = logging.getLogger(__name__)


class ReleasedContent:
    """Implements stages.verify.LookUp and, by pack(), stages.publish.Pack; `scratch` is where git archive works."""

    def __init__(self, git: Git, registries: Registries, scratch: Path) -> None:
        self._git, self._registries, self._scratch = git, registries, scratch

    def __call__(self, request: VerifyRequest, checkpoint: Checkpoint) -> Released | None:
        """The commit's files and tree; None when neither the cache nor the source has it: a verdict must not wait for it.

        Errors: `overtaken`, `interrupted`, `cache_busy`.
        """
        try:
            return self._read(request, checkpoint)
        except (RuleBroken, SourceUnreadable, SyncError) as error:
            if isinstance(error, SyncError) and error.code in PASSED_ON:
                raise
            log.warning("released_content_unknown", extra={"release": request.name, "error": str(error)})
            return None

    def pack(self, request: VerifyRequest, target: BinaryIO, checkpoint: Checkpoint) -> Packed:
        """See stages.publish.Pack. Errors: commit_missing, not_a_module, git_failed, and those of the source."""
        with self._git.source(request.clone_url, checkpoint) as cache:
            if not self._has(cache, request, checkpoint):
                raise SyncError("commit_missing", f"{request.name}: the source has no commit {request.commit} any more")
            history = GitHistory(Path(cache.path()), scratch=self._scratch)
            return _packed(history, request, target)

    def _has(self, cache: SourceCopy, request: VerifyRequest, checkpoint: Checkpoint) -> bool:
        """True when the commit is in the cache, after a look at the source where it was not: another host mirrored it."""
        if not cache.has_commit(request.commit):
            if self._registries.knows(request.clone_url):
                self._registries.bring(cache, request.clone_url, request.tag, checkpoint)
            else:
                cache.fetch([request.tag], [request.commit])
        return cache.has_commit(request.commit)

    def _read(self, request: VerifyRequest, checkpoint: Checkpoint) -> Released | None:
        with self._git.source(request.clone_url, checkpoint) as cache:
            if not self._has(cache, request, checkpoint):
                return None
            archive = GitArchive(Path(cache.path()), scratch=self._scratch)
            sums = module_sums(archive, request.commit, request.module, request.version, request.directory)
            return Released(sums.files, tree_blobs(archive, request.commit, request.directory))


def _packed(history: GitHistory, request: VerifyRequest, target: BinaryIO) -> Packed:
    try:
        sums = write_module_zip(
            history, request.commit, request.module, request.version, request.directory, target
        )  # fmt: skip
        return Packed(sums, history.commit_time(request.commit))
    except RuleBroken as broken:
        raise SyncError("not_a_module", f"go would refuse {request.name}: {broken.message}") from broken
    except SourceUnreadable as error:
        raise SyncError("git_failed", f"the source's cache cannot be read: {error}") from error


def tree_blobs(archive: GitArchive, commit: str, directory: str) -> dict[str, str]:
    """name -> blob id of every file and symlink below `directory` of a commit, as committed. Error: SourceUnreadable."""
    out = archive.git("ls-tree", "-r", "-z", "--full-tree", f"{commit}:{directory}").stdout
    entries = (line.split(b"\t", 1) for line in out.split(b"\0") if line)
    named = ((head.split(), name.decode("utf-8", "surrogateescape")) for head, name in entries)
    return {name: words[2].decode() for words, name in named if words[1] == b"blob"}
