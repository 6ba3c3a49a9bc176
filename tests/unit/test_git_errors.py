"""What git and GitLab say -> our code: one line of this table for each text that is known."""

from __future__ import annotations

import errno

import pytest

from app.adapters.git_errors import Side, classify, from_os, is_surely_banned, summary
from app.domain.errors import CATALOG

SHA = "0123456789abcdef0123456789abcdef01234567"
ACCESS = "fatal: unable to access 'https://git.example/lib.git/': "

BOTH = [  # text, at the source, at the mirror
    (ACCESS + "Could not resolve host: git.example", "source_unreachable", "gitlab_unreachable"),
    (
        ACCESS + "Failed to connect to git.example port 443: Connection refused",
        "source_unreachable",
        "gitlab_unreachable",
    ),
    (ACCESS + "SSL certificate problem: self-signed certificate", "source_unreachable", "gitlab_unreachable"),
    (ACCESS + "server certificate verification failed. CAfile: none", "source_unreachable", "gitlab_unreachable"),
    (ACCESS + "gnutls_handshake() failed: The TLS connection was closed", "source_unreachable", "gitlab_unreachable"),
    (ACCESS + "Empty reply from server", "source_unreachable", "gitlab_unreachable"),
    (ACCESS + "Received HTTP code 407 from proxy after CONNECT", "source_unreachable", "gitlab_unreachable"),
    (ACCESS + "The requested URL returned error: 301", "source_missing", "project_missing"),
    (ACCESS + "The requested URL returned error: 403", "source_denied", "forbidden"),
    (ACCESS + "The requested URL returned error: 429", "source_unreachable", "rate_limited"),
    (ACCESS + "The requested URL returned error: 503", "source_unreachable", "gitlab_unavailable"),
    (ACCESS + "Operation too slow. Less than 1000 bytes/sec transferred", "git_timeout", "git_timeout"),
    ("fatal: repository 'https://git.example/lib.git/' not found", "source_missing", "project_missing"),
    ("fatal: '/srv/lib.git' does not appear to be a git repository", "source_missing", "project_missing"),
    ("remote: The project you were looking for could not be found or you", "source_missing", "project_missing"),
    ("ERROR: Project not found", "source_missing", "project_missing"),
    ("fatal: Authentication failed for 'https://git.example/lib.git/'", "source_denied", "token_expired"),
    ("fatal: could not read Username for 'https://x': terminal prompts disabled", "source_denied", "token_expired"),
    ("remote: HTTP Basic: Access denied. The provided password or token", "source_denied", "token_expired"),
    ("git@git.example: Permission denied (publickey).", "source_denied", "token_expired"),
    ("Host key verification failed.\nfatal: Could not read from remote", "source_unreachable", "gitlab_unreachable"),
    ("ssh: connect to host x port 22: Connection timed out", "source_unreachable", "gitlab_unreachable"),
    ("error: RPC failed; curl 18 transfer closed with outstanding data", "source_unreachable", "gitlab_unreachable"),
    ("fatal: the remote end hung up unexpectedly", "source_unreachable", "gitlab_unreachable"),
    ("fatal: early EOF\nfatal: fetch-pack: invalid index-pack output", "source_unreachable", "gitlab_unreachable"),
    ("fatal: https://x/info/refs not valid: is this a git repository?", "source_unreachable", "gitlab_unreachable"),
    ("fatal: protocol error: bad line length character: <htm", "source_unreachable", "gitlab_unreachable"),
    ("error: no DAV locking support\nfatal: git-http-push failed", "source_unreachable", "gitlab_unreachable"),
    ("fatal: transport 'git' not allowed", "clone_url_refused", "gitlab_refused"),
    ("fatal: write error: No space left on device", "disk_full", "disk_full"),
    ("error: file write error: Disk quota exceeded", "disk_full", "disk_full"),
    (f"fatal: bad object {SHA}", "cache_broken", "cache_broken"),
    ("fatal: not a git repository: '/var/cache/x.git'", "cache_broken", "cache_broken"),
    (
        f"error: object file objects/01/23 is empty\nfatal: loose object {SHA} is corrupt",
        "cache_broken",
        "cache_broken",
    ),
    (f"fatal: loose object {SHA} (stored in objects/01/23) is corrupt", "cache_broken", "cache_broken"),
    ("error: packfile objects/pack/pack-1.pack is far too short to be a packfile", "cache_broken", "cache_broken"),
    ("error: packfile objects/pack/pack-1.pack does not match index", "cache_broken", "cache_broken"),
    ("error: index file objects/pack/pack-1.idx is too small", "cache_broken", "cache_broken"),
    ("error: inflate: data stream error (incorrect header check)", "cache_broken", "cache_broken"),
    (f"error: Could not read {SHA}\nfatal: revision walk setup failed", "cache_broken", "cache_broken"),
    (f"fatal: unable to read tree ({SHA})", "cache_broken", "cache_broken"),
    (f"fatal: unable to read {SHA}", "cache_broken", "cache_broken"),
    (f"fatal: missing blob object '{SHA}'", "cache_broken", "cache_broken"),
    ("fatal: bad config line 1 in file config", "cache_broken", "cache_broken"),
    ("fatal: unexpected line in ./packed-refs: nonsense", "cache_broken", "cache_broken"),
    ("error: refs/tags/v1 does not point to a valid object!", "cache_broken", "cache_broken"),
    ("fatal: Unable to create '/c/packed-refs.lock': File exists.", "cache_broken", "cache_broken"),
    (f"error: src refspec {SHA} does not match any", "cache_broken", "cache_broken"),
    ("something never heard of", "git_failed", "git_failed"),
    ("", "git_failed", "git_failed"),
]

