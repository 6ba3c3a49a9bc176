"""The other direction: a release as a platform would tell it, signed as that platform signs. For `modsync send`.

Field names and headers are those that app.domain.platforms reads; sources are named there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.schemes import SCHEMES, Claim

Body = dict[str, Any]

TELLS_NO_REPOSITORY = frozenset({"article", "standard-webhooks", "artifactory"})
"""Schemes whose webhooks name a module and no repository: its address comes from the rules."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A release to tell. `ref` is a full name (`refs/tags/v1.2.3`); `repo_url` and `commit` None: not told."""

    module: ModulePath
    ref: str
    version: Version | None = None
    commit: str | None = None
    repo_url: str | None = None

    @property
    def tag(self) -> str:
        """The tag's short name. Error: bad_request for a branch."""
        if not self.ref.startswith("refs/tags/"):
            raise SyncError("bad_request", "this platform's webhooks tell tags only, not branches", field="ref")
        return self.ref.removeprefix("refs/tags/")


@dataclass(frozen=True, slots=True)
class Signing:
    """What a request is signed with: the secret as the platform shows it, the delivery's id, and the time (aware)."""

    key: bytes
    delivery: str
    now: datetime


def announce(scheme: str, release: Announcement, now: datetime) -> tuple[dict[str, str], Body]:
    """(headers that name the event, body). Error: bad_request with `field` for what the platform has to know."""
    return _FORMS[scheme](release, now)


def sign(scheme: str, raw: bytes, signing: Signing) -> dict[str, str]:
    """The headers that carry the signature of `raw` and the delivery's id."""
    return _SIGNATURES[scheme](scheme, raw, signing)


def _article(release: Announcement, _now: datetime) -> tuple[dict[str, str], Body]:
    told = {"ref": release.ref, "commit_id": _commit(release), "module_path": release.module.text}
    more = {"version": release.version and release.version.text, "repo_url": release.repo_url}
    return {}, {**told, **{name: value for name, value in more.items() if value}}


def _standard(release: Announcement, now: datetime) -> tuple[dict[str, str], Body]:
    return {}, {"type": "release", "timestamp": now.isoformat(), "data": _article(release, now)[1]}


def _forge(header: str) -> Callable[[Announcement, datetime], tuple[dict[str, str], Body]]:
    """A push of the tag where the commit is told, else a published release."""

    def form(release: Announcement, _now: datetime) -> tuple[dict[str, str], Body]:
        repository = {"clone_url": _repository(release)}
        if release.commit:
            head = {"ref": f"refs/tags/{release.tag}", "after": release.commit, "head_commit": {"id": release.commit}}
            return {header: "push"}, {**head, "repository": repository}
        published = {"tag_name": release.tag, "draft": False, "prerelease": False}
        return {header: "release"}, {"action": "published", "release": published, "repository": repository}

    return form


def _gitlab(release: Announcement, _now: datetime) -> tuple[dict[str, str], Body]:
    project = {"git_http_url": _repository(release)}
    if release.commit:
        at = {"ref": f"refs/tags/{release.tag}", "after": release.commit, "checkout_sha": release.commit}
        return {"X-Gitlab-Event": "Tag Push Hook"}, {"object_kind": "tag_push", **at, "project": project}
    body = {"object_kind": "release", "action": "create", "tag": release.tag, "project": project}
    return {"X-Gitlab-Event": "Release Hook"}, body


def _artifactory(release: Announcement, _now: datetime) -> tuple[dict[str, str], Body]:
    if not release.version:
        raise SyncError("bad_request", "Artifactory's webhooks tell a version", field="version")
    name = f"{release.version.escaped}.zip"
    data = {"repo_key": "go-local", "path": f"{release.module.escaped}/@v/{name}", "name": name}
    return {}, {"domain": "artifact", "event_type": "deployed", "data": data}


def _commit(release: Announcement) -> str:
    if not release.commit:
        raise SyncError("bad_request", "the article's form tells a commit", field="commit")
    return release.commit


def _repository(release: Announcement) -> str:
    if not release.repo_url:
        raise SyncError("bad_request", "this platform's webhooks tell the repository's URL", field="repo_url")
    return release.repo_url


_FORMS: Mapping[str, Callable[[Announcement, datetime], tuple[dict[str, str], Body]]] = MappingProxyType({
    "article": _article, "standard-webhooks": _standard, "github": _forge("X-GitHub-Event"),
    "gitea": _forge("X-Gitea-Event"), "forgejo": _forge("X-Forgejo-Event"), "gitlab-token": _gitlab,
    "artifactory": _artifactory,
})  # fmt: skip


def _hex(signature: str, before: str, delivery: str | None) -> Callable[[str, bytes, Signing], dict[str, str]]:
    """A header with `before` and the hex digest; one with the delivery's id where the platform has one."""

    def headers(scheme: str, raw: bytes, signing: Signing) -> dict[str, str]:
        signed = {signature: before + _digest(scheme, raw, signing.key).hex()}
        return {**signed, delivery: signing.delivery} if delivery else signed

    return headers


def _digest(scheme: str, raw: bytes, key: bytes, prefix: bytes = b"") -> bytes:
    return SCHEMES[scheme].expected(next(iter(SCHEMES[scheme].keys(key)), b""), Claim(prefix=prefix), raw)


def _token(_scheme: str, _raw: bytes, signing: Signing) -> dict[str, str]:
    return {"X-Gitlab-Token": signing.key.decode(), "Idempotency-Key": signing.delivery}


def _svix(scheme: str, raw: bytes, signing: Signing) -> dict[str, str]:
    seconds = int(signing.now.timestamp())
    digest = _digest(scheme, raw, signing.key, f"{signing.delivery}.{seconds}.".encode())
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": signing.delivery, "webhook-timestamp": str(seconds), "webhook-signature": signature}


_SIGNATURES: Mapping[str, Callable[[str, bytes, Signing], dict[str, str]]] = MappingProxyType({
    "article": _hex("X-Gitlab-Token", "sha256=", None), "standard-webhooks": _svix,
    "github": _hex("X-Hub-Signature-256", "sha256=", "X-GitHub-Delivery"),
    "gitea": _hex("X-Gitea-Signature", "", "X-Gitea-Delivery"),
    "forgejo": _hex("X-Forgejo-Signature", "", "X-Forgejo-Delivery"), "gitlab-token": _token,
    "artifactory": _hex("X-JFrog-Event-Auth", "", None),
})  # fmt: skip
