"""A registry that hangs, denies or leaves no room, with many releases waiting: a worker waits once, and can be stopped."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.bootstrap_sources import registry_options
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.refs import TagAt
from app.services.ports import ProxyInfo
from app.services.stages.mirror import MirrorRequest
from app.services.stages.mirror_values import Mirrored, Release
from tests.contract.fake_go_proxy import FakeGoProxy
from tests.integration.git_world import nothing
from tests.integration.registry_world import GO_MOD, LIB, Fake
from tests.integration.test_go_proxy_adapter import Answers
from tests.integration.web_world import write_settings
from tests.sandbox.serve import LoopbackServer

TAGS = [f"v1.0.{number}" for number in range(6)]


class Moody(FakeGoProxy):
    """As the fake, but for what it says of some versions."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: dict[str, SyncError] = {}

    def info(self, module: ModulePath, version: Version) -> ProxyInfo:
        found = super().info(module, version)
        if version.text in self.refuses:
            raise self.refuses[version.text]
        return found

    @property
    def asked(self) -> list[str]:
        """The versions that it was asked for."""
        return [version for method, _, version in self.calls if method == "info"]


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def fake(tmp_path: Path, moody: Moody) -> Fake:
    found = Fake(tmp_path, moody)
    for tag in TAGS:
        found.hold({**GO_MOD, "tag.txt": tag.encode()}, tag)
    moody.held = found.proxy.held
    return found


def codes(found: Mapping[str, object]) -> list[str]:
    """The error's code, or "" where it was brought, in the tags' order."""
    assert all(isinstance(each, (SyncError, TagAt, Mirrored)) for each in found.values()), found
    return [each.code if isinstance(each, SyncError) else "" for _, each in sorted(found.items())]


@contextmanager
def silent() -> Iterator[tuple[str, list[socket.socket]]]:
    """(URL, the connections so far) of a server that takes connections and never answers."""
    taken: list[socket.socket] = []

    def take(server: socket.socket) -> None:
        try:
            while True:
                taken.append(server.accept()[0])
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=take, args=(server,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for each in taken:
        each.close()


def test_one_that_hangs_is_waited_for_once_whatever_waits(tmp_path: Path) -> None:
    with silent() as (url, taken):
        fake = Fake(tmp_path, GoProxyClient(ProxyOptions("registry", url, timeout_seconds=0.2)))
        found = fake.stage.tags_at(fake.url, TAGS, nothing)
        assert (codes(found), len(taken)) == (["source_unreachable"] * 6, 2)  # for a version, and for the list


@pytest.mark.parametrize("code", ["source_unreachable", "disk_full"])
def test_what_was_brought_before_it_went_away_goes_on(fake: Fake, moody: Moody, code: str) -> None:
    moody.refuses = {"v1.0.2": SyncError(code, "gone", retry_after=7)}
    moody.fail("list", SyncError("proxy_unreachable", "gone, too"))
    found = fake.stage.tags_at(fake.url, TAGS, nothing)
    assert codes(found) == ["", "", code, code, code, code]
    assert moody.asked == TAGS[:3]
    last = found[TAGS[-1]]
    assert isinstance(last, SyncError)
    assert (last.retry_after, last.message) == (7, "not asked for, after another version: gone")
    ready = {tag: str(at.commit) for tag, at in found.items() if isinstance(at, TagAt)}
    assert codes(fake.mirror(*ready.items())) == ["", ""]


def test_commits_whose_cache_is_gone_wait_once_too(fake: Fake, moody: Moody) -> None:
    commits = {tag: str(at.commit) for tag, at in fake.stage.tags_at(fake.url, TAGS, nothing).items()
               if isinstance(at, TagAt)}  # fmt: skip
    for each in fake.world.options.cache_dir.glob("*.git"):
        each.rename(fake.world.root / "gone")
    moody.calls.clear()
    moody.refuses = {"v1.0.2": SyncError("source_unreachable", "gone")}
    moody.fail("list", SyncError("proxy_unreachable", "gone, too"))
    assert codes(fake.mirror(*commits.items())) == ["", "", *["source_unreachable"] * 4]
    assert moody.asked == TAGS[:3]


@pytest.mark.parametrize(
    ("told", "code"), [("proxy_denied", "source_denied"), ("proxy_unreachable", "source_unreachable")]
)
def test_one_version_that_is_not_given_does_not_end_the_others(fake: Fake, moody: Moody, told: str, code: str) -> None:
    """Artifactory answers 403 for what its scanner blocks, and 500 for what it lost."""
    moody.refuses = {"v1.0.2": SyncError(told, "not this one")}
    assert codes(fake.stage.tags_at(fake.url, TAGS, nothing)) == ["", "", code, "", "", ""]


def test_a_login_that_is_denied_is_not_sent_for_each(fake: Fake, moody: Moody) -> None:
    moody.refuses = dict.fromkeys(TAGS, SyncError("proxy_denied", "401"))
    moody.fail("list", SyncError("proxy_denied", "401"))
    assert codes(fake.stage.tags_at(fake.url, TAGS, nothing)) == ["source_denied"] * 6
    assert moody.asked == TAGS[:1]


class Stopped:
    """A checkpoint that says that the worker has to end, once so many versions were asked for."""

    def __init__(self, moody: Moody, after: int) -> None:
        self._moody, self._after = moody, after

    def __call__(self) -> None:
        if len(self._moody.asked) >= self._after:
            raise SyncError("interrupted", "the worker was asked to stop")


def test_a_stop_is_noticed_between_versions(fake: Fake, moody: Moody) -> None:
    with pytest.raises(SyncError, match="interrupted"):
        fake.stage.tags_at(fake.url, TAGS, Stopped(moody, 2))
    assert moody.asked == TAGS[:2]


def test_a_stop_while_it_is_waited_for_is_no_failure(fake: Fake, moody: Moody) -> None:
    moody.refuses = {TAGS[0]: SyncError("proxy_unreachable", "gone")}
    with pytest.raises(SyncError, match="interrupted"):
        fake.stage.tags_at(fake.url, TAGS, Stopped(moody, 1))


def test_a_stop_is_noticed_while_commits_are_made_again(fake: Fake, moody: Moody) -> None:
    module = ModulePath.parse(LIB)
    releases = tuple(Release(tag, module, Version.parse(tag), "a" * 40, "", make_tag=True) for tag in TAGS)
    with pytest.raises(SyncError, match="interrupted"):
        fake.stage.run(MirrorRequest(fake.url, "mirrors/lib", "ci-sync", releases), Stopped(moody, 2), nothing)
    assert moody.asked == TAGS[:2]


def test_a_stop_is_noticed_in_a_download() -> None:
    parts = 0

    def stop_at_the_third() -> None:
        nonlocal parts
        parts += 1
        if parts == 3:
            raise SyncError("interrupted", "the worker was asked to stop")

    with LoopbackServer(Answers(body=bytes(8 << 20))) as server:
        client = GoProxyClient(ProxyOptions("registry", server.url))
        with pytest.raises(SyncError, match="interrupted"):
            client.zip(ModulePath.parse(LIB), Version.parse("v1.0.0"), stop_at_the_third).__enter__()
        client.close()
    assert parts == 3


def test_a_registry_has_a_proxys_time_not_gits(tmp_path: Path) -> None:
    settings = write_settings(tmp_path)
    options = registry_options(settings, "https://registry.corp.example/go", None, None)
    assert (options.timeout_seconds, options.total_seconds) == (60, None)
    assert settings.git.timeout_seconds == 600
