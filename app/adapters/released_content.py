"""The released content read again from a source's cache, for the verify stage when the proxy serves something else."""

from __future__ import annotations

import logging
from pathlib import Path

from app.adapters.git_archive import GitArchive
from app.domain.errors import SyncError
from app.domain.modules import RuleBroken
from app.services.checksum import SourceUnreadable, module_sums
from app.services.ports import Checkpoint, Git
from app.services.stages.verify import Released, VerifyRequest

log = logging.getLogger(__name__)
_OURS = ("overtaken", "interrupted")


class ReleasedContent:
    """Implements stages.verify.LookUp; `scratch` is where git archive works."""

    def __init__(self, git: Git, scratch: Path) -> None:
        self._git, self._scratch = git, scratch

    def __call__(self, request: VerifyRequest, checkpoint: Checkpoint) -> Released | None:
        """The commit's files and tree; None when neither the cache nor the source has it: a verdict must not wait for it.

        Errors: `overtaken`, `interrupted`.
        """
        try:
            return self._read(request, checkpoint)
        except (RuleBroken, SourceUnreadable, SyncError) as error:
            if isinstance(error, SyncError) and error.code in _OURS:
                raise
            log.warning("released_content_unknown", extra={"release": request.name, "error": str(error)})
            return None

    def _read(self, request: VerifyRequest, checkpoint: Checkpoint) -> Released | None:
        with self._git.source(request.clone_url, checkpoint) as cache:
            if not cache.has_commit(request.commit):
                cache.fetch([], [request.commit])
            if not cache.has_commit(request.commit):
                return None
            archive = GitArchive(Path(cache.path()), scratch=self._scratch)
            sums = module_sums(archive, request.commit, request.module, request.version, request.directory)
            return Released(sums.files, tree_blobs(archive, request.commit, request.directory))


def tree_blobs(archive: GitArchive, commit: str, directory: str) -> dict[str, str]:
    """name -> blob id of every file and symlink below `directory` of a commit, as committed. Error: SourceUnreadable."""
    out = archive.git("ls-tree", "-r", "-z", "--full-tree", f"{commit}:{directory}").stdout
    entries = (line.split(b"\t", 1) for line in out.split(b"\0") if line)
    named = ((head.split(), name.decode("utf-8", "surrogateescape")) for head, name in entries)
    return {name: words[2].decode() for words, name in named if words[1] == b"blob"}
