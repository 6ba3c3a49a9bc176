"""A new cache begins as a clone of one tag: git then need not walk through a pack that it has just checked.

`git fetch` into an empty repository takes half as long again for that walk, whose answer `index-pack` gave already.
What a clone cannot bring (another tag, a tag that is called like a branch) the fetch that follows brings, and it alone says
what is wrong with a tag.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from app.adapters.git_cache import in_place
from app.adapters.git_errors import from_os
from app.adapters.git_repository import Repository, is_ref

_ARGS = (
    "clone",
    "--quiet",
    "--bare",
    "--template=",
    "--no-tags",
    "--single-branch",
    "--no-local",
    "--reject-shallow",
    "--branch",
)
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
_HEAD = "ref: refs/heads/modsync\n"
_NOT_THIS_WAY = {"git_failed", "source_unsupported"}  # no such tag, another object format, a shallow source: fetch says


def clone(repo: Repository, path: Path, url: str, tag: str) -> bool:
    """Replace the empty cache at `path` by a clone of `tag` (short name) at `url`; False: it is left as it is.

    Raises SyncError for what a fetch would fail of, too (source unreachable, denied, corrupt).
    """
    if not is_ref(f"refs/tags/{tag}"):
        return False
    try:
        aside = Path(tempfile.mkdtemp(prefix=f"{path.stem}.new-", dir=path.parent))
        try:
            if cloned := _cloned(repo, url, tag, aside):
                in_place(aside, path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise from_os(error, f"cache {path.name}") from error
    return cloned


def _cloned(repo: Repository, url: str, tag: str, aside: Path) -> bool:
    result = repo.remote("source", url, [*_ARGS, tag], [str(aside)])
    if result.code:
        error = repo.failure("source", url, result)
        if error.code in _NOT_THIS_WAY:
            return False
        raise error
    if "objectformat" in (aside / "config").read_text().lower() or not _only_tag(aside, tag):
        return False
    (aside / "config").write_text(_CONFIG)
    (aside / "HEAD").write_text(_HEAD)
    return True


def _only_tag(aside: Path, tag: str) -> bool:
    """Whether the tag came, and not the branch of its name."""
    try:
        lines = (aside / "packed-refs").read_text("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        return False
    return [line.partition(" ")[2] for line in lines if line[:1] not in ("#", "^")] == [f"refs/tags/{tag}"]
