"""Source repositories of any size, made by git fast-import: a Go module with so many commits, tags and files."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from tests.sandbox.processes import git_environment
from tests.sandbox.repositories import Repositories

AUTHOR = "Ada Sandbox <ada@corp.example>"
_BEGUN = 1_767_603_600
_FILES = 60


def make_history(repositories: Repositories, name: str, *, module: str, commits: int, tags: int) -> None:
    """A repository with `commits` on main, each changing a file; the last `tags` steps of the history have tags v1.N.0."""
    path = repositories.make_repository(name)
    environment = git_environment(path)
    stream = b"".join(_stream(module, commits, tags))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=path, env=environment, input=stream, check=True)
    for command in (["pack-refs", "--all"], ["repack", "-adq", "--write-bitmap-index"]):
        subprocess.run(["git", *command], cwd=path, env=environment, check=True)


def add_files(repositories: Repositories, name: str, *, module: str, count: int) -> str:
    """A repository with one commit of `count` Go files of a few kilobytes; the commit."""
    repositories.make_repository(name)
    files = {f"pkg{n % 50}/file{n}.go": _source(n) for n in range(count - 1)}
    return repositories.commit(name, {"go.mod": f"module {module}\n\ngo 1.21\n", **files}, "Many files")


def _source(number: int) -> str:
    lines = (f"// Line {line} of file {number}: some words that pack as source code does.\n" for line in range(60))
    return f"package pkg{number % 50}\n\n{''.join(lines)}const C{number} = {number}\n"


def _stream(module: str, commits: int, tags: int) -> Iterator[bytes]:
    step = max(1, commits // max(1, tags))
    for number in range(commits):
        text = b"change %d\n" % number * 24  # long enough to be no LFS pointer, which the stand-in looks at one by one
        name = b"file%d.txt" % (number % _FILES)
        if number == 0:
            name, text = b"go.mod", f"module {module}\n\ngo 1.21\n".encode()
        when = _BEGUN + 60 * number
        author = b"%b %d +0000" % (AUTHOR.encode(), when)
        yield b"commit refs/heads/main\nmark :%d\nauthor %b\ncommitter %b\ndata 6\nchange\n" % (
            number + 1,
            author,
            author,
        )
        yield b"M 100644 inline %b\ndata %d\n%b\n" % (name, len(text), text)
        if number % step == step - 1 and number // step < tags:
            yield b"reset refs/tags/v1.%d.0\nfrom :%d\n\n" % (number // step, number + 1)
