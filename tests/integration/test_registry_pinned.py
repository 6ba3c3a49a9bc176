"""A registry's name is checked and pinned before it gets the source's login, as a git host's is."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.adapters import git_resolve
from app.adapters.git_resolve import checked_addresses
from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.bootstrap import Container
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.routing import Rule, choose
from tests.integration.test_go_proxy_adapter import Answers
from tests.integration.web_world import write_settings
from tests.sandbox.serve import LoopbackServer

NAME = "registry.corp.example"  # nobody knows it: it can be reached by its addresses only
RELEASE = ModulePath("go.corp.example/x"), Version("v1.0.0")


class Names:
    """A resolver that says for every name what it is told to, and counts how often it is asked."""

    def __init__(self, *addresses: str) -> None:
        self.found, self.asked = addresses, 0

    def addresses(self, host: str, port: int) -> Sequence[str]:
        assert (host, port > 0) == (NAME, True)
        self.asked += 1
        return self.found


def client(url: str, names: Names, **options: Any) -> GoProxyClient:
    return GoProxyClient(ProxyOptions("registry", url, addresses=lambda: checked_addresses(url, names), **options))


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine counts as any other: the tests' servers have no other address."""
    monkeypatch.setattr(git_resolve, "is_inside", lambda _: False)


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]])  # nobody listens at the second
def test_it_is_asked_at_its_addresses_by_its_name(addresses: list[str]) -> None:
    app = Answers()
    with LoopbackServer(app) as server:
        url = f"{server.url.replace('127.0.0.1', NAME)}/go"
        asked = client(url, Names(*addresses), username="me", password=SecretStr("known-password"))
        assert asked.info(*RELEASE).version == "v1.0.0"
        asked.close()
    (request,) = app.asked
    assert request["HTTP_HOST"] == f"{NAME}:{server.url.rpartition(':')[2]}"
    assert base64.b64decode(request["HTTP_AUTHORIZATION"].partition(" ")[2]) == b"me:known-password"


@pytest.mark.usefixtures("inside")
def test_a_name_that_changed_is_looked_up_for_the_next_connection() -> None:
    app, names = Answers(), Names("127.0.0.1")
    with LoopbackServer(app) as server:
        asked = client(server.url.replace("127.0.0.1", NAME), names)
        asked.info(*RELEASE)
        asked.close()
        names.found = ("127.0.0.2",)
        with pytest.raises(SyncError, match="proxy_unreachable"):
            asked.info(*RELEASE)
    assert (names.asked, len(app.asked)) == (2, 1)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254"])
def test_one_that_is_inside_gets_no_request(address: str) -> None:
    app = Answers()
    with LoopbackServer(app) as server:
        url = server.url.replace("127.0.0.1", NAME)
        asked = client(url, Names("192.0.2.7", address), username="me", password=SecretStr("known-password"))
        for ask in (asked.info, asked.mod):
            with pytest.raises(SyncError, match="clone_url_refused"):
                ask(*RELEASE)
    assert app.asked == []


class Listening(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"Version":"v1.0.0"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(("certified", "believed"), [(NAME, True), ("other.corp.example", False)])
def test_a_certificate_has_to_be_the_names(tmp_path: Path, certified: str, believed: bool) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={certified}", "-addext", f"subjectAltName=DNS:{certified}", "-keyout", tmp_path / "key",
         "-out", tmp_path / "ca"],
        check=True, capture_output=True,
    )  # fmt: skip
    wanted: list[str | None] = []
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(tmp_path / "ca", tmp_path / "key")
    trust.sni_callback = lambda _socket, name, _context: wanted.append(name)
    with HTTPServer(("127.0.0.1", 0), Listening) as server:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = client(f"https://{NAME}:{server.server_port}/go", Names("127.0.0.1"), ca_file=str(tmp_path / "ca"))
        try:
            found = asked.info(*RELEASE).version
        except SyncError as error:
            found = error.code
        server.shutdown()
    assert (found, wanted) == ("v1.0.0" if believed else "proxy_unreachable", [NAME])


def production(directory: Path, base: str, **outgoing: str | None) -> Container:
    """Of a configuration with a registry."""
    settings = write_settings(directory)
    rule = settings.rules[0].model_copy(update={"content": "goproxy", "clone": base})
    return Container(settings.model_copy(update={
        "sandbox": settings.sandbox.model_copy(update={"enabled": False}), "rules": (rule,),
        "outgoing": settings.outgoing.model_copy(update=outgoing),
    }))  # fmt: skip


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254"])
def test_in_production_a_name_that_stands_for_this_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Whoever answers for an allow-listed name could else have what only this machine may ask for, and the login."""
    looked_up = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]
    base = f"https://{NAME}/go"
    registries = production(tmp_path, base).registries
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: looked_up)
    with pytest.raises(SyncError, match="clone_url_refused"):
        registries.versions(f"{base}/go.corp.example/x")


def test_behind_an_http_proxy_that_one_looks_the_name_up(tmp_path: Path) -> None:
    """As for git: nobody else may be able to."""
    company = Answers(status="403 Forbidden")
    with LoopbackServer(company) as server:
        base = f"http://{NAME}/go"
        registries = production(tmp_path, base, http_proxy=server.url).registries
        with pytest.raises(SyncError, match="source_denied"):
            registries.versions(f"{base}/go.corp.example/x")
    assert [each["HTTP_HOST"] for each in company.asked] == [NAME]


@pytest.mark.parametrize(
    "base",
    ["https://registry.corp.example/api/go", "https://Registry.Corp.Example:443/api/go/", "HTTPS://registry.corp.example",
     "https://registry.corp.example:8443/"],
)  # fmt: skip
def test_however_a_rule_writes_its_address_its_modules_come_from_it(tmp_path: Path, base: str) -> None:
    """They were cloned as git repositories where it has the default port or a capital letter."""
    container = production(tmp_path, base)
    settings = container.settings
    source = settings.sources[0].model_copy(
        update={"allow": (f"{base.rstrip('/')}/**",), "clone_token": SecretStr("t")}
    )
    container.settings = settings.model_copy(update={"sources": (source,)})
    rule = Rule("go.corp.example/{team}/{repo}", "mirrors/{team}/{repo}", clone=base, content="goproxy")
    module = ModulePath.parse("go.corp.example/team/lib")
    found = choose([rule], source.name, module, None, None, source.allow).clone_url
    assert container.registries.knows(found)
    assert container.registries.module(found) == module
    (registry,) = container.registries._registries.values()
    assert isinstance(registry, GoProxyClient)
    assert found.startswith(f"{registry._options.url}/")
    assert registry._options.authorization() is not None
    assert not container.registries.knows(f"{registry._options.url}2/go.corp.example/team/lib")
