"""git commands on one bare repository (or on none), each with the right environment, limits and errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from app.adapters.cache_budget import check_room
from app.adapters.git_env import Credentials, GitOptions, check_url, environment
from app.adapters.git_errors import LIMITED, Side, classify, from_os, is_login_refused, is_rate_limited
from app.adapters.git_ls_refs import LoginRefusedError, ls_refs
from app.adapters.git_process import GitProcess, Result, Watch, run
from app.adapters.git_resolve import Pin
from app.adapters.redact import redact
from app.domain.errors import SyncError
from app.domain.refs import TagAt

_ILLEGAL_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(?:/|$)|(?:^|/)\.|[./]$")
_NAME_LENGTH = 40  # hex digits of SHA-1
_GLOB = re.compile(r"[*?\[]")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FATAL = 128  # git's status when it gives up
_ASK_SECONDS = 5.0  # for each wait; then git asks, for as long as its commands may take
_NO_MORE: Mapping[str, str] = {}
_REFUSED: dict[Side, str] = {"source": "clone_url_refused", "mirror": "gitlab_refused"}


class Repository:
    """Runs git on the bare repository at `path`; None: only commands that need no repository."""

    def __init__(self, path: Path | None, options: GitOptions, credentials: Credentials, watch: Watch) -> None:
        self.path = path
        self.options = options
        self.watch = watch
        self._credentials = credentials

    def local(self, *args: str, stdin: bytes = b"", more: Mapping[str, str] = _NO_MORE) -> Result:
        """Run git on the repository alone; `more` is environment. Raises SyncError."""
        result = self._run(args, None, stdin, self._name(), more)
        if result.code:
            raise classify("source", result.code, result.err, where=self._name())
        return result

    def attempt(self, *args: str, more: Mapping[str, str] = _NO_MORE) -> Result:
        """Run git on the repository alone; the caller looks at the exit code. Raises SyncError for timeouts."""
        return self._run(args, None, b"", self._name(), more)

    def remote(
        self,
        side: Side,
        url: str,
        args: Sequence[str],
        after: Sequence[str] = (),
        *,
        stdin: bytes = b"",
        more: Mapping[str, str] = _NO_MORE,
        meanwhile: Callable[[], None] | None = None,
    ) -> Result:
        """Run `git <args> --end-of-options <url> <after>`; the caller looks at the exit code; `more` is environment.

        `meanwhile` is done while it starts.

        Raises SyncError for a URL that git may not be given, and for timeouts.
        """
        self._check(side, url)
        pinned = self.options.pinned(url) if side == "source" else None
        began, outcome = time.perf_counter(), "failed"
        try:
            result = self._run(
                (*args, "--end-of-options", url, *after), url, stdin, redact(url), more, pinned, meanwhile,
                self._with_room() if side == "source" and self.path else self.watch,
            )  # fmt: skip
            outcome = "failed" if result.code else "ok"
        finally:
            self.options.tally.call(began, "git", side, args[0], outcome)
        return result

    def started(self, url: str, args: Sequence[str]) -> GitProcess:
        """A git on the repository that talks to the mirror at `url`, for whoever goes on with it. Raises SyncError."""
        self._check("mirror", url)
        env = environment(self.options, git_dir=self.path, url=url, credential=self._credentials(url))
        try:
            return GitProcess(args, env, self.path or self.options.cache_dir)
        except OSError as error:
            raise from_os(error, redact(url)) from error

    def failure(self, side: Side, url: str, result: Result, more: str = "") -> SyncError:
        """The error that a failed command with `url` stands for; `more` is text to look at beside stderr."""
        secrets, text = self._secrets(url), f"{result.err}\n{more}"
        error = classify(side, result.code, text, where=redact(url, secrets), secrets=secrets)
        if error.retry_after or error.code == "rate_limited" or is_rate_limited(text):
            return self.options.limited(url, error)
        return self.options.refused(url, error) if is_login_refused(text) else error

    def remote_refs(self, side: Side, url: str, patterns: Sequence[str] = ()) -> dict[str, TagAt]:
        """The refs at `url` that match one of `patterns` ([]: all), by full name, with their peeled objects."""
        objects = self._asked(side, url, patterns)
        if objects is None:
            objects = self._listed(side, url)
        if any(len(found) != _NAME_LENGTH for found in objects.values()):
            raise self.failure(side, url, Result(1, b"", "mismatched algorithms: its objects have SHA-256 names"))
        wanted = _Wanted(patterns)
        return {
            ref: TagAt(found, objects.get(f"{ref}^{{}}", found))
            for ref, found in objects.items()
            if ref.startswith("refs/") and not ref.endswith("^{}") and ref in wanted
        }

    def _asked(self, side: Side, url: str, patterns: Sequence[str]) -> dict[str, str] | None:
        """By one small request, where nothing stands between us and the other side; None: git has to ask.

        Raises SyncError for a login that was refused.
        """
        options = self.options
        prefixes = _prefixes(patterns)
        if options.proxy_for(url) or not prefixes or not url.startswith("http"):
            return None
        self._check(side, url)
        pinned = options.pinned(url) if side == "source" else None
        self.watch.checkpoint()
        began, found = time.perf_counter(), None
        try:
            found = ls_refs(
                url, prefixes, self._credentials(url), ca_file=options.ca_file, seconds=_ASK_SECONDS,
                addresses=pinned.addresses if pinned else (),
            )  # fmt: skip
        except LoginRefusedError as refusal:
            raise self.failure(side, url, Result(_FATAL, b"", refusal.said)) from None
        finally:
            options.tally.call(began, "git", side, "ls-refs", "ok" if found is not None else "failed")
        return found

    def _listed(self, side: Side, url: str) -> dict[str, str]:
        result = self.remote(side, url, ["ls-remote", "--quiet"])
        if result.code:
            raise self.failure(side, url, result)
        objects = _advertised(result.out.decode("utf-8", "surrogateescape"))
        if not objects and url.startswith("http"):
            self._check_speaks_git(side, url)
        return objects

    def _check_speaks_git(self, side: Side, url: str) -> None:
        """A login page that answers 200 looks to git like an old-fashioned server of an empty repository."""
        traced = self.remote(side, url, ["ls-remote", "--quiet"], more={"GIT_TRACE_PACKET": "1"})
        if "packet:" not in traced.err:
            raise self.failure(side, url, Result(1, b"", "invalid server response: not git's protocol; a login page?"))

    def environment(self) -> dict[str, str]:
        """The environment for git on this repository that talks to nobody."""
        return environment(self.options, git_dir=self.path)

    def _run(
        self, args: Sequence[str], url: str | None, stdin: bytes, where: str, more: Mapping[str, str] = _NO_MORE,
        pinned: Pin | None = None, meanwhile: Callable[[], None] | None = None, watch: Watch | None = None,
    ) -> Result:  # fmt: skip
        credential = self._credentials(url) if url else None
        env = environment(self.options, git_dir=self.path, url=url, credential=credential, pin=pinned)
        env |= more
        try:
            place = self.path or self.options.cache_dir
            return run(args, env, place, watch or self.watch, stdin=stdin, where=where, meanwhile=meanwhile)
        except OSError as error:
            raise from_os(error, where) from error

    def _with_room(self) -> Watch:
        """Also ends what brings more and more of a source while the disk fills up. Error: disk_full."""
        watch, options = self.watch, self.options

        def checkpoint() -> None:
            watch.checkpoint()
            check_room(options.cache_dir, options.min_free_bytes)

        return replace(watch, checkpoint=checkpoint)

    def _check(self, side: Side, url: str) -> None:
        """Errors: a URL that git may not be given; a host that is left alone for now."""
        check_url(url, self.options.protocols, _REFUSED[side])
        self.options.held(url, LIMITED[side])

    def _secrets(self, url: str) -> list[str]:
        credential = self._credentials(url)
        return [credential.password.get_secret_value()] if credential else []

    def _name(self) -> str:
        return f"cache {self.path.name}" if self.path else ""


def is_ref(ref: str) -> bool:
    """True for a full ref name that git can have, and that no command takes for an option."""
    name = ref.split("/", 2)[2:]
    return ref.startswith("refs/") and bool(name) and name[0][:1] != "-" and not _ILLEGAL_IN_REF.search(ref)


def check_ref(ref: str) -> str:
    """`ref` when it is a full, legal ref name. Raises SyncError `bad_request`."""
    if not is_ref(ref):
        raise SyncError("bad_request", f"{ref!r} is no ref name that modsync uses")
    return ref


def check_sha(sha: str) -> str:
    """`sha` when it is a full object name in lower case. Raises SyncError `bad_request`."""
    if not _SHA.fullmatch(sha):
        raise SyncError("bad_request", f"{sha!r} is no full object name")
    return sha


def _advertised(listing: str) -> dict[str, str]:
    pairs = (line.split("\t", 1) for line in listing.splitlines() if "\t" in line)
    return {ref: found for found, ref in pairs}


def _prefixes(patterns: Sequence[str]) -> list[str]:
    """What every matching ref begins with; [] where a pattern says nothing of that."""
    found = [_GLOB.split(pattern, maxsplit=1)[0] for pattern in patterns]
    return found if all(each.startswith("refs/") for each in found) else []


class _Wanted:
    """Which refs are asked for: full names as they are, patterns as `git ls-remote` takes them, [] for all."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._all = not patterns
        self._names = frozenset(patterns)
        self._globs = [f"*/{each}" for each in patterns if _GLOB.search(each) or not each.startswith("refs/")]

    def __contains__(self, ref: str) -> bool:
        return self._all or ref in self._names or any(fnmatchcase(f"/{ref}", glob) for glob in self._globs)
