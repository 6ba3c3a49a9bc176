"""The proxy that modsync writes itself: a real `go` downloads from it, as files and over a static web server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from filelock import FileLock

from app.adapters import drafts
from app.adapters.released_content import ReleasedContent
from app.adapters.static_proxy import StaticProxy
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.checksum import module_sums, zip_sums
from app.services.stages.publish import PublishStage
from app.services.stages.verify import Earlier, VerifyRequest, VerifyStage
from tests.integration.flow_world import NO_REGISTRIES
from tests.integration.git_world import SOURCE, World, nothing
from tests.integration.nginx_world import needs_nginx, static_nginx
from tests.integration.verify_world import MODULE, VERSION, VerifyWorld
from tests.sandbox.goclient import GoClient
from tests.sandbox.serve import LoopbackServer

X = ModulePath("corp.example/x")


class Static(VerifyWorld):
    """Releases of a real repository, and the stage that publishes them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "w")
        self.directory = root / "goproxy"
        self.static = StaticProxy(self.directory)
        content = ReleasedContent(self.world.door(), NO_REGISTRIES, root / "scratch")
        self.publish = PublishStage({"default": self.static}, content.pack, zip_sums)
        self.verified = VerifyStage({"default": self.static}, zip_sums, content, {"default": "static"}, lambda _: ())

    def files(self) -> dict[str, int]:
        """Every file's inode: a rewritten one has another."""
        found = (path for path in self.directory.rglob("*") if path.is_file() and path.name != ".modsync.lock")
        return {str(path.relative_to(self.directory)): path.stat().st_ino for path in found}


@pytest.fixture
def static(tmp_path: Path) -> Static:
    return Static(tmp_path)


def released(world: World, module: str, version: str, files: dict[str, str]) -> VerifyRequest:
    """Another module's release, from a repository of its own."""
    name = f"team/{module.rpartition('/')[2].lower()}"
    world.repositories.make_repository(name)
    commit = world.repositories.commit(name, files, version)
    path, parsed = ModulePath.parse(module), Version.parse(version)
    world.repositories.tag(name, parsed.tag_part, commit)
    return VerifyRequest(path, parsed, commit, "default", "", None, world.file_url(name), parsed.tag_part)


@pytest.fixture(params=["file", "http", pytest.param("nginx", marks=needs_nginx)])
def go(request: pytest.FixtureRequest, static: Static, tmp_path: Path) -> Iterator[GoClient]:
    static.directory.mkdir()
    if request.param == "file":
        yield GoClient(tmp_path / "go", f"file://{static.directory}", private="corp.example")
        return
    if request.param == "nginx":
        with static_nginx(tmp_path / "nginx", static.directory) as url:
            yield GoClient(tmp_path / "go", url, private="corp.example")
        return
    with LoopbackServer(Files(static.directory)) as server:
        yield GoClient(tmp_path / "go", server.url, private="corp.example")


