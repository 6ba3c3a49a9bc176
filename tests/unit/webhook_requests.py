"""A good request of each scheme, and what verify says of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from app.domain.webhook import SCHEMES, BadSignatureError, Secret, VerifiedBody, verify

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = b'{"ref":"refs/tags/v1.2.3"}\n'
KEY = b"correct horse battery staple"
WHSEC = b"whsec_" + base64.b64encode(KEY)
OLD, NEW = Secret("old", b"the key that is on its way out"), Secret("new", KEY)


def digest(key: bytes = KEY, body: bytes = BODY) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def standard(key: bytes = KEY, at: datetime = NOW, body: bytes = BODY, delivery: str = "msg_1") -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    signed = hmac.new(key, f"{delivery}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(signed).decode()}"
    return {"webhook-id": delivery, "webhook-timestamp": stamp, "webhook-signature": signature}


GOOD: dict[str, dict[str, str]] = {
    "article": {"X-Gitlab-Token": f"sha256={digest()}"},
    "github": {"X-Hub-Signature-256": f"sha256={digest()}", "X-GitHub-Delivery": "d-1"},
    "gitea": {"X-Gitea-Signature": digest(), "X-Gitea-Delivery": "d-1"},
    "forgejo": {"X-Forgejo-Signature": digest(), "X-Forgejo-Delivery": "d-1"},
    "gitlab-token": {"X-Gitlab-Token": KEY.decode(), "Idempotency-Key": "d-1"},
    "standard-webhooks": standard(delivery="d-1"),
    "artifactory": {"X-JFrog-Event-Auth": digest()},
}
SIGNED_BY_DIGEST = sorted(set(GOOD) - {"gitlab-token", "standard-webhooks"})


def secrets(scheme: str) -> list[Secret]:
    return [OLD, Secret("new", WHSEC if scheme == "standard-webhooks" else KEY)]


def check(scheme: str, headers: dict[str, str], body: bytes = BODY, now: datetime = NOW) -> VerifiedBody:
    return verify(SCHEMES[scheme], secrets(scheme), headers, body, now)


def reason(scheme: str, headers: dict[str, str], body: bytes = BODY, now: datetime = NOW) -> str:
    with pytest.raises(BadSignatureError) as caught:
        check(scheme, headers, body, now)
    return caught.value.reason
