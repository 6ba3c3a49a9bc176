"""Tags and commits of a repository given as a path or URL, for the commands that need no configuration."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.adapters.git_archive import GitArchive, run_git
from app.domain.modules import RuleBroken
from app.services.checksum import SourceUnreadable
from app.services.locate import History

_SCP_LIKE = re.compile(r"(?:[^/@:]+@)?[^/:@]+:(?!//).+")
_HASH_PREFIX = re.compile(r"[0-9a-f]{7,64}")
_ALL_REFS = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")


class GitHistory(GitArchive):
    """A local repository; implements app.services.locate.History. Only what heads, tags, remotes or HEAD reach exists."""

    def tag_commit(self, tag: str) -> str | None:
        """See History."""
        if tag not in self.tags():
            return None
        commit = self._verify(f"refs/tags/{tag}^{{commit}}")
        if commit is None:
            raise RuleBroken("tag_not_commit", f"unknown revision: tag {tag!r} does not point to a commit")
        return commit

    def revision_commit(self, revision: str) -> str | None:
        """See History: tags win over branches and those over hashes, as in Go."""
        for name in (f"refs/tags/{revision}", f"refs/heads/{revision}"):
            if self._verify(name):
                return self._verify(f"{name}^{{commit}}")
        commit = self._verify(f"{revision}^{{commit}}") if _HASH_PREFIX.fullmatch(revision) else None
        return commit if commit and commit.startswith(revision) and self._is_reachable(commit) else None

    def commit_time(self, commit: str) -> datetime:
        """See History."""
        out = self.git("log", "--no-decorate", "-n1", "--format=format:%ct", "--end-of-options", commit, "--").stdout
        try:
            return datetime.fromtimestamp(int(out), UTC)
        except (ValueError, OverflowError, OSError):
            raise RuleBroken(
                "commit_time", f"commit {commit[:12]} has a date that `go` cannot write: {out[:40]!r}"
            ) from None

    def tags(self) -> Mapping[str, str]:
        """See History."""
        return _tags(self.git("show-ref", "--tags", "--dereference", accept=(0, 1)).stdout)

    def is_ancestor(self, older: str, commit: str) -> bool:
        """See History; a tag on a tree or blob is nobody's ancestor."""
        return self.git("merge-base", "--is-ancestor", "--", older, commit, accept=(0, 1, 128)).returncode == 0

    def _verify(self, name: str) -> str | None:
        done = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", name, accept=(0, 1, 128))
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def _is_reachable(self, commit: str) -> bool:
        refs = ("refs/heads", "refs/tags", "refs/remotes")
        holding = self.git("for-each-ref", "--count=1", "--format=%(refname)", f"--contains={commit}", *refs).stdout
        return bool(holding) or self.is_ancestor(commit, "HEAD")


class RemoteHistory(GitHistory):
    """A repository at a URL, fetched into an empty bare repository as far as it is asked for: one tag's files, or everything."""

    def __init__(self, url: str, directory: Path, *, timeout: float = 600.0) -> None:
        super().__init__(directory, timeout=timeout)
        self._url = url
        self._tags, object_format = self._look()
        init = ["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(directory)]
        run_git(init, timeout=timeout)

    def tag_commit(self, tag: str) -> str | None:
        """See History."""
        if tag in self._tags:
            self._fetch("--depth=1", f"refs/tags/{tag}:refs/tags/{tag}")
        return super().tag_commit(tag)

    def revision_commit(self, revision: str) -> str | None:
        """See History."""
        self._fetch(*_ALL_REFS)
        return super().revision_commit(revision)

    def tags(self) -> Mapping[str, str]:
        """See History."""
        return self._tags

    def _look(self) -> tuple[Mapping[str, str], str]:
        """The tags, and the object format that the hashes show."""
        listed = run_git(["ls-remote", "--quiet", "--end-of-options", self._url], timeout=self._timeout).stdout
        return _tags(listed), "sha256" if len(listed.split(b"\t", 1)[0]) == 64 else "sha1"

    def _fetch(self, *what: str) -> None:
        options = [option for option in what if option.startswith("--")]
        refspecs = [refspec for refspec in what if not refspec.startswith("--")]
        fetch = ["-c", "protocol.version=2", "fetch", "--quiet", "--no-auto-gc", "--no-tags", "--force", *options]
        self.git(*fetch, "--end-of-options", self._url, *refspecs)


@contextmanager
def open_history(place: str, *, timeout: float = 600.0) -> Iterator[History]:
    """A repository by path (bare, a work tree, or a linked one) or URL; what is fetched is removed again.

    SourceUnreadable when `place` is neither, or cannot be read.
    """
    if place.startswith("-"):
        raise SourceUnreadable(f"{place!r} is neither a path nor a URL")
    directory = Path(place)
    if directory.exists():
        yield GitHistory(_git_dir(directory), timeout=timeout)
    elif "://" in place or _SCP_LIKE.fullmatch(place):
        with tempfile.TemporaryDirectory(prefix="modsync-fetch-") as scratch:
            yield RemoteHistory(place, Path(scratch), timeout=timeout)
    else:
        raise SourceUnreadable(f"there is no repository at {place!r}")


def _git_dir(directory: Path) -> Path:
    """`directory` itself if it is bare, its `.git` (directory or pointer file) otherwise."""
    for candidate in (directory / ".git", directory):
        if candidate.is_file() or ((candidate / "HEAD").exists() and (candidate / "objects").exists()):
            return candidate.absolute()
    raise SourceUnreadable(f"{str(directory)!r} is not a git repository")


def _tags(listing: bytes) -> Mapping[str, str]:
    """Tags of `HASH<space or tab>refs/tags/NAME` lines; a line with `^{}` has what the tag before it peels to."""
    tags = {}
    for line in listing.decode(errors="surrogateescape").split("\n"):
        object_hash, _, ref = line.replace("\t", " ", 1).partition(" ")
        if ref.startswith("refs/tags/"):
            tags[ref.removeprefix("refs/tags/").removesuffix("^{}")] = object_hash
    return tags