class Files:
    """A static web server, such as nginx with `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        file = self._root / str(environ["PATH_INFO"]).lstrip("/")
        body = file.read_bytes() if file.is_file() else b"not found"
        start_response("200 OK" if file.is_file() else "404 Not Found", [("Content-Length", str(len(body)))])
        return [body]


def test_go_downloads_what_was_released(static: Static, go: GoClient) -> None:
    static.publish.run(static.request(), nothing, nothing)
    found = go.download(f"{MODULE}@{VERSION}")
    assert "Error" not in found
    assert (found["Sum"], found["GoModSum"]) == (static.sums.h1_zip, static.sums.h1_go_mod)
    assert json.loads(Path(found["Info"]).read_text())["Origin"]["Hash"] == static.commit
    assert go.download(f"{MODULE}@latest")["Version"] == VERSION.text


def test_upper_case_incompatible_and_legacy_modules(static: Static, go: GoClient) -> None:
    for module, version, files in (
        ("corp.example/Team/Big", "v1.0.0-RC.1", {"go.mod": "module corp.example/Team/Big\n", "b.go": "package b\n"}),
        ("corp.example/team/legacy", "v1.0.0", {"l.go": "package l\n"}),
        ("corp.example/team/old", "v2.0.0+incompatible", {"o.go": "package o\n"}),
    ):
        static.publish.run(released(static.world, module, version, files), nothing, nothing)
        found = go.download(f"{module}@{version}")
        assert found.get("Sum", found).startswith("h1:")
        assert go.download(f"{module}@latest")["Version"] == version


def test_what_was_published_verifies(static: Static) -> None:
    static.publish.run(static.request(), nothing, nothing)
    facts = static.verified.run(static.request(), nothing).facts["verify"]
    assert facts["h1"] == static.sums.h1_zip
    assert facts["commit"] == static.commit


def test_a_second_publication_writes_nothing(static: Static) -> None:
    assert static.publish.run(static.request(), nothing, nothing).facts["pipeline"]["new"] is True
    before = static.files()
    assert static.publish.run(static.request(), nothing, nothing).facts["pipeline"]["new"] is False
    assert static.files() == before


def test_other_content_is_never_overwritten_but_by_an_accepted_move(static: Static) -> None:
    first = static.request()
    static.publish.run(first, nothing, nothing)
    commit = static.world.repositories.commit(SOURCE, {"sub/lib.go": "package changed\n"}, "moved")
    h1 = _h1_of(static, commit)
    moved = replace(first, commit=commit, h1=h1)
    with pytest.raises(SyncError) as caught:
        static.publish.run(moved, nothing, nothing)
    assert caught.value.code == "served_other_content"
    assert static.sums.h1_zip in caught.value.message
    assert h1 in caught.value.message

    static.publish.run(replace(moved, earlier=(Earlier(first.commit, first.h1),)), nothing, nothing)
    assert static.static.info(MODULE, VERSION).commit == commit
    assert static.verified.run(moved, nothing).facts["verify"]["h1"] == h1


def test_an_accepted_move_overwrites_what_it_replaces_though_nobody_knows_its_h1(static: Static) -> None:
    """The old commit is in .info; after a catch at fetch, or for an adopted version, its h1 may be lost."""
    first = static.request()
    static.publish.run(first, nothing, nothing)
    commit = static.world.repositories.commit(SOURCE, {"sub/lib.go": "package changed\n"}, "moved")
    moved = replace(first, commit=commit, h1=_h1_of(static, commit))
    with pytest.raises(SyncError) as caught:
        static.publish.run(replace(moved, earlier=(Earlier("e" * 40, None),)), nothing, nothing)
    assert caught.value.code == "served_other_content"
    for part in (first.commit, commit, first.h1, moved.h1):
        assert str(part) in caught.value.message
    static.publish.run(replace(moved, earlier=(Earlier("e" * 40, None), Earlier(first.commit, None))), nothing, nothing)
    assert static.verified.run(moved, nothing).facts["verify"]["h1"] == moved.h1


def _h1_of(static: Static, commit: str) -> str:
    return module_sums(static.archive, commit, MODULE, VERSION, "sub").h1_zip


def test_content_that_is_not_what_was_mirrored_is_not_published(static: Static) -> None:
    with pytest.raises(SyncError) as caught:
        static.publish.run(replace(static.request(), h1="h1:other"), nothing, nothing)
    assert caught.value.code == "not_reproducible"
    assert static.files() == {}


def test_a_commit_that_is_nowhere_is_missing(static: Static) -> None:
    with pytest.raises(SyncError) as caught:
        static.publish.run(replace(static.request(), commit="f" * 40), nothing, nothing)
    assert caught.value.code == "commit_missing"


def test_a_publication_that_dies_leaves_nothing_half_and_is_made_up_for(static: Static) -> None:
    def dies(file: BinaryIO) -> None:
        file.write(b"PK half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        static.static.publish(MODULE, VERSION, lambda: b"", lambda: b"", dies, nothing, nothing)
    assert static.files() == {}

    def dies_later() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        static.static.publish(MODULE, VERSION, dies_later, lambda: b"x", lambda file: None, nothing, nothing)
    assert set(static.files()) == {f"{MODULE}/@v/{VERSION}.{kind}" for kind in ("zip", "mod")}  # not announced
    assert static.static.list(MODULE) is None
    static.publish.run(static.request(), nothing, nothing)
    assert static.verified.run(static.request(), nothing).facts["verify"]["h1"] == static.sums.h1_zip


def test_many_at_once_are_all_listed(tmp_path: Path) -> None:
    static = StaticProxy(tmp_path / "proxy")
    versions = [f"v1.{number}.0" for number in range(24)]

    def publish(version: str) -> None:
        info = json.dumps({"Version": version}).encode()
        static.publish(
            X, Version(version), lambda: info, lambda: b"module corp.example/x\n", lambda file: None, nothing, nothing
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, versions))
    assert list(static.list(X) or ()) == versions  # in their order, not the alphabet's
    latest = static.latest(X)
    assert latest is not None
    assert latest.version == "v1.23.0"


def test_others_may_read_the_files(static: Static) -> None:
    static.publish.run(static.request(), nothing, nothing)
    modes = {path.stat().st_mode & 0o777 for path in static.directory.rglob("*") if path.parent.name == "@v"}
    assert modes == {0o644}


def test_others_may_look_into_the_directories_whatever_the_umask(static: Static) -> None:
    before = os.umask(0o027)
    try:
        static.publish.run(static.request(), nothing, nothing)
    finally:
        os.umask(before)
    inside = [path for path in static.directory.rglob("*") if path.is_dir() and path.name != drafts.DIRECTORY]
    assert {path.stat().st_mode & 0o777 for path in inside} == {0o755}
    assert len(inside) > 3


def test_who_holds_the_directory_for_long_is_waited_for_aside(static: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that stands still must not hold every other worker, too."""
    monkeypatch.setattr("app.adapters.static_proxy._BEAT", 0.05)
    monkeypatch.setattr("app.adapters.static_proxy._PATIENCE", 0.1)
    asked: list[int] = []
    static.directory.mkdir()
    with FileLock(static.directory / ".modsync.lock"), pytest.raises(SyncError, match="cache_busy"):
        static.publish.run(static.request(), lambda: asked.append(1), nothing)
    assert len(asked) > 1
    assert static.files() == {}
    static.publish.run(static.request(), nothing, nothing)
    assert static.static.list(MODULE) == [VERSION.text]


