"""What git and GitLab say -> one of our codes. Pure: a table per side, read from the top, the first match counts.

Texts are git's (2.39 to 2.47, LC_ALL=C), curl's as git passes them on, and GitLab's (references in docs/). A line that
starts with `remote:` (or `!`, a refused ref) is the other side speaking: only the sides' own tables look at it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from typing import Literal

from app.adapters.redact import redact
from app.domain.errors import SyncError

Side = Literal["source", "mirror"]
Rule = tuple[re.Pattern[str], str]  # what git says, and the code it stands for

_THEIRS = ("remote:", "!")  # how lines start in which the other side speaks
_MESSAGE_LINES = 3
_MESSAGE_LENGTH = 500
_NOISE = re.compile(
    r"^(?:remote:\s*(?:=*\s*)?$|remote: (?:Enumerating|Counting|Compressing|Total|Resolving)|To |From |Done$|\s*$"
    r"|hint:|error: failed to push some refs|fatal: the remote end hung up unexpectedly$"
    r"|Please make sure you have the correct access|and the repository exists)"
)

# GitLab's own words (lib/gitlab/git_access.rb, middleware/read_only, Gitaly), for a path or a ref may be called read-only:
# those have no blanks, which is why texts with one are safe here, but for what hooks say.
READ_ONLY = r"read-only (?:GitLab|instance|mode|state)|(?:is|currently|temporarily) read-only|maintenance mode"
# Hooks name files, which have blanks, and patterns (EE, lib/ee/gitlab/checks): of a push that they declined only
# how GitLab itself begins counts.
_NO_HOOK = r"(?s:\A(?!.*hook declined).*?)"
_SAID = r"(?m:^remote: (?:GitLab: )?(?:\d+[: ])?)"
_READ_ONLY_SAID = (
    r"(?:You can't push code to a|You cannot perform write operations on a) read-only "
    r"|The repository is temporarily read-only|repository is in read-only mode"
    r"|Git push is not allowed because this (?:GitLab )?instance is currently in "
)
_LIMIT = r"Too Many Requests|[Rr]ate limit"
BANNED = "GitLab may have banned this address for an hour after failed logins, or something in front of it refuses this"
_SURELY_BANNED = "GitLab has banned this address for an hour after failed logins"
BAN_SECONDS = 600.0  # after so long a banned address tries again, for nobody says how much of the hour is left
_SHA = r"[0-9a-f]{40}"
_REDIRECT = (r"returned error: 30[1278]", r"unable to update url base from redirection")
_NOT_ALLOWED = (r"protocol '[^']*' is not allowed", r"transport '[^']*' not allowed")
_CUT = (
    r"early EOF",
    r"unexpected disconnect",
    r"RPC failed",
    r"the remote end hung up",
    r"transfer closed",
    r"unexpected eof",
)
_UNREACHABLE = (
    *_CUT,
    r"Could not resolve (?:host|proxy)",
    r"Failed to connect",
    r"Couldn't connect",
    r"Connection (?:refused|reset|timed out|closed)",
    r"Network is unreachable",
    r"No route to host",
    r"Operation timed out",
    r"Empty reply from server",
    r"Recv failure",
    r"Send failure",
    r"SSL|TLS|certificate|gnutls",
    r"kex_exchange|Host key verification failed|ssh: ",
    r"not valid: is this a git repository",  # a login page, say
    r"invalid server response|bad line length|expected flush",
    r"HTTP/2 stream",
    r"Received HTTP code \d+ from proxy",
    r"git-http-push failed",  # not git's protocol: a login page, again
    r"unable to access",
)
_DENIED = (
    r"Authentication failed for",
    r"could not read (?:Username|Password)",
    r"HTTP Basic: Access denied",
    r"returned error: 401",
    r"Permission denied \(",
)
_MISSING = (
    r"repository '[^']*' not found",
    r"does not appear to be a git repository",
    r"returned error: 404",
    r"[Pp]roject you were looking for could not be found",
    r"(?:Project|Repository) not found",
    r"no such repository",
)


def _rule(code: str, *patterns: str) -> Rule:
    return re.compile("|".join(patterns)), code


# Before all others: what of a whole repository git, or modsync, cannot work with.
_UNSUPPORTED = (
    r"mismatched algorithms|does not support this repository's hash algorithm",  # one side has SHA-256 names
    r"shallow roots are not allowed|attempt to fetch/clone from a shallow|source repository is shallow",
)
_KINDS: dict[Side, Rule] = {
    "source": _rule("source_unsupported", *_UNSUPPORTED),
    "mirror": _rule("gitlab_refused", *_UNSUPPORTED),
}

# This machine's own part, whichever the other side is.
_LOCAL: tuple[Rule, ...] = (
    _rule("disk_full", r"No space left on device", r"Disk quota exceeded"),
    _rule("git_timeout", r"Operation too slow", r"Timeout, server \S+ not responding"),
    _rule("source_corrupt", r"fsck error"),
    _rule(
        "cache_broken",
        r"fatal: bad object",
        r"bad (?:packed |tree |blob |commit |tag )object",
        r"[Nn]ot a git repository",
        r"object file \S+ is empty",
        r"(?:loose|packed) object \S+ .*is corrupt",
        r"pack(?:file)? \S+ (?:is far too short|cannot be mapped|cannot be accessed|does not match|claims to have)",
        r"index file \S+ (?:is too small|corrupt|is corrupt)|non-monotonic index|wrong index v\d+",
        r"inflate: data stream error|unable to unpack",
        rf"(?:[Uu]nable to|[Cc]ould not|[Cc]annot|[Ff]ailed to) (?:read|find|parse|get) (?:sha1 file|tree|object|commit|{_SHA})",
        rf"missing (?:blob|tree|commit|tag|object)(?: object)? '?{_SHA}",
        r"invalid sha1 pointer|does not point to a valid object|nor a valid object",
        r"unexpected line in \S*packed-refs|bad config line|hash mismatch",
        rf"src refspec {_SHA}",
        r"Unable to create '[^']*\.lock'|unable to open \S+\.(?:pack|idx)",
    ),
)

# Of a host that is left alone for a while.
LIMITED: dict[Side, str] = {"source": "source_unreachable", "mirror": "rate_limited"}
# GitLab's whole answer to a banned address, with 403 (ApplicationController, of Gitlab::Auth::IpBlocked): to git alone.
_IP_BLOCKED = r"(?m:^remote: Too many failed authentication attempts from this IP *$)"
# Rack::Attack's, to everything that the address asks.
_FORBIDDEN = r"(?m:^remote: Forbidden *$)"
_BANNED: dict[Side, Rule] = {side: _rule(code, _IP_BLOCKED, _FORBIDDEN) for side, code in LIMITED.items()}

_SOURCE: tuple[Rule, ...] = (
    _BANNED["source"],
    _rule("source_denied", r"returned error: 403", *_DENIED),
    _rule("source_missing", *_MISSING, *_REDIRECT),
    _rule("clone_url_refused", *_NOT_ALLOWED),
    _rule("source_unreachable", r"returned error: (?:429|5\d\d)", *_CUT),
    _rule("source_corrupt", r"index-pack failed", r"did not send all necessary objects", r"bad pack header"),
    _rule("source_corrupt", r"remote error: upload-pack", r"remote: (?:fatal|error):"),
    _rule("source_unreachable", *_UNREACHABLE),
)

_MIRROR: tuple[Rule, ...] = (
    _rule("tag_blocked", r"'refs/[^']*' exists; cannot create", r"there are still refs under"),
    _rule(
        "tag_protected",
        r"not allowed to create this tag as it is protected",
        r"Protected tags cannot be (?:updated|deleted)",
        r"not allowed to change existing tags",
    ),
    _rule("protected_branch", r"not allowed to (?:force )?push code to (?:a )?protected branch"),
    _rule(
        "too_large",
        r"pack exceeds maximum allowed size",
        r"is larger than the allowed size",
        r"file size limit",
        r"returned error: 413",
    ),
    _rule(
        "quota",
        r"exceed(?:ed)? (?:its|the) size limit",
        r"storage (?:quota|limit)",
        r"exceed(?:ed)? the allocated storage",
    ),
    _rule("read_only", rf"{_NO_HOOK}(?:{READ_ONLY})", rf"{_SAID}(?:{_READ_ONLY_SAID})"),
    _BANNED["mirror"],
    _rule("lfs_missing", r"LFS objects are missing", r"LFS pointers? .*(?:missing|not)"),
    _rule("forbidden", r"not allowed to (?:push|upload) (?:code|your)", r"returned error: 403"),
    _rule("rate_limited", r"returned error: 429", rf"{_NO_HOOK}(?:{_LIMIT})", rf"{_SAID}(?:{_LIMIT})"),
    _rule("token_expired", *_DENIED),
    _rule("project_missing", *_MISSING, *_REDIRECT),
    _rule("gitlab_refused", *_NOT_ALLOWED),
    _rule(
        "gitlab_unavailable",
        r"No space left on device",
        r"returned error: 5\d\d",
        r"[Ii]nternal (?:API|[Ss]erver) ",
        r"GitLab: 5\d\d [A-Z]",  # of /api/v4/internal/allowed, passed on to who pushes
        r"API is not accessible",
        # GitLab's own limit for the checks of a push (lib/gitlab/git_access.rb), 503 to itself; gRPC's codes of Gitaly.
        r"Push operation timed out",
        r"GitLab: (?:4|14):",
        r"Gitaly, is not available",
    ),
    _rule("push_refused", r"hook declined", r"GitLab: "),
    _rule(
        "mirror_moved",
        r"stale info|fetch first|\(non-fast-forward|needs force|\(already exists\)|remote ref updated since",
        r"reference already exists|cannot lock ref|failed to (?:update|lock)|incorrect old value",
        r"atomic transaction failed",
    ),
    _rule("gitlab_unavailable", r"remote: (?:fatal|error):", r"unpacker error|remote unpack failed"),
    _rule("push_refused", r"\[(?:remote )?rejected\]"),
    _rule("gitlab_unreachable", *_UNREACHABLE),
)

_LOGIN_REFUSED: tuple[Rule, ...] = (_rule("token_expired", *_DENIED),)

_LIMITED: tuple[Rule, ...] = (_rule("rate_limited", r"returned error: 429"),)

_RULES: dict[Side, tuple[Rule, ...]] = {"source": _SOURCE, "mirror": _MIRROR}


def classify(side: Side, code: int, text: str, *, where: str = "", secrets: Collection[str] = ()) -> SyncError:
    """The error that git's exit `code` and `text` (stderr, with a push's refused lines) stand for.

    `where` names the repository in the message. Nothing known: `git_failed`. `retry_after` for a ban alone. The message
    is redacted and short.
    """
    local = "\n".join(line for line in text.splitlines() if not line.startswith(_THEIRS))
    found = _first((_KINDS[side], *_LOCAL), local) or _first(_RULES[side], text) or "git_failed"
    said = redact(": ".join(filter(None, (where, summary(text) or f"git ended with {code}"))), secrets)
    if found == LIMITED[side] and _first((_BANNED[side],), text):
        hint = _SURELY_BANNED if re.search(_IP_BLOCKED, text) else BANNED
        return SyncError(found, f"{said} ({hint})", retry_after=BAN_SECONDS)
    return SyncError(found, said)


def is_surely_banned(error: SyncError) -> bool:
    """Whether classify() made this of what only a GitLab says, which bans this address from git."""
    return error.message.endswith(f"({_SURELY_BANNED})")


def is_login_refused(text: str) -> bool:
    """Whether git's output says that the other side did not take who we are (401), whatever it says of what we may."""
    return _first(_LOGIN_REFUSED, text) is not None


def is_rate_limited(text: str) -> bool:
    """Whether git's output says that the other side wants fewer requests (429)."""
    return _first(_LIMITED, text) is not None


def from_os(error: OSError, where: str) -> SyncError:
    """The error for a failed file operation in the cache."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return SyncError("disk_full" if full else "git_failed", f"{where}: {error.strerror or error}")


def summary(text: str) -> str:
    """The last lines of git's output that say something, joined; at most 500 characters."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if not _NOISE.match(line)]
    distinct = list(dict.fromkeys(lines))
    return " | ".join(distinct[-_MESSAGE_LINES:])[-_MESSAGE_LENGTH:]


def _first(rules: tuple[Rule, ...], text: str) -> str | None:
    return next((code for pattern, code in rules if pattern.search(text)), None)
