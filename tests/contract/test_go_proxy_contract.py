"""What every ports.GoProxy does: one suite for the fake, the real adapter against a server of plain files, and the static one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.adapters.static_proxy import StaticProxy
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services import ports
from app.services.ports import ProxyInfo
from tests.contract.fake_go_proxy import FakeGoProxy
from tests.sandbox.serve import LoopbackServer

MODULE, VERSION = ModulePath("github.com/Azure/go-SDK/v2"), Version("v2.1.0-RC.1")
OTHER, X, FIRST = ModulePath("example.com/other"), ModulePath("example.com/x"), Version("v1.0.0")
INFO = ProxyInfo(VERSION.text, "2026-03-01T12:00:00Z", "5" * 40)
MOD = b"module github.com/Azure/go-SDK/v2\r\n\xff"
ZIP = b"PK\x03\x04" + bytes(range(256)) * 5000


class World(Protocol):
    """A proxy, and a way to put a version there."""

    @property
    def proxy(self) -> ports.GoProxy: ...

    def hold(self, module: ModulePath, version: Version, info: ProxyInfo, mod: bytes, zip_bytes: bytes) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.fake = FakeGoProxy()

    @property
    def proxy(self) -> ports.GoProxy:
        return self.fake

    def hold(self, module: ModulePath, version: Version, info: ProxyInfo, mod: bytes, zip_bytes: bytes) -> None:
        self.fake.hold(module.text, info, mod, zip_bytes, version=version.text)


class InDirectory:
    """The proxy that modsync writes itself."""

    def __init__(self, directory: Path) -> None:
        self._static = StaticProxy(directory)

    @property
    def proxy(self) -> ports.GoProxy:
        return self._static

    def hold(self, module: ModulePath, version: Version, info: ProxyInfo, mod: bytes, zip_bytes: bytes) -> None:
        origin = {"Origin": {"Hash": info.commit}} if info.commit else {}
        shown = {"Version": info.version, **origin, **({"Time": info.time} if info.time else {})}
        self._static.publish(
            module, version, lambda: json.dumps(shown).encode(), lambda: mod, lambda file: _write(file, zip_bytes),
            lambda: None, lambda: None,
        )  # fmt: skip


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)


class OverHttp:
    """A proxy below a path, as Artifactory has it."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self.server = LoopbackServer(self)
        self._client = GoProxyClient(ProxyOptions("test", f"{self.server.url}/artifactory/api/go/all"))

    @property
    def proxy(self) -> ports.GoProxy:
        return self._client

    def hold(self, module: ModulePath, version: Version, info: ProxyInfo, mod: bytes, zip_bytes: bytes) -> None:
        base = f"/artifactory/api/go/all/{module.escaped}/@v/{version.escaped}"
        origin = {"VCS": "git", "Hash": info.commit} if info.commit else None
        shown = {"Version": info.version, "Time": info.time, "Origin": origin, "Extra": [1]}
        files = {"info": json.dumps(shown).encode(), "mod": mod, "zip": zip_bytes}
        self._files |= {f"{base}.{kind}": content for kind, content in files.items()}
        listed = base.rpartition("/")[0] + "/list"
        self._files[listed] = self._files.get(listed, b"") + f"{version}\n".encode()
        self._files[base.rpartition("/@v/")[0] + "/@latest"] = files["info"]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        content = self._files.get(str(environ["PATH_INFO"]))
        body = b"not found" if content is None else content
        status = "404 Not Found" if content is None else "200 OK"
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture(params=["fake", "static", "real"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param != "real":
        yield InMemory() if request.param == "fake" else InDirectory(tmp_path)
        return
    served = OverHttp()
    with served.server:
        yield served


@pytest.fixture
def proxy(world: World) -> ports.GoProxy:
    world.hold(MODULE, VERSION, INFO, MOD, ZIP)
    return world.proxy


def test_what_is_held_comes_back_byte_for_byte(proxy: ports.GoProxy) -> None:
    assert proxy.info(MODULE, VERSION) == INFO
    assert proxy.mod(MODULE, VERSION) == MOD
    with proxy.zip(MODULE, VERSION) as file:
        assert file.tell() == 0
        assert file.read() == ZIP


def test_time_and_commit_may_be_absent(world: World) -> None:
    bare = ProxyInfo("v1.0.0", None, None)
    world.hold(X, FIRST, bare, b"module example.com/x\n", b"PK")
    assert world.proxy.info(X, FIRST) == bare


def test_another_version_is_answered_as_it_is(world: World) -> None:
    other = ProxyInfo("v1.0.1", None, None)
    world.hold(X, FIRST, other, b"", b"PK")
    assert world.proxy.info(X, FIRST).version == "v1.0.1"
    assert world.proxy.mod(X, FIRST) == b""


def test_incompatible_versions(world: World) -> None:
    info = ProxyInfo("v2.0.0+incompatible", None, None)
    world.hold(X, Version("v2.0.0+incompatible"), info, b"module example.com/x\n", b"PK")
    assert world.proxy.info(X, Version("v2.0.0+incompatible")) == info


def test_what_is_not_held_is_not_cached_yet(proxy: ports.GoProxy) -> None:
    for module, version in (
        (MODULE, Version("v2.9.9")),
        (OTHER, FIRST),
        (ModulePath(MODULE.text.lower()), Version(VERSION.text.lower())),
    ):
        for ask in (proxy.info, proxy.mod):
            with pytest.raises(SyncError) as caught:
                ask(module, version)
            assert caught.value.code == "not_cached_yet"
        with pytest.raises(SyncError) as caught, proxy.zip(module, version):
            pytest.fail("the zip is not there")
        assert caught.value.code == "not_cached_yet"


def test_the_list_names_what_is_held(proxy: ports.GoProxy, world: World) -> None:
    assert list(proxy.list(MODULE) or ()) == [VERSION.text]
    world.hold(MODULE, Version("v2.2.0"), ProxyInfo("v2.2.0", None, None), MOD, ZIP)
    assert sorted(proxy.list(MODULE) or ()) == sorted([VERSION.text, "v2.2.0"])


def test_the_latest_version_is_named(proxy: ports.GoProxy) -> None:
    assert proxy.latest(MODULE) == INFO


def test_a_module_that_nobody_asked_for_has_no_list_and_no_latest(proxy: ports.GoProxy) -> None:
    assert proxy.list(OTHER) is None
    assert proxy.latest(OTHER) is None
