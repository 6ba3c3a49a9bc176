"""A module platform's release webhooks: signed, forged, or sent once more."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import requests

Scheme = Literal["article", "hub"]
_HEADERS: dict[Scheme, str] = {"article": "X-Gitlab-Token", "hub": "X-Hub-Signature-256"}
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Delivered:
    """One delivery as sent, and the service's answer; `json` is None where the answer is not JSON."""

    url: str
    sent: bytes
    headers: Mapping[str, str]
    status: int
    text: str

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    def resend(self) -> "Delivered":
        """Send the same bytes with the same headers again."""
        return post(self.url, self.sent, self.headers)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Delivered:
    """POST bytes as they are, past any proxy of the machine's; raises requests.RequestException."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, data=body, headers=dict(headers), timeout=_TIMEOUT_SECONDS, allow_redirects=False)
    return Delivered(url, body, dict(headers), answer.status_code, answer.text)


def signature(secret: str, body: bytes) -> str:
    """`sha256=` and the hex HMAC-SHA256 of the raw body, as both schemes carry it."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def send(
    url: str, secret: str, payload: Mapping[str, Any] | bytes, *, scheme: Scheme = "article", forge: bool = False
) -> Delivered:
    """Sign the payload (a mapping is sent as JSON, bytes as they are) and POST it; `forge` signs with another key."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = signature(secret + "-forged" if forge else secret, body)
    return post(url, body, {"Content-Type": "application/json", _HEADERS[scheme]: signed})
