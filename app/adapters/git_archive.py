"""A local git repository as `go` reads one for a module: attributes neutralised, nothing checked out, nothing written to it.

Commands and settings follow cmd/go/internal/modfetch/codehost/git.go (ReadZip, ReadFile, statLocal). The repository's own
directory is only read: `git archive` runs in an empty bare repository that borrows its objects, because info/attributes,
which Go writes to switch off export-ignore and export-subst, must not be written to somebody's repository, and
core.attributesFile is too weak.
"""

import os
import re
import signal
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.adapters.processes import OWNER_MARK, owner_mark, tied
from app.adapters.scratch import scratch_directory
from app.domain.modules import RuleBroken
from app.domain.modzip import MAX_ZIP, Entry, Kind
from app.services.checksum import SourceUnreadable
from app.services.module_zip import Readable

Done = subprocess.CompletedProcess[bytes]

_ATTRIBUTES = "\n* -export-subst -export-ignore\n"
# GIT_CONFIG_GLOBAL does not keep git from ~/.config/git/attributes, which it reads without being told to.
_NO_ATTRIBUTES = ("-c", f"core.attributesFile={os.devnull}")
_ARCHIVE = (*_NO_ATTRIBUTES, "-c", "core.autocrlf=input", "-c", "core.eol=lf", "archive", "--prefix=prefix/")
_KEPT = re.compile(
    r"PATH|HOME|TMPDIR|LANG|SSH_AUTH_SOCK|SSL_CERT_(?:FILE|DIR)|GIT_SSL_CAINFO|(?:https?|all|no)_proxy", re.IGNORECASE
)
_CREDENTIALS = re.compile(
    r"(?<=://)[^/@\s]+@|(?<=[?&])[^?=&\s]{0,100}?(?:token|secret|key)[^?=&\s]{0,100}=[^&\s]+", re.IGNORECASE
)
_CHUNK = 1 << 20
_TAR_BUFFER = 32 << 10  # bytes: tarfile copies what is left of it for each small file
_SHOWN_STDERR = 500  # characters


