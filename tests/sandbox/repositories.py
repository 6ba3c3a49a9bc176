"""Bare git repositories made without a checkout: the same calls give the same hashes on every machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.processes import git_environment, run

AUTHOR = "Ada Sandbox <ada@corp.example>"
FIRST_COMMIT_AT = 1_767_603_600  # 2026-01-05T09:00:00Z; each commit comes a minute after its parent
_MINUTE = 60


@dataclass(frozen=True)
class Entry:
    """A file with git's mode: `100644`, `100755`, or `120000` for a symlink (its content is the target)."""

    content: bytes
    mode: str = "100644"


Content = str | bytes | Entry | None
"""A file's content; None removes the file."""


class Repositories:
    """The bare repositories below `root`, by name (`payments/ledger` is kept in `payments/ledger.git`).

    Every method raises subprocess.CalledProcessError when git refuses. Revisions may be any name git knows.
    """

    def __init__(self, root: Path) -> None:
        self.directory = root
        self.directory.mkdir(parents=True, exist_ok=True)

    def path(self, repository: str) -> Path:
        return self.directory / f"{repository}.git"

    def make_repository(self, repository: str) -> Path:
        """An empty repository, HEAD on `main`, which serves partial clones and single commits as real platforms do."""
        path = self.path(repository)
        path.mkdir(parents=True)
        self._git(path, "init", "--quiet", "--bare", "--initial-branch=main", "--template=", ".")
        for item in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            self._git(path, "config", item, "true")
        return path

    def commit(
        self,
        repository: str,
        files: Mapping[str, Content],
        message: str,
        *,
        branch: str = "main",
        parent: str | None = None,
    ) -> str:
        """Change `files` on top of `parent` (default: the branch's tip), move the branch there; the commit's hash."""
        path = self.path(repository)
        tip = parent or f"refs/heads/{branch}"
        above = self._git(path, "log", "-1", "--format=%H %ct", tip, check=False).split()
        stream = _import_stream(files, message, branch, above)
        return self._git(path, "fast-import", "--quiet", "--force", stdin=stream)

    def tag(self, repository: str, name: str, revision: str, *, annotated: bool = False) -> str:
        """A new tag on `revision`; the hash that the ref holds (an annotated tag's own, not the commit's)."""
        return self._put_tag(repository, name, revision, annotated, "0" * 40)

    def move_tag(self, repository: str, name: str, revision: str, *, annotated: bool = False) -> str:
        """Let the tag, which must exist, name another revision; the hash that the ref holds."""
        return self._put_tag(repository, name, revision, annotated, self.resolve(repository, f"refs/tags/{name}"))

    def delete_tag(self, repository: str, name: str) -> None:
        self._git(self.path(repository), "tag", "--delete", "--", name)

    def branch(self, repository: str, name: str, revision: str) -> None:
        """Make the branch, or move it by force."""
        self._git(self.path(repository), "branch", "--force", "--", name, revision)

    def resolve(self, repository: str, revision: str) -> str:
        """The hash that the revision stands for, not peeled."""
        return self._git(self.path(repository), "rev-parse", "--verify", "--end-of-options", revision)

    def tags(self, repository: str) -> dict[str, str]:
        """Tag name to the commit that it peels to."""
        form = "--format=%(refname:lstrip=2) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
        listed = self._git(self.path(repository), "for-each-ref", form, "refs/tags")
        return dict(_pair(line) for line in listed.splitlines())

    def _put_tag(self, repository: str, name: str, revision: str, annotated: bool, old: str) -> str:
        path = self.path(repository)
        target = self.resolve(repository, f"{revision}^{{commit}}")
        if annotated:
            made_at = self._git(path, "log", "-1", "--format=%ct", target)
            target = self._git(path, "mktag", stdin=_tag_object(name, target, made_at))
        self._git(path, "update-ref", f"refs/tags/{name}", target, old)
        return target

    def _git(self, path: Path, *arguments: str, stdin: bytes = b"", check: bool = True) -> str:
        environment = git_environment(self.directory, PATH=os.environ.get("PATH", os.defpath))
        done = run(["git", *arguments], env=environment, cwd=path, stdin=stdin, check=check)
        return done.stdout.decode().strip()


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(" ")
    return name, value


def _import_stream(files: Mapping[str, Content], message: str, branch: str, above: list[str]) -> bytes:
    """One commit in the language of `git fast-import`; it answers with the hash. `above`: parent's hash and time."""
    when = int(above[1]) + _MINUTE if above else FIRST_COMMIT_AT
    head = f"commit refs/heads/{branch}\nmark :1\nauthor {AUTHOR} {when} +0000\ncommitter {AUTHOR} {when} +0000\n"
    parts = [head.encode(), _data(message.encode())]
    if above:
        parts.append(f"from {above[0]}\n".encode())
    parts += [_change(name, content) for name, content in files.items()]
    return b"".join([*parts, b"get-mark :1\ndone\n"])


def _change(name: str, content: Content) -> bytes:
    if content is None:
        return f"D {name}\n".encode()
    text = content.encode() if isinstance(content, str) else content
    entry = text if isinstance(text, Entry) else Entry(text)
    return f"M {entry.mode} inline {name}\n".encode() + _data(entry.content)


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _tag_object(name: str, commit: str, made_at: str) -> bytes:
    return f"object {commit}\ntype commit\ntag {name}\ntagger {AUTHOR} {made_at} +0000\n\nRelease {name}\n".encode()
