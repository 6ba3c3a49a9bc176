"""What `modsync send` makes in each platform's name is what intake reads: signed, parsed, the same release."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from app.domain.announce import Announcement, Signing, announce, sign
from app.domain.errors import SyncError
from app.domain.events import Policy, ReleaseEvent, parse
from app.domain.modules import ModulePath, Version
from app.domain.webhook import SCHEMES, BadSignatureError, Secret, decode, verify

NOW = datetime(2026, 11, 22, tzinfo=UTC)
KEYS = {"standard-webhooks": b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
SHA = "0123456789abcdef0123456789abcdef01234567"
URL = "https://git.corp.example/billing/ledger.git"
MODULE = "go.corp.example/Billing/ledger"
PATH, VERSION = ModulePath.parse(MODULE), Version.parse("v1.2.3")


def key_of(scheme: str) -> bytes:
    return KEYS.get(scheme, b"a-secret-of-at-least-sixteen-characters")


def received(scheme: str, release: Announcement) -> ReleaseEvent:
    event, body = announce(scheme, release, NOW)
    raw = json.dumps(body).encode()
    headers = {**event, **sign(scheme, raw, Signing(key_of(scheme), "delivery-1", NOW))}
    verified = verify(SCHEMES[scheme], [Secret("one", key_of(scheme))], headers, raw, NOW)
    assert verified.delivery_key in ("delivery-1", None)
    with pytest.raises(BadSignatureError):
        verify(SCHEMES[scheme], [Secret("two", b"another-secret-of-sixteen-and-more")], headers, raw, NOW)
    parsed = parse(scheme, headers, decode(verified, "application/json"), Policy())
    assert isinstance(parsed, tuple)
    return parsed[0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_release_with_all_that_can_be_told(scheme: str) -> None:
    found = received(scheme, Announcement(PATH, "refs/tags/v1.2.3", VERSION, SHA, URL))
    assert (str(found.version), found.ref) == ("v1.2.3", "v1.2.3")
    assert found.commit == (None if scheme == "artifactory" else SHA)
    assert MODULE in (str(found.module), MODULE if found.repo_url == URL else None)


@pytest.mark.parametrize("scheme", ["github", "gitea", "forgejo", "gitlab-token"])
def test_a_release_without_a_commit(scheme: str) -> None:
    found = received(scheme, Announcement(PATH, "refs/tags/sdk/v1.2.3", VERSION, None, URL))
    assert (found.commit, found.subdir, found.repo_url, found.module) == (None, "sdk", URL, None)


@pytest.mark.parametrize(
    ("scheme", "release", "field"),
    [
        ("article", Announcement(PATH, "refs/tags/v1.2.3"), "commit"),
        ("github", Announcement(PATH, "refs/heads/main", None, SHA, URL), "ref"),
        ("gitlab-token", Announcement(PATH, "refs/tags/v1.2.3", VERSION, SHA), "repo_url"),
        ("artifactory", Announcement(PATH, "refs/tags/v1.2.3"), "version"),
    ],
)
def test_what_a_platform_cannot_tell_is_asked_for(scheme: str, release: Announcement, field: str) -> None:
    with pytest.raises(SyncError) as caught:
        announce(scheme, release, NOW)
    assert (caught.value.code, caught.value.field) == ("bad_request", field)


def test_branches_are_told_in_the_articles_form() -> None:
    assert received("article", Announcement(PATH, "refs/heads/main", None, SHA)).version is None
