"""A registry as the source: what a real Go proxy serves becomes commits, from which a real `go` makes the same again."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from app.adapters.git_archive import GitArchive
from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.refs import TagAt
from app.services.checksum import module_sums, zip_sums
from app.services.ports import ProxyInfo, SourceCopy
from app.services.registry import Registries, released_at
from app.services.stages.mirror import MirrorRequest, MirrorStage, Release
from app.services.stages.mirror_values import Mirrored
from tests.contract.fake_gitlab import FakeGitLab
from tests.contract.fake_go_proxy import FakeGoProxy
from tests.integration.git_world import World, nothing
from tests.sandbox.discovery import by_root
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.modules import HOST

BASE = "https://registry.example/go"
LIB = f"{HOST}/team/lib"


def proof(cache: SourceCopy, release: Release, directory: str) -> str:
    return module_sums(
        GitArchive(Path(cache.path())), release.commit, release.module, release.version, directory
    ).h1_zip


@dataclass
class Origin:
    """The platform's repositories behind a registry, and a place for mirrors."""

    world: World
    roots: dict[str, str]
    proxy: GoProxy

    def release(self, name: str, files: dict[str, str | bytes], *tags: str) -> None:
        if not self.world.repositories.path(f"team/{name}").exists():
            self.world.repositories.make_repository(f"team/{name}")
        commit = self.world.repositories.commit(f"team/{name}", files, "release")
        for tag in tags:
            self.world.repositories.tag(f"team/{name}", tag, commit)
        self.roots[f"{HOST}/team/{name}"] = self.world.url(f"team/{name}")

    def registries(self) -> Registries:
        client = GoProxyClient(ProxyOptions("registry", self.proxy.url))
        return Registries({BASE: client}, zip_sums, proof)

    def bring(self, module: str, tag: str, cache_of: str = "cache") -> TagAt:
        """Into a cache of its own, as on another host."""
        url = f"{BASE}/{ModulePath.parse(module).escaped}"
        door = self.world.door(cache_dir=self.world.root / cache_of, protocols=("https", "http", "file"))
        with door.source(url, nothing) as cache:
            return self.registries().bring(cache, url, tag)

    def served(self, module: str, version: str) -> str:
        """The registry's h1."""
        with GoProxyClient(ProxyOptions("registry", self.proxy.url)).zip(module, version) as file:
            return zip_sums(file, ModulePath.parse(module), Version.parse(version)).h1_zip


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    world = World(tmp_path)
    roots: dict[str, str] = {}
    with world.server, GoProxy(tmp_path / "registry", by_root(roots)) as proxy:
        yield Origin(world, roots, proxy)


@pytest.mark.parametrize(
    ("module", "version", "tag", "files"),
    [
        (
            LIB,
            "v1.2.0",
            "v1.2.0",
            {"go.mod": f"module {LIB}\n", "lib.go": "package lib\n", "vendor/modules.txt": "#\n"},
        ),
        (f"{LIB}/v2", "v2.0.1", "v2.0.1", {"go.mod": f"module {LIB}/v2\n", "lib.go": "package lib\n"}),
        (f"{LIB}/v3", "v3.0.0", "v3.0.0", {"v3/go.mod": f"module {LIB}/v3\n", "v3/l.go": "package l\n"}),
        (f"{LIB}/Sub", "v0.1.0", "Sub/v0.1.0", {"Sub/go.mod": f"module {LIB}/Sub\n", "LICENSE": "mine\n"}),
        (LIB, "v2.0.0+incompatible", "v2.0.0", {"lib.go": "package lib\n", "b.bin": b"\0\r\n\xff"}),
        (
            LIB,
            "v1.0.0",
            "v1.0.0",
            {"go.mod": f"module {LIB}\n", ".gitattributes": "*.txt eol=crlf\n", "a.txt": "a\nb\n"},
        ),
    ],
    ids=["plain", "v2", "v3-directory", "nested-license", "incompatible", "crlf"],
)
def test_a_commit_gives_go_exactly_what_the_registry_serves(
    origin: Origin, tmp_path: Path, module: str, version: str, tag: str, files: dict[str, str | bytes]
) -> None:
    origin.release("lib", files, tag)
    made = origin.bring(module, Version.parse(version).tag_part)
    with origin.world.door(cache_dir=tmp_path / "cache", protocols=("https",)).source(
        f"{BASE}/{ModulePath.parse(module).escaped}", nothing
    ) as cache:
        git = GitArchive(Path(cache.path()))
        text = git.git("cat-file", "commit", str(made.commit)).stdout.decode()
        mirror = origin.world.root / "served" / "mirror.git"
        git.git("clone", "--quiet", "--bare", "--no-local", cache.path(), str(mirror))
        git.git("push", "--quiet", str(mirror), f"{made.object}:refs/tags/{Version.parse(version).tag_part}")
    h1 = origin.served(module, version)
    assert "parent" not in text.partition("\n\n")[0]
    assert text.endswith(f"\n\n{module}@{version}\n\nModsync-H1: {h1}\n")

    # Another proxy, which runs go on the mirror alone, serves the same.
    roots = by_root({module: origin.world.url("mirror")})
    with (
        GoProxy(tmp_path / "private", roots) as private,
        GoProxyClient(ProxyOptions("private", private.url)).zip(module, version) as file,
    ):
        assert zip_sums(file, ModulePath.parse(module), Version.parse(version)).h1_zip == h1


