"""One tree of errors: a stable code, whether it is retried, and what the operator should do.

Every error that modsync records, answers or prints is a :class:`SyncError` whose code stands in :data:`CATALOG`, but for
HTTP's own (app/web/errors.py).
The catalogue is the one place where a code's retry rule and advice are decided; adapters only choose the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Retry(StrEnum):
    """What happens by itself after an error."""

    NEVER = "never"  # a person or a new delivery has to act
    BACKOFF = "backoff"  # tried again with growing, jittered delays, then given up
    PATIENT = "patient"  # expected to appear: tried again for fifteen minutes


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """A code's fixed properties; `advice` is one sentence for whoever is on call."""

    code: str
    retry: Retry
    advice: str
    rejects: bool = False  # ends the run as `rejected` instead of `failed`


def _kinds(*kinds: ErrorKind) -> dict[str, ErrorKind]:
    return {kind.code: kind for kind in kinds}


_N, _B, _P = Retry.NEVER, Retry.BACKOFF, Retry.PATIENT

CATALOG: dict[str, ErrorKind] = _kinds(
    # the release itself
    ErrorKind("no_rule", _N, "Add a rule whose pattern matches this module path, then replay the run.", True),
    ErrorKind("no_version", _N, "Tag the released commit at the source with a module version and replay the run."),
    ErrorKind(
        "version_moved",
        _N,
        "Release a new version and find out who moved the tag; modsync accept-move is the one deliberate way to move it.",
        True,
    ),
    ErrorKind(
        "mirror_of_another",
        _N,
        "Name each repository in a rule of its own (clone, mirror); if it moved there: modsync mirrors move-source, then replay.",
        True,
    ),
    ErrorKind("superseded", _N, "Nothing to do: a later delivery of this version took this run's place.", True),
    ErrorKind("duplicate_release", _N, "Nothing to do: another run brings exactly this release.", True),
    ErrorKind(
        "tag_missing",
        _P,
        'Push the version\'s tag at the source, or set tags = "make" in the rule, then replay the run.',
    ),
    ErrorKind(
        "commit_mismatch", _N, "The webhook's commit is not the one that the tag peels to: check what was released."
    ),
    ErrorKind("commit_missing", _P, "The source does not have the released commit: push it, then replay the run."),
    ErrorKind("tag_not_a_commit", _N, "The tag points to a tree or a blob: tag a commit and release a new version."),
    ErrorKind("tag_blocked", _N, "A tag at the mirror or the source stands in the way of this name: remove that tag."),
    ErrorKind(
        "module_mismatch", _N, "Correct the module line of go.mod (or the webhook's path), release a new version."
    ),
    ErrorKind("go_mod_missing", _N, "There is no go.mod where the module path says: check the subdirectory and path."),
    ErrorKind("not_a_module", _N, "The content breaks a rule of Go modules: correct it and release a new version."),
    ErrorKind(
        "tag_unsigned", _N, "The source's tags must be signed: sign one with a configured key, new version.", True
    ),
    ErrorKind(
        "signature_bad", _N, "The tag's signature is not a configured key's for this version: find out why.", True
    ),
    # the source
    ErrorKind("source_unreachable", _B, "Check that the source's git host answers from the worker's machine."),
    ErrorKind("source_denied", _N, "Check modsync's credentials for the source's git host, then replay the run."),
    ErrorKind("source_missing", _N, "The source repository does not exist: check the rule's clone URL."),
    ErrorKind("source_corrupt", _N, "git refuses the source's objects: run git fsck on the source repository."),
    ErrorKind(
        "source_unsupported",
        _N,
        "The source is shallow or has SHA-256 object names: complete it (git fetch --unshallow), or keep it in SHA-1.",
    ),
    ErrorKind(
        "not_in_registry",
        _P,
        "The registry does not have the version, or the module: publish it there or correct the rule's clone URL, then replay.",
    ),
    ErrorKind(
        "registry_wrong", _N, "The registry's answer is not GOPROXY's, or not whole: check the rule's clone URL."
    ),
    # git and the cache
    ErrorKind("git_timeout", _B, "git took too long: check the network, or raise git.timeout_seconds."),
    ErrorKind("git_failed", _B, "git failed in a way modsync does not know: read the message."),
    ErrorKind("cache_broken", _B, "The repository's cache was damaged: it is thrown away and built anew by itself."),
    ErrorKind("disk_full", _B, "Free space on the worker's disk; the run goes on by itself."),
    # GitLab
    ErrorKind("gitlab_unreachable", _B, "Check that GitLab answers from the worker's machine."),
    ErrorKind("gitlab_unavailable", _B, "GitLab answers with a server error: check its status page."),
    ErrorKind("rate_limited", _B, "GitLab limits modsync's requests: the run goes on by itself when it may."),
    # Not at once: the login's breaker (adapters/gitlab_login.py) says when.
    ErrorKind(
        "token_expired",
        _B,
        "Give modsync a valid GitLab token (scopes api, write_repository): waiting runs go on, replay those that failed.",
    ),
    ErrorKind("forbidden", _N, "Give modsync's GitLab user the Maintainer role in the mirror group, then replay."),
    ErrorKind("group_missing", _N, "Create the top-level group in GitLab, or grant access; modsync never creates one."),
    ErrorKind(
        "project_missing", _B, "The mirror project vanished or is hidden from modsync's token: check it in GitLab."
    ),
    ErrorKind("gitlab_refused", _N, "GitLab refused the request: read its message, correct it, then replay the run."),
    ErrorKind(
        "protected_branch", _N, "Allow force push for modsync's user on the protected branch ci-sync, then replay."
    ),
    ErrorKind("tag_protected", _N, "Allow modsync's role to create the protected version tags, then replay the run."),
    ErrorKind("too_large", _N, "The push is above GitLab's size limit: raise the limit or shrink the repository."),
    ErrorKind("quota", _N, "The mirror project is above its storage quota: raise it, then replay the run."),
    ErrorKind("read_only", _B, "GitLab is read-only (maintenance?): the run goes on by itself when it ends."),
    ErrorKind(
        "lfs_missing",
        _N,
        "Git LFS is on in the mirror's project, which wants the objects: turn it off (modsync mirrors check --fix), then replay.",
    ),
    ErrorKind("push_refused", _N, "GitLab's hooks refused the push: read its message, correct the cause, then replay."),
    ErrorKind(
        "mirror_moved",
        _B,
        "Somebody else pushed to the mirror meanwhile: observed again and retried by itself. A lock that was left there"
        " (`cannot lock ref`) goes with GitLab's housekeeping.",
    ),
    ErrorKind("push_not_visible", _B, "GitLab accepted the push but shows other refs: retried by itself."),
    # the pipeline
    ErrorKind("no_ci_config", _N, "Set gitlab.ci_config_path to the pre-cache pipeline's file, then replay the run."),
    ErrorKind("pipeline_refused", _N, "GitLab refused to create the pipeline: read its message, then replay the run."),
    ErrorKind("pipeline_failed", _N, "Read the pipeline's log, correct the cause, then replay from stage pipeline."),
    ErrorKind("pipeline_canceled", _N, "Somebody cancelled the pipeline: replay from stage pipeline when ready."),
    ErrorKind("pipeline_blocked", _N, "The pipeline waits for a person (manual job): remove that job, then replay."),
    ErrorKind("pipeline_skipped", _N, "GitLab skipped the pipeline: check the CI file's workflow rules, then replay."),
    ErrorKind("pipeline_timeout", _N, "The pipeline did not end in time: check the runners, then replay."),
    # the proxy
    ErrorKind("proxy_unreachable", _B, "Check that the private proxy answers from the worker's machine."),
    ErrorKind("proxy_denied", _N, "Check modsync's credentials for the private proxy, then replay from stage verify."),
    ErrorKind("not_cached_yet", _P, "The proxy does not have the version: check the pipeline's log and the proxy's."),
    ErrorKind(
        "proxy_not_goproxy",
        _N,
        "The answer is not the GOPROXY protocol's: check proxy.url (login page, path, redirects?).",
    ),
    ErrorKind("served_other_version", _N, "The proxy answers with another version: purge it there, then replay."),
    ErrorKind(
        "served_other_commit",
        _N,
        "The proxy holds another commit: find out why, purge the version there, then replay the run.",
        True,
    ),
    ErrorKind(
        "served_other_content",
        _N,
        "The proxy serves other bytes than released: find out why, purge it there, then replay the run.",
        True,
    ),
    ErrorKind("zip_not_a_module", _N, "The proxy's zip breaks the rules of module zips: check the proxy's storage."),
    ErrorKind(
        "proxy_rules_differ",
        _N,
        "The proxy packs modules by other rules than go (GitLab's own Go proxy does): use a proxy that runs go.",
    ),
    ErrorKind("proxy_holds_old", _N, "Purge the old content as the message says, then replay from stage verify."),
    ErrorKind(
        "not_reproducible",
        _N,
        "A commit of this content does not give the released h1 (attributes like ident?): nothing was pushed.",
    ),
    ErrorKind("not_listed", _P, "The proxy serves the version but does not list it: shorten its cache of list."),
    ErrorKind("latest_wrong", _P, "The proxy's @latest is not up to date: shorten its cache, or look at its source."),
    # asking
    ErrorKind("not_found", _N, "Check the id or name."),
    ErrorKind("already_done", _N, "The run is done: replay with --force if you mean it."),
    ErrorKind("already_ended", _N, "There is nothing to cancel any more: look at how the run ended."),
    ErrorKind("name_taken", _N, "Choose another name, or revoke the token that has it."),
    ErrorKind("still_running", _N, "The run is in flight: wait for its end, or cancel it first."),
    ErrorKind(
        "not_replayable",
        _N,
        "It cannot be taken once more: the message says why; send a new delivery, or replay the run that failed.",
    ),
    ErrorKind("bad_request", _N, "Correct the request as the message says."),
    ErrorKind("unauthorized", _N, "Send a valid token in the Authorization header, or log in."),
    ErrorKind("forbidden_role", _N, "Ask an administrator for a token with a role that may do this."),
    ErrorKind(
        "forbidden_scope",
        _N,
        "Use a token with that scope, or one without any: `modsync token create --scope`.",
    ),
    ErrorKind(
        "server_unreachable",
        _B,
        "Check MODSYNC_URL, the network, HTTPS_PROXY and MODSYNC_CA_FILE, and whether modsync runs there (/readyz).",
    ),
    ErrorKind(
        "server_wrong",
        _N,
        "Check MODSYNC_URL: it is modsync's base URL, no login page may stand before /api, and the versions must fit.",
    ),
    ErrorKind("server_only", _N, "Run it on modsync's own machine, without --server and MODSYNC_URL."),
    # intake
    ErrorKind("bad_signature", _N, "Sign the raw body with the source's secret."),
    ErrorKind("invalid_payload", _N, "Correct the named field and send the webhook again."),
    ErrorKind("source_rate_limited", _B, "Wait as long as Retry-After says, or raise the source's rate_per_minute."),
    ErrorKind("busy", _B, "modsync has more requests than it can record now: wait as long as Retry-After says."),
    ErrorKind(
        "body_too_large", _N, "Send a smaller body, a release needs a few hundred bytes; or raise web.max_body_bytes."
    ),
    ErrorKind(
        "clone_url_refused", _N, "Send a clone URL that the source's allow-list permits, or extend the list.", True
    ),
    # modsync itself
    ErrorKind("store_unavailable", _B, "Check the database; nothing was recorded, so send the request again."),
    ErrorKind(
        "migration_failed",
        _N,
        "The database's schema could not be brought to this modsync's: read the message and docs/upgrades.md.",
    ),
    ErrorKind("queue_unavailable", _B, "Check Redis; the run is recorded and goes on by itself when Redis is back."),
    ErrorKind("overtaken", _N, "Nothing to do: another worker took this run over."),
    ErrorKind("interrupted", _B, "Nothing to do: the worker was stopped, and another one goes on."),
    ErrorKind(
        "cache_busy", _B, "Nothing to do: it goes on when the run before it has left the cache (or the static proxy)."
    ),
    ErrorKind(
        "backfill_waits",
        _B,
        "Nothing to do: it goes on when fewer pipelines of backfills are in flight (gitlab.backfill_pipelines).",
    ),
    ErrorKind("paused", _B, "`modsync pauses` says who paused this and why; `modsync resume` lets it go on."),
    ErrorKind("cancelled", _N, "Somebody cancelled the run: replay it when ready."),
    # notifications
    ErrorKind("receiver_unreachable", _B, "Check that the [[notify]] receiver answers from the sweeper's machine."),
    ErrorKind("receiver_refused", _B, "Check the receiver's address, its secret, and what it says of the message."),
    ErrorKind("receiver_gone", _N, "The receiver wants no more messages: remove its [[notify]] table."),
    ErrorKind("internal", _B, "A defect in modsync: report the message with the run's id."),
)

