"""A release that takes others back, and itself, too: a real `go` lists none of them, and none of their runs fails for that."""

import json
from pathlib import Path

import pytest

from app.adapters.repository_store import SqlRepositoryStore
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.ports import ProxyInfo
from tests.integration.stored import B, Stored
from tests.integration.verify_world import MODULE, VERSION, VerifyWorld
from tests.sandbox.goclient import GoClient

BOTH = "retract (\n\tv1.1.0 // published by accident\n\tv1.1.1 // contains only retractions\n)"
LATER = Version("v1.1.1")


class RetractedWorld(VerifyWorld):
    """VERSION was released after v0.9.0; `released` brings more, and the proxy lists of all what a real `go` does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "w")
        self._files = root / "goproxy" / MODULE.text / "@v"
        self._files.mkdir(parents=True)
        self.go = GoClient(root / "go", f"file://{root}/goproxy", private="corp.example")
        self.released("v0.9.0")
        self.serve()

    def released(self, version: str, retract: str = "", *, cached: bool = True) -> None:
        mod = f"module {MODULE}\n\n{retract}\n".encode()
        self.brought.append(Version(version))
        self.proxy.hold(MODULE.text, ProxyInfo(version, None, None), mod, b"")
        self.list_as_go()
        if not cached:
            del self.proxy.held[MODULE.text, version]

    def list_as_go(self) -> None:
        held = {version: each.mod for (_, version), each in self.proxy.held.items()}
        for version, mod in held.items():
            (self._files / f"{version}.info").write_text(json.dumps({"Version": version}))
            (self._files / f"{version}.mod").write_bytes(mod)
        (self._files / "list").write_text("\n".join(held))
        self.go.forget()
        self.proxy.unlisted = set(held) - set(self.go.versions(MODULE.text))


@pytest.fixture
def world(tmp_path: Path) -> RetractedWorld:
    return RetractedWorld(tmp_path)


def test_what_a_release_retracts_that_retracts_itself_is_verified(world: RetractedWorld) -> None:
    world.released(LATER.text, BOTH)
    assert list(world.proxy.list(MODULE) or ()) == ["v0.9.0"]
    world.proxy.latest_is = ProxyInfo("v0.9.0", None, None)
    assert world.verify()["h1"] == world.sums.h1_zip


@pytest.mark.parametrize(("retract", "cached"), [("retract v1.1.1", True), (BOTH, False)])
def test_one_that_nobody_is_known_to_retract_has_to_be_listed(
    world: RetractedWorld, retract: str, cached: bool
) -> None:
    world.released(LATER.text, retract, cached=cached)
    world.proxy.unlisted.add(VERSION.text)  # its list is cached
    with pytest.raises(SyncError) as caught:
        world.verify()
    assert (caught.value.code, caught.value.retryable) == ("not_listed", True)


def test_what_was_brought_stands_in_the_records(stored: Stored) -> None:
    first = stored.release().run_id
    stored.push(stored.claim(first))
    stored.release(B, "v1.1.0")
    assert SqlRepositoryStore(stored.engine).brought(stored.run(first).path) == [Version("v1.0.0")]
    assert SqlRepositoryStore(stored.engine).brought(ModulePath.parse("corp.example/none")) == []