def git_environment(**extra: str) -> dict[str, str]:
    """What every git here gets: no prompts, no configuration but the repository's, no lazy fetches, English messages."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    return {
        **kept,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        OWNER_MARK: owner_mark(),
        **extra,
    }


def run_git(
    args: Sequence[str], *, timeout: float, accept: tuple[int, ...] = (0,), **extra: str
) -> subprocess.CompletedProcess[bytes]:
    """Run git to its end, at most `timeout` seconds; SourceUnreadable for other exit codes than `accept`."""
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "-c", "log.showSignature=false", *_NO_ATTRIBUTES, *args]
    try:
        done = subprocess.run(command, env=git_environment(**extra), capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise SourceUnreadable(f"git {_verb(args)} took longer than {timeout:g} seconds") from None
    if done.returncode not in accept:
        raise SourceUnreadable(_failure(args, done.stderr))
    return done


class GitArchive:
    """The files of a bare or other local repository; `git_dir` holds objects/ and refs/. Implements CommitFiles and History.

    `scratch` is where temporary directories are made.
    """

    def __init__(self, git_dir: Path, *, timeout: float = 600.0, scratch: Path | None = None) -> None:
        self._git_dir = git_dir
        self._scratch = scratch or Path(tempfile.gettempdir())
        self._timeout = timeout

    def git(self, *args: str, accept: tuple[int, ...] = (0,)) -> Done:
        """Run a reading command; naming the directory makes git skip its search, and its check who owns it."""
        return run_git(["--git-dir", str(self._git_dir), *args], timeout=self._timeout, accept=accept)

    @contextmanager
    def archive(self, commit: str, subdir: str) -> Iterator[Iterator[tuple[Entry, Readable]]]:
        """See CommitFiles. SourceUnreadable when git fails."""
        with self._archive_output("tar", commit, subdir) as output:
            yield _entries(output, f"prefix/{subdir}/" if subdir else "prefix/")

    def packed_size(self, commit: str, subdir: str) -> int:
        """See CommitFiles."""
        size = 0
        with self._archive_output("zip", commit, subdir) as output:
            while size <= MAX_ZIP and (chunk := output.read(_CHUNK)):
                size += len(chunk)
        return size

    def read_file(self, commit: str, path: str, limit: int) -> bytes | None:
        """See CommitFiles."""
        found = self._blob(commit, path)
        if found is None:
            return None
        name, size = found
        if not size.isdigit():  # a partial clone lacks it, or it is damaged: not the same as no such file
            raise SourceUnreadable(f"{path} is in commit {commit[:12]}, but its blob {name} is missing or damaged")
        if int(size) > limit:
            raise RuleBroken("file_too_large", f"{path} has {int(size)} bytes; at most {limit} are allowed")
        return self.git("cat-file", "blob", name).stdout

    def _blob(self, commit: str, path: str) -> tuple[str, str] | None:
        """The name of the blob at `path`, and its size (`BAD` for one that git cannot read); None: no such file."""
        told = self.git("--literal-pathspecs", "ls-tree", "-lz", "--full-tree", "--end-of-options", commit, path)
        kind, name, size = [b"", b"", b"", *told.stdout.partition(b"\t")[0].split()][-3:]
        return (name.decode(), size.decode()) if kind == b"blob" else None

    @contextmanager
    def _archive_output(self, form: str, commit: str, subdir: str) -> Iterator[IO[bytes]]:
        """The output of git archive; git ends when the reader does, after the time limit by force."""
        with scratch_directory(self._scratch) as scratch, tempfile.TemporaryFile() as errors:
            environment = git_environment(GIT_DIR=str(scratch), GIT_OBJECT_DIRECTORY=self._objects(str(scratch)))
            args = [*_ARCHIVE, f"--format={form}", "--end-of-options", commit, *([subdir] if subdir else [])]
            process = subprocess.Popen([*tied(), "git", *args], env=environment, stdout=subprocess.PIPE, stderr=errors)
            broken: tarfile.TarError | None = None
            try:
                with _bounded(process, self._timeout) as output:
                    yield output
            except tarfile.TarError as error:
                broken = error
            # tarfile takes a stream that was cut between two files for complete: only the exit status tells
            if broken or process.returncode not in ((0, -signal.SIGPIPE) if form == "zip" else (0,)):
                errors.seek(0)
                late = f"git archive took longer than {self._timeout:g} seconds"
                killed = process.returncode == -signal.SIGKILL
                raise SourceUnreadable(late if killed else _failure(args, errors.read())) from broken

    def _objects(self, scratch: str) -> str:
        """Make `scratch` an empty bare repository of the same object format, and return the objects to read from it."""
        objects = self._make_bare(scratch)
        info = Path(scratch, "info")
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(_ATTRIBUTES)
        return objects

    def _make_bare(self, scratch: str) -> str:
        told = self.git("rev-parse", "--show-object-format", "--git-path", "objects").stdout.decode(
            errors="surrogateescape"
        )
        object_format, objects = told.rstrip("\n").split("\n", 1)
        init = ["init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", scratch]
        run_git(init, timeout=self._timeout)
        return str(Path(objects).absolute())


@contextmanager
def _bounded(process: subprocess.Popen[bytes], timeout: float) -> Iterator[IO[bytes]]:
    """The process's stdout; the process has ended afterwards, by force after `timeout` seconds."""
    assert process.stdout is not None  # noqa: S101 - opened as a pipe
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    try:
        yield process.stdout
        process.stdout.read(_CHUNK)  # the padding that tarfile leaves unread, or git dies of it
    finally:
        process.stdout.close()
        process.wait()
        timer.cancel()


def _entries(output: IO[bytes], prefix: str) -> Iterator[tuple[Entry, Readable]]:
    """Walk a tar stream; a module's own directory and those above and below it are no entries."""
    with tarfile.open(
        fileobj=output, mode="r|", bufsize=_TAR_BUFFER, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        while (member := archive.next()) is not None:
            # tarfile keeps all members otherwise: too much for large modules
            archive.members.clear()  # type: ignore[attr-defined]
            if member.name.startswith(prefix) and not member.isdir():
                entry = Entry(member.name.removeprefix(prefix), _kind(member), member.size)
                yield entry, _content(archive, member)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Readable:
    content = archive.extractfile(member) if member.isreg() else None
    return content if content is not None else _Nothing()


class _Nothing:
    """The content of what is no regular file."""

    def read(self, _size: int = -1, /) -> bytes:
        return b""


def _kind(member: tarfile.TarInfo) -> Kind:
    if member.isreg():
        return Kind.FILE
    return Kind.SYMLINK if member.issym() else Kind.OTHER


def _failure(args: Sequence[str], stderr: bytes) -> str:
    """What git said, without credentials in URLs, shortened."""
    text = _CREDENTIALS.sub("***@", stderr.decode(errors="replace")).strip()
    return f"git {_verb(args)} failed: {text[-_SHOWN_STDERR:] or 'no message'}"


def _verb(args: Sequence[str]) -> str:
    """The subcommand: the first argument that is neither an option nor an option's value."""
    known = (
        "archive",
        "cat-file",
        "fetch",
        "for-each-ref",
        "init",
        "log",
        "ls-remote",
        "ls-tree",
        "merge-base",
        "rev-parse",
        "show-ref",
    )
    return next((arg for arg in args if arg in known), "")
