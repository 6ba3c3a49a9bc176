"""GitLab's release and tag push events (doc/user/project/integrations/webhook_events.md); the body alone tells the kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.domain.platforms.fields import Fields, invalid
from app.domain.platforms.release import Ignored, Parsed, Policy, ReleaseEvent, as_parsed
from app.domain.platforms.versions import tag_release

_WORD_LIMIT = 100


def parse_gitlab(_headers: Mapping[str, str], body: Fields, policy: Policy) -> Parsed:
    """By `object_kind`; GitLab has no test event of its own, its test button sends a sample of a real one.

    System hooks name some kinds by `event_name` only, tag pushes among them (doc/administration/system_hooks.md).
    """
    named = "event_name" if body.values.get("object_kind") is None and body.values.get("event_name") else "object_kind"
    kind = body.text(named, _WORD_LIMIT)
    if kind == "release":
        return as_parsed(_release(body))
    if kind != "tag_push":
        return Ignored("not_a_release", f"event {kind!r} tells no release")
    if not policy.tag_events:
        return Ignored("tag_event", "this source's policy waits for the platform's releases and leaves tags out")
    return as_parsed(_tag_push(body))


def _release(body: Fields) -> ReleaseEvent | Ignored:
    action = body.text("action", _WORD_LIMIT)
    if action == "delete":
        return Ignored("deleted", "the release was deleted; modsync never deletes a version")
    if action != "create":
        return Ignored("not_published", f"action {action!r} of a release is not its publication")
    commit = body.maybe("commit")
    sha = commit.commit("id") if commit else None
    return tag_release(body.free_text("tag"), body.name("tag"), _clone_url(body), sha)


def _tag_push(body: Fields) -> ReleaseEvent | Ignored:
    """`checkout_sha` is the commit that the tag peels to (`after` may be the tag object), null on delete.

    It is null, too, where GitLab does not find the tag (lib/gitlab/data_builder/push.rb): for the Test button of a project
    without tags, for one that is pushed anew just now. Then the source tells the commit.
    """
    if not body.text("after", 64).strip("0"):
        return Ignored("deleted", "the tag was deleted; modsync never deletes a version")
    ref = body.free_text("ref")
    if not ref.startswith("refs/tags/"):
        raise invalid(body.name("ref"), "is not a tag")
    found = tag_release(ref.removeprefix("refs/tags/"), body.name("ref"), _clone_url(body), None)
    # Only now: a tag that names no version may name no commit either.
    if isinstance(found, Ignored) or body.values.get("checkout_sha") is None:
        return found
    return replace(found, commit=body.commit("checkout_sha"))


def _clone_url(body: Fields) -> str | None:
    return body.object("project").url("git_http_url")