def test_directories_whose_maker_was_killed_are_opened_by_the_next_one(static: Static) -> None:
    before = os.umask(0o027)
    try:
        (static.directory / static.request().module.escaped).mkdir(parents=True)
        static.publish.run(static.request(), nothing, nothing)
    finally:
        os.umask(before)
    inside = [path for path in static.directory.rglob("*") if path.is_dir() and path.name != drafts.DIRECTORY]
    assert {path.stat().st_mode & 0o777 for path in inside} == {0o755}


def test_what_is_not_listed_may_be_in_use_and_is_not_overwritten(static: Static) -> None:
    """`go get x@v1.0.0` asks for no list."""
    first = static.request()
    static.publish.run(first, nothing, nothing)
    (listed,) = static.directory.rglob("list")
    names = listed.read_bytes()
    listed.unlink()
    commit = static.world.repositories.commit(SOURCE, {"sub/lib.go": "package changed\n"}, "moved")
    with pytest.raises(SyncError, match="Nothing was overwritten"):
        static.publish.run(replace(first, commit=commit, h1=_h1_of(static, commit)), nothing, nothing)
    static.publish.run(first, nothing, nothing)
    assert listed.read_bytes() == names


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("a file is in the way")
    with pytest.raises(SyncError) as caught:
        StaticProxy(tmp_path / "proxy").publish(
            X, VERSION, lambda: b"", lambda: b"", lambda file: None, nothing, nothing
        )
    assert caught.value.code == "git_failed"


_WRITES_FOR_EVER = """
import sys, time
from pathlib import Path
from app.adapters.static_proxy import StaticProxy
from app.domain.modules import ModulePath, Version

def write(file):
    file.write(b"PK half"); file.flush()
    print("writing", flush=True)
    time.sleep(600)

StaticProxy(Path(sys.argv[1])).publish(ModulePath("a.b/c"), Version("v1.0.0"), lambda: b"", lambda: b"", write, int, int)
"""


def test_what_a_killed_worker_left_is_swept_and_a_draft_in_use_is_not(tmp_path: Path) -> None:
    static = StaticProxy(tmp_path / "proxy")
    assert static.sweep() == []
    with subprocess.Popen(
        [sys.executable, "-c", _WRITES_FOR_EVER, tmp_path / "proxy"], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        (draft,) = (tmp_path / "proxy" / drafts.DIRECTORY).iterdir()
        os.utime(draft, (0, time.time() - 3600))
        assert static.sweep() == []
        assert draft.read_bytes() == b"PK half"
        writer.kill()
    assert static.sweep() == [draft.name]
    assert not draft.exists()


def test_a_draft_that_was_made_just_now_is_not_swept_though_nobody_holds_it(tmp_path: Path) -> None:
    directory = tmp_path / drafts.DIRECTORY
    directory.mkdir()
    (directory / "new").write_bytes(b"")
    assert StaticProxy(tmp_path).sweep() == []