SOURCE = [
    (f"error: object {SHA}: hasDotgit: contains '.git'\nfatal: fsck error in packed object", "source_corrupt"),
    ("fatal: mismatched algorithms: client sha1; server sha256", "source_unsupported"),
    ("fatal: attempt to fetch/clone from a shallow repository", "source_unsupported"),
    ("error: source repository is shallow, reject to clone.", "source_unsupported"),
    ("fatal: pack has 1 unresolved deltas\nfatal: fetch-pack: index-pack failed", "source_corrupt"),
    (f"remote: fatal: unable to read {SHA}", "source_corrupt"),
    ("remote: fatal: packfile x.pack is far too short\nfatal: early EOF", "source_unreachable"),
    (
        "remote: aborting due to possible repository corruption on the remote side.\nfatal: early EOF",
        "source_unreachable",
    ),
]

NAMED = "fatal: unable to access 'https://git.example/go/read-only-fs/non-fast-forward.git/': "
MIRROR = [
    ("remote: GitLab: You can't push code to a read-only GitLab instance.", "read_only"),
    ("remote: GitLab: The repository is temporarily read-only. Please try again later.", "read_only"),
    (
        f"remote: Git push is not allowed because this GitLab instance is currently in (read-only) maintenance mode.\n{NAMED}",
        "read_only",
    ),
    ("remote: GitLab: 9:repository is in read-only mode.", "read_only"),
    (NAMED + "The requested URL returned error: 403", "forbidden"),
    (NAMED + "The requested URL returned error: 404", "project_missing"),
    (NAMED + "The requested URL returned error: 429", "rate_limited"),
    (NAMED + "Could not resolve host: git.example", "gitlab_unreachable"),
    ("fatal: Authentication failed for 'https://git.example/go/read-only-fs.git/'", "token_expired"),
    ("! a:refs/tags/read-only/v1.0.0 [rejected] (stale info)", "mirror_moved"),
    (
        "remote: GitLab: LFS objects are missing.\n! a:refs/tags/read-only/v1 [remote rejected] (hook declined)",
        "lfs_missing",
    ),
    ("fatal: the receiving end does not support this repository's hash algorithm", "gitlab_refused"),
    ("fatal: mismatched algorithms: client sha1; server sha256", "gitlab_refused"),
    ("! a:refs/heads/ci-sync [rejected] (stale info)", "mirror_moved"),
    ("! a:refs/heads/ci-sync [rejected] (fetch first)", "mirror_moved"),
    ("! a:refs/heads/ci-sync [rejected] (non-fast-forward)", "mirror_moved"),
    ("! a:refs/tags/v1 [rejected] (already exists)", "mirror_moved"),
    ("! a:refs/tags/v1 [remote rejected] (reference already exists)", "mirror_moved"),
    (
        f"! a:refs/heads/x [remote rejected] (cannot lock ref 'refs/heads/x': is at {SHA} but expected {SHA})",
        "mirror_moved",
    ),
    ("! a:refs/heads/x [remote rejected] (failed to update ref)", "mirror_moved"),
    ("! a:refs/heads/x [remote rejected] (incorrect old value provided)", "mirror_moved"),
    ("! a:refs/heads/x [remote rejected] (Unable to create '/r/refs/heads/x.lock': File exists.)", "push_refused"),
    (
        "remote: error: cannot lock ref 'refs/tags/sub/v1': 'refs/tags/sub' exists; cannot create 'refs/tags/sub/v1'",
        "tag_blocked",
    ),
    (
        "remote: fatal: pack exceeds maximum allowed size\nerror: remote unpack failed: index-pack abnormal exit",
        "too_large",
    ),
    (ACCESS + "The requested URL returned error: 413", "too_large"),
    ("remote: GitLab: LFS objects are missing. Ensure LFS is properly set up", "lfs_missing"),
    ("remote: GitLab: You are not allowed to push code to this project.", "forbidden"),
    ("remote: GitLab: Something new\n! a:b [remote rejected] (pre-receive hook declined)", "push_refused"),
    ("remote: GitLab: Internal API error (503)", "gitlab_unavailable"),
    (
        "remote: GitLab: 500 Internal Server Error\n! a:b [remote rejected] (pre-receive hook declined)",
        "gitlab_unavailable",
    ),
    ("remote: GitLab: 502 Bad Gateway\n! a:b [remote rejected] (pre-receive hook declined)", "gitlab_unavailable"),
    ("remote: GitLab: 500 files are too many\n! a:b [remote rejected] (pre-receive hook declined)", "push_refused"),
    (
        "remote: GitLab: Push operation timed out\n ! [remote rejected] v1 (pre-receive hook declined)",
        "gitlab_unavailable",
    ),
    ("remote: GitLab: 4:Deadline Exceeded.\n ! [remote rejected] v1 (pre-receive hook declined)", "gitlab_unavailable"),
    ("remote: GitLab: internal API unreachable\n ! [remote rejected] v1 (hook declined)", "gitlab_unavailable"),
    (
        "remote: fatal: write error: No space left on device\nerror: remote unpack failed: unpack-objects",
        "gitlab_unavailable",
    ),
    (f"remote: fatal: bad object {SHA}", "gitlab_unavailable"),
    ("! a:refs/heads/x [remote rejected] (deny updating a hidden ref)", "push_refused"),
]


