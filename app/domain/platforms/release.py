"""What a webhook can mean: a release to bring through, or nothing to do, and the policy that decides between them."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.modules import ModulePath, Version


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """A release as its sender tells it; every field is legal by itself, none is checked against the source yet.

    `ref`: a short name (`v1.2.3`, `sdk/v1.2.3`, `main`), `is_tag` says which kind, None when the sender did not and the
    name does not look like a version's tag. Registries know no refs: there `ref` is the version and `is_tag` None.
    `module`: None when the event names a repository only. `commit`: 40 or 64 lower-case hex digits, None when the event
    names none that is surely a commit. `version`: canonical (`v2.0.0+incompatible` included), None where `ref` has to be
    resolved. `subdir`: the module's directory as the body says, else what stands before the version in the tag (a `/vN`
    module may then lie in `<subdir>/vN`); "" is the root, None unknown. `delivery_key`: an id inside the signed body.
    `h1`: the zip's hash as in go.sum.
    """

    module: ModulePath | None
    ref: str
    is_tag: bool | None
    commit: str | None = None
    version: Version | None = None
    repo_url: str | None = None
    subdir: str | None = None
    delivery_key: str | None = None
    h1: str | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """An authentic event that makes no run: answered 2xx with a stable `reason` and a sentence.

    Reasons: ping, draft, prerelease, deleted, not_published, not_a_version_tag, not_a_release, tag_event.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What a source wants: `prereleases` (flagged so, or `v1.2.3-rc.1`), and tags pushed without a platform's release."""

    prereleases: bool = True
    tag_events: bool = True


def as_parsed(outcome: ReleaseEvent | Ignored) -> Parsed:
    """One release in the form that parsers return."""
    return outcome if isinstance(outcome, Ignored) else (outcome,)


Parsed = tuple[ReleaseEvent, ...] | Ignored
