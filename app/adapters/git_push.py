"""One atomic push, each ref with its explicit lease; every ref's result is read."""

from __future__ import annotations

from collections.abc import Sequence

from app.adapters.git_process import Result
from app.adapters.git_push_ahead import Ahead
from app.adapters.git_repository import Repository, check_ref, check_sha
from app.domain.errors import SyncError
from app.domain.refs import RefUpdate
from app.services.ports import Checkpoint

# No --force and no "+" anywhere: beside a stale lease they would override it.
_ARGS = ("push", "--porcelain", "--atomic", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
_NO_OPTIONS = "does not support push options"
_TAKEN = {" ", "+", "*", "="}  # flags of --porcelain: fast forward, forced, new, up to date
_CONSEQUENCE = "(atomic push failed)"


def push(
    repo: Repository, url: str, updates: Sequence[RefUpdate], options: Sequence[str], fence: Checkpoint,
    ahead: Ahead | None = None,
) -> frozenset[str]:  # fmt: skip
    """Push all `updates`, or nothing, through what was begun `ahead`. The fence is asked right before, each time.

    Returns the refs that were changed: what was up to date is not among them.

    Raises SyncError: `mirror_moved` for a refused lease, GitLab's refusals by their codes, and `push_not_visible` when
    git reports success without a result for each ref.
    """
    if not updates:
        return frozenset()
    result = (ahead and ahead.send(updates, fence)) or _send(repo, url, updates, options, fence)
    if options and result.code and _NO_OPTIONS in result.err:
        result = _send(repo, url, updates, (), fence)
    flags = _flags(result)
    refused = [line for flag, line in flags.values() if flag not in _TAKEN]
    if result.code or refused:
        raise repo.failure("mirror", url, result, _told(refused))
    silent = [update.ref for update in updates if update.ref not in flags]
    if silent:
        raise SyncError("push_not_visible", f"git reported nothing for {', '.join(silent)}")
    return frozenset(update.ref for update in updates if flags[update.ref][0] != "=")


def _send(
    repo: Repository, url: str, updates: Sequence[RefUpdate], options: Sequence[str], fence: Checkpoint
) -> Result:
    leases = [f"--force-with-lease={check_ref(u.ref)}:{check_sha(u.expected) if u.expected else ''}" for u in updates]
    wishes = [f"--push-option={_check_option(option)}" for option in options]
    specs = [f"{check_sha(u.new)}:{u.ref}" for u in updates]
    fence()
    return repo.remote("mirror", url, [*_ARGS, *leases, *wishes], specs)


def _check_option(option: str) -> str:
    if not option or not option.isprintable():
        raise SyncError("bad_request", f"{option!r} is no push option")
    return option


def _flags(result: Result) -> dict[str, tuple[str, str]]:
    """ref -> (flag, the whole line), from lines `<flag>\\t<from>:<to>\\t<summary> (<reason>)`."""
    lines = [line for line in result.out.decode("utf-8", "replace").splitlines() if line.count("\t") >= 2]
    return {line.split("\t")[1].rpartition(":")[2]: (line[0], line) for line in lines}


def _told(refused: Sequence[str]) -> str:
    """The refused refs' lines, without those that were refused only because another one was."""
    causes = [line for line in refused if _CONSEQUENCE not in line] or list(refused)
    return "\n".join(line.replace("\t", " ") for line in causes)
