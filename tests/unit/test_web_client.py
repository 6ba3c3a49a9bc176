"""Whose address a request has, behind proxies that are trusted and others."""

from __future__ import annotations

import ipaddress

import pytest
from flask import Flask

from app import create_app
from app.config import load_settings
from app.web import client
from tests.integration.web_world import BODY_LIMIT, CONFIG, ENVIRONMENT

PROXY, OTHER = "10.0.0.5", "203.0.113.7"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    directory = tmp_path_factory.mktemp("client")
    text = CONFIG.format(port=8080, limit=BODY_LIMIT)
    trusted = '[web]\ntrusted_proxies = ["10.0.0.0/24", "fd00::/64"]\n'
    (directory / "modsync.toml").write_text(text.replace("[web]\n", trusted))
    return create_app(load_settings(directory / "modsync.toml", ENVIRONMENT))


CASES: dict[str, tuple[str, dict[str, str], str, bool]] = {
    # peer, headers, the address that counts, whether it is known for networks
    "directly": (OTHER, {}, OTHER, True),
    "over a trusted proxy": (PROXY, {"X-Forwarded-For": "198.51.100.1"}, "198.51.100.1", True),
    "a made-up entry stands before the true one": (PROXY, {"X-Forwarded-For": "1.1.1.1, 198.51.100.1"}, "198.51.100.1", True),
    "over two trusted proxies": (PROXY, {"X-Forwarded-For": "1.1.1.1, 198.51.100.1, 10.0.0.9"}, "198.51.100.1", True),
    "everybody is a proxy of ours": (PROXY, {"X-Forwarded-For": "10.0.0.7, 10.0.0.9"}, "10.0.0.7", True),
    "a stranger says that it is a proxy": (OTHER, {"X-Forwarded-For": "127.0.0.1"}, OTHER, False),
    "a stranger knows another header": (OTHER, {"X-Real-Ip": "127.0.0.1"}, OTHER, False),
    "the proxy wrote another header only": (PROXY, {"Forwarded": "for=127.0.0.1"}, PROXY, False),
    "what is no address": (PROXY, {"X-Forwarded-For": "198.51.100.1, unknown"}, PROXY, False),
    "nothing": (PROXY, {"X-Forwarded-For": ""}, PROXY, False),
    "with ports": (PROXY, {"X-Forwarded-For": "198.51.100.1:4711"}, "198.51.100.1", True),
    "IPv6 with a port": ("fd00::1", {"X-Forwarded-For": "[2001:db8:1:2:3::4]:4711"}, "2001:db8:1:2::/64", True),
    "IPv4 by an IPv6 socket": (f"::ffff:{PROXY}", {"X-Forwarded-For": "198.51.100.1"}, "198.51.100.1", True),
    "no peer": ("", {}, "", False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_whose_address_it_is(app: Flask, case: str) -> None:
    peer, headers, counted, known = CASES[case]
    with app.test_request_context("/login", headers=headers, environ_base={"REMOTE_ADDR": peer}):
        everywhere = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
        assert (client.counted(), client.is_in(everywhere)) == (counted, known)


@pytest.mark.parametrize(("peer", "sent", "status"), [
    (PROXY, "127.0.0.1", 200), (PROXY, "203.0.113.9", 401), (PROXY, "127.0.0.1, 203.0.113.9", 401),
    (OTHER, "127.0.0.1", 401), ("127.0.0.1", "127.0.0.1", 401),
])  # fmt: skip
def test_metrics_go_by_the_clients_network(app: Flask, peer: str, sent: str, status: int) -> None:
    answer = app.test_client().get(
        "/metrics", headers={"X-Forwarded-For": sent}, environ_overrides={"REMOTE_ADDR": peer}
    )
    assert answer.status_code == status