# Rejections of what a proxy serves. The release itself is right and wanted: whoever counts, lists, tells or replays what
# failed has these among it.
SERVED_OTHER = frozenset({"served_other_commit", "served_other_content"})


class SyncError(Exception):
    """Something that went wrong, said so that a person can act on it.

    `message` names what happened (redacted by whoever raises it; what no database holds is escaped here);
    `retry_after` is the other side's wish in seconds; `facts` are kept with the run that ends or waits with this error.
    """

    def __init__(
        self, code: str, message: str, *, retry_after: float | None = None, field: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        message = _can_be_kept(message)
        super().__init__(message)
        self.kind = CATALOG[code]
        self.message = message
        self.retry_after = retry_after
        self.field = field
        self.facts = facts or {}

    @property
    def code(self) -> str:
        """The stable code, a key of CATALOG."""
        return self.kind.code

    @property
    def advice(self) -> str:
        """One sentence: what the operator should do."""
        return self.kind.advice

    @property
    def retryable(self) -> bool:
        """True when modsync tries again by itself."""
        return self.kind.retry is not Retry.NEVER

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def __repr__(self) -> str:
        return f"SyncError({self.code!r}, {self.message!r})"


def _can_be_kept(text: str) -> str:
    """Bytes that are no text come as half surrogate pairs, which no database takes; PostgreSQL takes no NUL either."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\ufffd")
