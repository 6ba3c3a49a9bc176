"""How much of a commit is looked at: a few trees that hold each other stand for more files than any memory. Pure."""

from app.domain.rules import RuleBroken

MAX_FILES = 500_000
"""Files and symlinks below a module's directory, nested modules included."""
MAX_NAMES = 64 << 20
"""Characters of all their names together."""
MAX_DEPTH = 2048
"""Directories in each other: git's own limit (core.maxTreeDepth, git 2.43)."""


class ArchiveBounds:
    """Counts what a commit's archive holds, before anything of it is kept."""

    def __init__(self) -> None:
        self._files = self._names = 0

    def add(self, name: str) -> None:
        """Take in one more file or symlink. RuleBroken `zip_too_large`."""
        self._files += 1
        self._names += len(name)
        if self._files > MAX_FILES:
            raise RuleBroken("zip_too_large", f"there are more than {MAX_FILES} files in the module's directory")
        if self._names > MAX_NAMES:
            raise RuleBroken("zip_too_large", f"the names of the module's files have more than {MAX_NAMES} characters")


def check_depth(depth: int) -> None:
    """`depth`: directories in each other. RuleBroken `zip_too_large`."""
    if depth > MAX_DEPTH:
        raise RuleBroken("zip_too_large", f"more than {MAX_DEPTH} directories lie in each other")
