"""A push whose first half is done ahead: process, connection, login and the mirror's refs, while the source is fetched.

`git push` drives `git remote-http` by the protocol of gitremote-helpers(7): `list for-push` first, `push` only then. Driven
from here, nothing is asked of the mirror but its refs until send() is called; a worker that dies before closes the pipe,
and git ends. Options that this git does not know, or anything else that is not as expected before something was sent:
`git push` does it all.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from app.adapters.git_process import Result, Watch
from app.adapters.git_repository import Repository, check_ref, check_sha
from app.adapters.git_talk import GitEndedError, Talk
from app.domain.errors import SyncError
from app.domain.refs import RefUpdate
from app.services.log_ids import carried
from app.services.ports import Checkpoint

_FIXED = ("progress false", "verbosity 0", "atomic true")
_AT = re.compile(r"([0-9a-f]{40}) (refs/\S+)")
_NO_REFS = (":", "@", "?")  # what else such a list may tell: attributes, symbolic refs, unborn ones
_NONE = "0" * 40


def can_begin(url: str) -> bool:
    """Whether git has a helper for the URL that works as described above."""
    return urlsplit(url).scheme in ("http", "https")


class Ahead:
    """One push to `url` with these push options, begun in a thread of its own once `ready`; close() it whatever happens."""

    def __init__(self, repo: Repository, url: str, options: Sequence[str], ready: Callable[[], bool]) -> None:
        self.url, self.options = url, tuple(options)
        self._repo, self._ready = repo, ready
        self._talk: Talk | None = None
        self._refs: Mapping[str, str] | None = None
        self._ended: Result | None = None
        self._begun, self._over = threading.Event(), threading.Event()
        self._used = False
        self._thread = threading.Thread(target=carried(self._first_half), name="push", daemon=True)

    def begin(self) -> None:
        """Start git; does not wait for it."""
        if self._thread.ident is None:
            self._thread.start()

    @property
    def waits(self) -> bool:
        """Whether it was begun and send() was not called yet."""
        return self._thread.ident is not None and not self._used

    def send(self, updates: Sequence[RefUpdate], fence: Checkpoint) -> Result | None:
        """As `git push --porcelain --atomic` with leases ends; None when git has to be asked for it.

        The fence is asked when the mirror has answered, right before it is told what to change.
        Raises SyncError `git_timeout`, or what the checkpoint or the fence raises; nothing of git is left then.
        """
        self._used = True
        began, outcome = time.perf_counter(), "failed"
        try:
            result = self._sent(updates, fence)
            outcome = "failed" if result is None or result.code else "ok"
        finally:
            self._repo.options.tally.call(began, "git", "mirror", "push", outcome)
            if outcome == "failed":
                self.close()
        return result

    def close(self) -> None:
        """End git, however far it is."""
        self._over.set()
        if self._talk:
            self._talk.stop()
        if self._thread.ident is not None:
            self._thread.join()

    def _first_half(self) -> None:
        try:
            if self._ready() and not self._over.is_set():
                remote = f"remote-{urlsplit(self.url).scheme}"
                self._talk = Talk(self._repo.started(self.url, [remote, self.url, self.url]))
                self._refs = self._asked(self._talk)
        except GitEndedError as error:
            self._ended = error.result
        except SyncError:
            self._refs = None  # git push says what is wrong
        finally:
            self._begun.set()
        self._over.wait()  # git is tied to the thread that starts it
        if self._talk:
            self._talk.end()

    def _asked(self, talk: Talk) -> Mapping[str, str] | None:
        options = [*_FIXED, *(f"push-option {option}" for option in self.options)]
        talk.say([*(f"option {option}" for option in options), "list for-push"])
        lines = talk.block(self._unwatched())
        if lines[: len(options)] != ["ok"] * len(options):
            return None
        refs = [line for line in lines[len(options) :] if line[:1] not in _NO_REFS]
        found = [_AT.fullmatch(line) for line in refs]
        return {at[2]: at[1] for at in found if at} if all(found) else None

    def _unwatched(self) -> Watch:
        return replace(self._repo.watch, checkpoint=lambda: None)

    def _sent(self, updates: Sequence[RefUpdate], fence: Checkpoint) -> Result | None:
        while not self._begun.wait(self._repo.watch.beat):
            self._repo.watch.checkpoint()
        if self._ended or self._talk is None or self._refs is None:
            return self._ended
        at = {update.ref: self._refs.get(update.ref) for update in updates}
        stale = [each for each in updates if at[each.ref] not in (each.new, each.expected)]
        if stale:
            return Result(1, b"".join(_line("!", each, "[rejected] (stale info)") for each in stale), "")
        new = [update for update in updates if at[update.ref] != update.new]
        there = b"".join(_line("=", each, "[up to date]") for each in updates if each not in new)
        if new:
            fence()  # the mirror may have taken its time: what was asked before that is old
        try:
            told = self._pushed(self._talk, new) if new else {}
        except GitEndedError as error:
            return error.result
        said = b"".join(_line(*_verdict(told, each)) for each in new if each.ref in told)
        complaints = self._talk.complaints()
        # It tells of other refs, too; and of none where the mirror broke off.
        failed = any(told.get(each.ref) for each in new) or (complaints and any(each.ref not in told for each in new))
        return Result(int(bool(failed)), there + said, complaints)

    def _pushed(self, talk: Talk, updates: Sequence[RefUpdate]) -> dict[str, str]:
        """ref -> why it was refused ("": it was not), as the mirror reported."""
        leases = [f"option cas {check_ref(each.ref)}:{check_sha(each.expected or _NONE)}" for each in updates]
        talk.say([*leases, *(f"push {check_sha(each.new)}:{each.ref}" for each in updates), ""])
        told = [line.split(" ", 2) for line in talk.block(self._repo.watch)]
        return {words[1]: " ".join(words[2:]).strip('"') for words in told if words[0] in ("ok", "error") and words[1:]}


def _verdict(told: Mapping[str, str], update: RefUpdate) -> tuple[str, RefUpdate, str]:
    why = told[update.ref]
    return ("!", update, f"[remote rejected] ({why})") if why else (" ", update, "[ok]")


def _line(flag: str, update: RefUpdate, told: str) -> bytes:
    """As `git push --porcelain` says it."""
    return f"{flag}\t{update.new}:{update.ref}\t{told}\n".encode()