def test_the_same_versions_in_any_order_and_place_give_the_same_commits_and_tags(origin: Origin) -> None:
    versions = ["v1.0.0", "v1.1.0", "v1.2.0"]
    for version in versions:
        origin.release("lib", {"go.mod": f"module {LIB}\n", "v.txt": version}, version)
    forwards = {version: origin.bring(LIB, version, "one") for version in versions}
    backwards = {version: origin.bring(LIB, version, "two") for version in reversed(versions)}
    assert forwards == backwards
    assert len({at.commit for at in forwards.values()}) == 3


def test_files_with_ident_cannot_be_reproduced(origin: Origin) -> None:
    """git writes a blob's own name into them: a commit of what was written has other names."""
    origin.release(
        "lib", {"go.mod": f"module {LIB}\n", ".gitattributes": "*.go ident\n", "l.go": "// $Id$\n"}, "v1.0.0"
    )
    with pytest.raises(SyncError) as caught:
        origin.bring(LIB, "v1.0.0")
    assert caught.value.code == "not_reproducible"
    assert origin.served(LIB, "v1.0.0") in caught.value.message


class Fake:
    """A registry in memory that may serve anything, and the mirror stage on top of it."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.proxy = FakeGoProxy()
        self.registries = Registries({BASE: self.proxy}, zip_sums, proof)
        self.url = f"{BASE}/{LIB}"
        self.door = self.world.door(protocols=("https", "file"))
        self.gitlab = FakeGitLab(url=f"file://{root}/served")
        self.stage = MirrorStage(self.door, self.gitlab, proof, self.registries, {})
        self.world.repositories.make_repository("mirrors/lib")

    def hold(self, files: dict[str, bytes], version: str = "v1.0.0", **info: str | None) -> None:
        mod = files.get("go.mod", b"module " + LIB.encode() + b"\n")
        told = ProxyInfo(version, info.get("time", "2026-03-01T12:00:00Z"), None)
        self.proxy.hold(LIB, told, mod, zipped(files, version))

    def commit(self, tag: str = "v1.0.0") -> str:
        found = self.stage.tags_at(self.url, [tag], nothing)[tag]
        assert isinstance(found, TagAt), found
        return str(found.commit)

    def error(self, tag: str = "v1.0.0") -> SyncError:
        found = self.stage.tags_at(self.url, [tag], nothing)[tag]
        assert isinstance(found, SyncError)
        return found

    def mirror(self, *releases: tuple[str, str]) -> dict[str, Mirrored | SyncError]:
        wanted = tuple(
            Release(f"r-{version}", ModulePath.parse(LIB), Version.parse(version), commit, "", make_tag=True)
            for version, commit in releases
        )
        request = MirrorRequest(self.url, "mirrors/lib", "ci-sync", wanted)
        return dict(self.stage.run(request, nothing, nothing).outcomes)


def zipped(files: dict[str, bytes], version: str = "v1.0.0", *more: tuple[str | ZipInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with ZipFile(target, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of duplicate names, which are the point
        for name, content in files.items():
            archive.writestr(f"{LIB}@{version}/{name}", content)
        for entry, content in more:
            archive.writestr(entry, content)
    return target.getvalue()


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


GO_MOD = {"go.mod": f"module {LIB}\n".encode()}


def test_several_versions_are_pushed_at_once(fake: Fake) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        fake.hold({**GO_MOD, "v.txt": version.encode()}, version)
    commits = {version: fake.commit(version) for version in ("v1.0.0", "v1.1.0")}
    outcomes = fake.mirror(*commits.items())
    assert all(isinstance(each, Mirrored) for each in outcomes.values()), outcomes
    refs = fake.world.refs("mirrors/lib")
    assert set(refs) == {"refs/heads/ci-sync", "refs/tags/v1.0.0", "refs/tags/v1.1.0"}
    assert refs["refs/heads/ci-sync"] == commits["v1.1.0"]


def test_a_cache_that_is_gone_is_made_up_for(fake: Fake) -> None:
    fake.hold(GO_MOD)
    commit = fake.commit()
    for each in fake.world.options.cache_dir.glob("*.git"):
        each.rename(fake.world.root / "gone")
    (outcome,) = fake.mirror(("v1.0.0", commit)).values()
    assert isinstance(outcome, Mirrored)
    assert outcome.commit == commit


def test_a_registry_that_serves_other_content_now_is_a_moved_version(fake: Fake) -> None:
    fake.hold(GO_MOD)
    commit = fake.commit()
    for each in fake.world.options.cache_dir.glob("*.git"):
        each.rename(fake.world.root / "gone")
    fake.hold({**GO_MOD, "new.go": b"package lib\n"})
    (outcome,) = fake.mirror(("v1.0.0", commit)).values()
    assert isinstance(outcome, SyncError)
    assert (outcome.code, commit in outcome.message) == ("version_moved", True)
    assert fake.world.refs("mirrors/lib") == {}


def test_one_bad_version_does_not_hold_up_the_others(fake: Fake) -> None:
    fake.hold(GO_MOD)
    found = fake.stage.tags_at(fake.url, ["v1.0.0", "v1.9.0"], nothing)
    assert isinstance(found["v1.0.0"], TagAt)
    missing = found["v1.9.0"]
    assert isinstance(missing, SyncError)
    assert (missing.code, missing.retryable) == ("not_in_registry", True)


def _symlink() -> ZipInfo:
    info = ZipInfo(f"{LIB}@v1.0.0/link")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>not a zip", "not a valid zip"),
        (zipped(GO_MOD, "v1.0.0", ("/etc/passwd", b"x")), "does not start with"),
        (zipped(GO_MOD, "v1.0.0", (f"{LIB}@v1.0.0/../../up", b"x")), "clean"),
        (zipped(GO_MOD, "v1.0.0", (f"{LIB}@v1.0.0/go.mod", b"x")), "twice"),
        (zipped(GO_MOD, "v1.0.0", (_symlink(), b"/etc/passwd")), "symlink"),
        (zipped(GO_MOD, "v1.0.0", (f"{LIB}@v1.0.0/A", b""), (f"{LIB}@v1.0.0/a", b"")), "letter case"),
        (zipped(GO_MOD, "v1.0.1"), "does not start with"),
        (zipped({"go.mod": b"module other.example/x\n"}), "go.mod"),
        (zipped({"go.mod": b"m" * (17 << 20)}), "17825792"),
    ],
    ids=["html", "absolute", "up", "duplicate", "symlink", "case", "version", "other-mod", "go.mod-17-MiB"],
)
def test_what_is_no_module_is_refused_and_nothing_is_made(fake: Fake, content: bytes, said: str) -> None:
    fake.proxy.hold(LIB, ProxyInfo("v1.0.0", None, None), GO_MOD["go.mod"], content)
    error = fake.error()
    assert error.code == "not_a_module"
    assert said in error.message


def test_a_bomb_is_refused_before_it_is_unpacked(fake: Fake) -> None:
    """600 MB of zeros in a few hundred kilobytes."""
    target = io.BytesIO()
    with ZipFile(target, "w", 8) as archive, archive.open(f"{LIB}@v1.0.0/zeros", "w") as big:
        for _ in range(600):
            big.write(bytes(1 << 20))
    fake.proxy.hold(LIB, ProxyInfo("v1.0.0", None, None), GO_MOD["go.mod"], target.getvalue())
    error = fake.error()
    assert (error.code, "larger than" in error.message) == ("not_a_module", True)


def test_names_that_git_cannot_hold_are_not_reproducible(fake: Fake) -> None:
    fake.hold({**GO_MOD, ".git/config": b"[core]\n"})
    assert fake.error().code == "not_reproducible"


def test_a_registry_that_answers_for_another_version(fake: Fake) -> None:
    fake.proxy.hold(LIB, ProxyInfo("v1.0.1", None, None), b"", b"", version="v1.0.0")
    assert fake.error().code == "registry_wrong"


def test_a_pseudo_version_is_of_another_place(fake: Fake) -> None:
    assert fake.error("v0.0.0-20260301120000-0123456789ab").code == "not_reproducible"


@pytest.mark.parametrize(
    ("code", "becomes"),
    [
        ("proxy_unreachable", "source_unreachable"),
        ("proxy_denied", "source_denied"),
        ("proxy_not_goproxy", "registry_wrong"),
        ("disk_full", "disk_full"),
    ],
)
def test_a_registrys_errors_are_a_sources(fake: Fake, code: str, becomes: str) -> None:
    fake.proxy.fail("info", SyncError(code, "as it is"))
    assert fake.error().code == becomes


def test_a_branch_says_nothing_to_a_registry(fake: Fake) -> None:
    with pytest.raises(SyncError) as caught:
        fake.stage.versions_at(fake.url, "a" * 40, "", nothing)
    assert caught.value.code == "no_version"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T12:00:00.987654321Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00+00:00"),
        ("1960-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        (None, "1970-01-01T00:00:00+00:00"),
    ],
)
def test_the_time_of_a_release(time: str | None, expected: str) -> None:
    assert released_at(ProxyInfo("v1.0.0", time, None)).isoformat() == expected


def test_a_time_that_is_none(fake: Fake) -> None:
    fake.hold(GO_MOD, time="yesterday")
    assert fake.error().code == "registry_wrong"
