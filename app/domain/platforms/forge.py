"""GitHub, Gitea and Forgejo: `release`, and tags as `push` and `create` events.

Sources: GitHub "Webhook events and payloads"; Gitea modules/structs/hook.go, services/webhook/notifier.go and
services/release/release.go, which Forgejo shares, and what a real Gitea 1.25.4 sent. Only a push's `head_commit` is surely
a commit: `after` and Gitea's `sha` are the tag object for annotated tags, and a release's `target_commitish` is ignored by
the platform when the tag exists already (Gitea then leaves it empty).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.domain.platforms.fields import Fields, invalid
from app.domain.platforms.release import Ignored, Parsed, Policy, ReleaseEvent, as_parsed
from app.domain.platforms.versions import tag_release

_WORD_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Forge:
    """`events`: headers that name the kind of event, the platform's own first.

    `created`: a field that only `create` events have. The header is not signed, and the body of a `delete` event looks
    much the same: without this check, whoever has seen one could send it again as a release.
    `published`: actions of a `release` event by which it may have come out. Gitea says `updated` also when a draft on a
    tag that was there before is published, and when a prerelease becomes a release; for that GitHub says `released`.
    """

    events: tuple[str, ...]
    created: str
    published: tuple[str, ...]


_GITHUB = Forge(("x-github-event",), "master_branch", ("published", "released"))
_GITEA = Forge(("x-forgejo-event", "x-gitea-event", "x-github-event"), "sha", ("published", "updated"))


def parse_github(headers: Mapping[str, str], body: Fields, policy: Policy) -> Parsed:
    """GitHub's events; `headers` in lower case."""
    return _parse(_GITHUB, headers, body, policy)


def parse_gitea(headers: Mapping[str, str], body: Fields, policy: Policy) -> Parsed:
    """Gitea's and Forgejo's events; `headers` in lower case."""
    return _parse(_GITEA, headers, body, policy)


def _parse(forge: Forge, headers: Mapping[str, str], body: Fields, policy: Policy) -> Parsed:
    kind = next((headers[name] for name in forge.events if headers.get(name)), "")
    if kind == "ping":
        return Ignored("ping", "the platform tried the webhook out, and it works")
    if kind == "delete":
        return Ignored("deleted", "something was deleted; modsync never deletes a version")
    reader = _READERS.get(kind)
    if reader is None:
        return Ignored("not_a_release", f"event {kind[:_WORD_LIMIT]!r} tells no release")
    if kind != "release" and not policy.tag_events:
        return Ignored("tag_event", "this source's policy waits for the platform's releases and leaves tags out")
    return as_parsed(reader(forge, body, policy))


def _release(forge: Forge, body: Fields, policy: Policy) -> ReleaseEvent | Ignored:
    action = body.text("action", _WORD_LIMIT)
    if action in ("deleted", "unpublished"):
        return Ignored("deleted", f"the release was {action}; modsync never deletes a version")
    release = body.object("release")
    if release.flag("draft"):
        return Ignored("draft", "the release is a draft")
    if action not in forge.published:
        return Ignored("not_published", f"action {action!r} of a release is not its publication")
    if release.flag("prerelease") and not policy.prereleases:
        return Ignored("prerelease", "the release is marked as a prerelease, which this source's policy leaves out")
    return tag_release(release.free_text("tag_name"), release.name("tag_name"), _clone_url(body), None)


def _push(_forge: Forge, body: Fields, _policy: Policy) -> ReleaseEvent | Ignored:
    ref = body.free_text("ref")
    if _changes_nothing(body):
        return Ignored("ping", "the platform tried the webhook out (a push that changes nothing), and it works")
    if not ref.startswith("refs/tags/"):
        return Ignored("not_a_release", "a branch was pushed, not a tag")
    if not body.text("after", 64).strip("0"):
        return Ignored("deleted", "the tag was deleted; modsync never deletes a version")
    head = body.maybe("head_commit")
    commit = head.commit("id") if head else None
    return tag_release(ref.removeprefix("refs/tags/"), body.name("ref"), _clone_url(body), commit)


def _changes_nothing(body: Fields) -> bool:
    """Gitea has no ping: its test delivery is a push of what was there before (its button's: of no commit at all)."""
    before = body.values.get("before")
    return before is not None and before == body.values.get("after")


def _create(forge: Forge, body: Fields, _policy: Policy) -> ReleaseEvent | Ignored:
    if body.values.get(forge.created) is None:
        raise invalid(body.name(forge.created), "is missing, so this is no create event")
    if body.text("ref_type", _WORD_LIMIT) != "tag":
        return Ignored("not_a_release", "a branch was created, not a tag")
    return tag_release(body.free_text("ref"), body.name("ref"), _clone_url(body), None)


def _clone_url(body: Fields) -> str | None:
    return body.object("repository").url("clone_url")


_READERS: Mapping[str, Callable[[Forge, Fields, Policy], ReleaseEvent | Ignored]] = {
    "release": _release,
    "push": _push,
    "create": _create,
}