DECLINED = "\n! a:refs/heads/ci-sync [remote rejected] (pre-receive hook declined)"
OF_PUSH_RULES = [
    """File name docs/maintenance mode.md was prohibited by the pattern "x".""",
    """File name maintenance mode.md was prohibited by the pattern "x".""",
    """File name this is read-only.txt was prohibited by the pattern "read-only mode".""",
    """File name a rate limit.go was prohibited by the pattern "x".""",
    """Commit message does not follow the pattern '\\d+ rate limit'""",
    """Commit message contains the forbidden pattern 'Too Many Requests'""",
]
ITS_OWN = [
    ("You can't push code to a read-only GitLab instance.", "read_only"),
    ("The repository is temporarily read-only. Please try again later.", "read_only"),
    (
        "Git push is not allowed because this GitLab instance is currently in (read-only) maintenance mode.",
        "read_only",
    ),
    ("9:repository is in read-only mode.", "read_only"),
    ("429 Too Many Requests", "rate_limited"),
    ("Rate limit exceeded", "rate_limited"),
]


@pytest.mark.parametrize("said", OF_PUSH_RULES)
def test_a_file_or_a_pattern_that_is_called_like_a_passing_cause_is_none(said: str) -> None:
    """Texts: GitLab EE, lib/ee/gitlab/checks."""
    assert classify("mirror", 1, f"remote: \nremote: GitLab: {said}\nremote: {DECLINED}").code == "push_refused"


@pytest.mark.parametrize(("said", "code"), ITS_OWN)
def test_gitlabs_own_passing_causes_decline_a_push_for_a_while(said: str, code: str) -> None:
    for begin in ("remote: GitLab: ", "remote: "):
        assert classify("mirror", 1, f"remote: \n{begin}{said}\nremote: {DECLINED}").code == code


