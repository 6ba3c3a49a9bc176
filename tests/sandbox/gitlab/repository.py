"""Bare repositories on disk, read and made with the real git."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.sandbox.processes import git_environment, run

_HOOK = Path(__file__).with_name("hook.py")
_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "GitLab stand-in"), ("EMAIL", "gitlab@example.test"))
}
# Gitaly's own checks of what is pushed: strict, but not about dates and modes that honest old histories have.
_CONFIG = """
[core]
    hooksPath = "{hooks}"
[receive]
    advertisePushOptions = true
    fsckObjects = true
[receive "fsck"]
    badTimezone = ignore
    missingSpaceBeforeDate = ignore
    zeroPaddedFilemode = ignore
[uploadpack]
    allowFilter = true
    allowAnySHA1InWant = true
"""


@dataclass(frozen=True)
class Ref:
    """A ref, what it points at, and the commit behind that."""

    name: str
    target: str
    commit: str


class Repository:
    """One bare repository. Methods raise CalledProcessError when git fails where it should not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, hooks: Path) -> None:
        """An empty repository whose pushes go through the hooks in `hooks`."""
        self.path.mkdir(parents=True)
        self._git("init", "--bare", "--quiet", "--template=", "--initial-branch=main", ".")
        with (self.path / "config").open("a") as config:
            config.write(_CONFIG.format(hooks=hooks))

    def set_head(self, branch: str) -> None:
        self._git("symbolic-ref", "HEAD", f"refs/heads/{branch}")

    def set_ref(self, name: str, commit: str) -> None:
        """Point a full ref name at a commit, past all rules."""
        self._git("update-ref", name, commit)

    def delete_ref(self, name: str) -> None:
        """Remove a full ref name."""
        self._git("update-ref", "-d", name)

    def refs(self, prefix: str = "refs/") -> list[Ref]:
        """The refs below `prefix`, sorted by name."""
        form = "--format=%(refname) %(objectname) %(*objectname)"
        lines = self._git("for-each-ref", form, prefix).decode().splitlines()
        return [Ref(name, target, peeled or target) for name, target, peeled in (line.split(" ") for line in lines)]

    def ref(self, name: str) -> Ref | None:
        return next((ref for ref in self.refs(name) if ref.name == name), None)

    def is_empty(self) -> bool:
        """No branch yet, as GitLab means it."""
        return not self.refs("refs/heads/")

    def commit(self, sha: str) -> dict[str, Any] | None:
        """The commit with this full or abbreviated hex id, as the API shows it; None when there is none."""
        form = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
        result = self._run("log", "-1", f"--format={form}", "--end-of-options", f"{sha}^{{commit}}", "--")
        if result.returncode:
            return None
        return _commit_view(result.stdout.decode("utf-8", "replace").rstrip("\n").split("\0"))

    def tag_message(self, target: str) -> str:
        """An annotated tag's message; empty for a lightweight one."""
        if self._git("cat-file", "-t", target).strip() != b"tag":
            return ""
        return self._git("cat-file", "tag", target).decode("utf-8", "replace").partition("\n\n")[2].strip()

    def read(self, commit: str, path: str) -> str | None:
        """A file's text at a commit, or None."""
        result = self._run("cat-file", "blob", f"{commit}:{path}")
        return None if result.returncode else result.stdout.decode("utf-8", "replace")

    def size(self) -> int:
        """Bytes of all objects."""
        return sum(file.stat().st_size for file in (self.path / "objects").rglob("*") if file.is_file())

    def seed(self, branch: str, files: Mapping[str, str], message: str) -> str:
        """Commit these files onto `branch` (as a web editor would) and return the commit's id."""
        old = self.ref(f"refs/heads/{branch}")
        for name, text in files.items():
            blob = self._git("hash-object", "-w", "--stdin", stdin=text.encode()).decode().strip()
            self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
        tree = self._git("write-tree").decode().strip()
        parents = ("-p", old.commit) if old else ()
        commit = self._git("commit-tree", tree, *parents, "-m", message).decode().strip()
        self._git("update-ref", f"refs/heads/{branch}", commit)
        return commit

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        result = self._run(*arguments, stdin=stdin)
        result.check_returncode()
        return result.stdout

    def _run(self, *arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        environment = git_environment(self.path, GIT_DIR=str(self.path), **_AUTHOR)
        return run(["git", *arguments], env=environment, cwd=self.path, stdin=stdin)


def write_hooks(folder: Path) -> None:
    """The two hooks that every repository shares; both are hook.py, which looks at its own name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pre-receive", "post-receive"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{_HOOK}" {name}\n')
        script.chmod(0o755)


def _commit_view(fields: list[str]) -> dict[str, Any]:
    sha, parents, author, author_email, authored, committer, committer_email, committed, message = fields
    return {
        "id": sha,
        "short_id": sha[:8],
        "parent_ids": parents.split(),
        "title": message.partition("\n")[0],
        "message": message,
        "author_name": author,
        "author_email": author_email,
        "authored_date": _stamp(authored),
        "committer_name": committer,
        "committer_email": committer_email,
        "committed_date": _stamp(committed),
        "created_at": _stamp(committed),
    }


def _stamp(iso: str) -> str:
    return datetime.fromisoformat(iso).isoformat(timespec="milliseconds")