@pytest.mark.parametrize(("text", "source", "mirror"), BOTH)
def test_both_sides(text: str, source: str, mirror: str) -> None:
    assert (classify("source", 128, text).code, classify("mirror", 128, text).code) == (source, mirror)


@pytest.mark.parametrize(
    ("side", "text", "code"), [*(("source", *row) for row in SOURCE), *(("mirror", *row) for row in MIRROR)]
)
def test_one_side(side: Side, text: str, code: str) -> None:
    assert classify(side, 1, text).code == code


def test_every_code_of_the_table_is_retried_as_its_cause_demands() -> None:
    ends = {"source_denied", "source_missing", "forbidden", "too_large", "quota", "tag_protected"}
    assert {code for code in ends if CATALOG[code].retry != "never"} == set()
    goes_on = {
        "source_unreachable",
        "gitlab_unreachable",
        "gitlab_unavailable",
        "token_expired",
        "mirror_moved",
        "git_timeout",
        "disk_full",
    }
    assert {code for code in goes_on if CATALOG[code].retry == "never"} == set()


def test_the_message_names_the_repository_and_is_redacted() -> None:
    text = "fatal: Authentication failed for 'https://oauth2:hunter2hunter@git.example/lib.git/'\nremote: s3cret-value"
    error = classify("mirror", 128, text, where="https://git.example/lib.git", secrets=["s3cret-value"])
    assert error.message.startswith("https://git.example/lib.git: fatal: Authentication failed for 'https://***@git")
    assert "hunter2hunter" not in error.message
    assert "s3cret-value" not in error.message


@pytest.mark.parametrize(("side", "code"), [("mirror", "rate_limited"), ("source", "source_unreachable")])
def test_a_banned_address_is_no_lack_of_rights_and_comes_back_later(side: Side, code: str) -> None:
    text = f"remote: Forbidden\n{ACCESS}The requested URL returned error: 403"
    error = classify(side, 128, text)
    assert (error.code, error.retry_after, "banned" in error.message) == (code, 600.0, True)
    ours = classify(side, 128, text.replace("Forbidden", "Forbidden, says Ann"))
    assert (ours.code, ours.retry_after) == ({"mirror": "forbidden", "source": "source_denied"}[side], None)
    assert classify(side, 128, f"{ACCESS}The requested URL returned error: 429").retry_after is None


@pytest.mark.parametrize(("side", "code"), [("mirror", "rate_limited"), ("source", "source_unreachable")])
def test_gitlabs_own_word_for_a_ban_is_told_from_what_may_be_one(side: Side, code: str) -> None:
    said = "remote: Too many failed authentication attempts from this IP"
    error = classify(side, 128, f"{said}\n{ACCESS}The requested URL returned error: 403", where="x" * 900)
    assert (error.code, error.retry_after, is_surely_banned(error)) == (code, 600.0, True)
    maybe = classify(side, 128, f"remote: Forbidden\n{ACCESS}The requested URL returned error: 403")
    assert not is_surely_banned(maybe)
    ours = classify(side, 128, f"{said}, says Ann\n{ACCESS}The requested URL returned error: 403")
    assert (ours.retry_after, is_surely_banned(ours)) == (None, False)


def test_without_words_the_exit_code_is_told() -> None:
    assert classify("source", 141, "\n").message == "git ended with 141"


def test_the_summary_is_the_last_lines_that_say_something() -> None:
    text = (
        "remote: Counting objects: 3\rremote: Resolving deltas: 0\nremote: \nremote: GitLab: one        \n"
        "remote: GitLab: one\nTo https://x\n! a:b [remote rejected] (pre-receive hook declined)\n"
        "error: failed to push some refs to 'https://x'\nhint: try again\n"
    )
    assert summary(text) == "remote: GitLab: one | ! a:b [remote rejected] (pre-receive hook declined)"
    assert len(summary("x" * 5000)) == 500


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EACCES, "git_failed")]
)
def test_file_errors(number: int, code: str) -> None:
    error = from_os(OSError(number, "text"), "cache x")
    assert (error.code, error.message) == (code, "cache x: text")
