"""A registry as the source, for tests: a real Go proxy over repositories, and one in memory that may serve anything."""

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from app.adapters.git_archive import GitArchive
from app.adapters.git_attributes import attributes_of
from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.domain.refs import TagAt
from app.services.checksum import ModuleSums, module_sums, zip_sums
from app.services.ports import GoProxy as GoProxyPort
from app.services.ports import ProxyInfo, SourceCopy
from app.services.registry import Registries
from app.services.stages.mirror import MirrorRequest, MirrorStage, Release
from app.services.stages.mirror_values import Mirrored
from tests.contract.fake_gitlab import FakeGitLab
from tests.contract.fake_go_proxy import FakeGoProxy
from tests.integration.git_world import World, nothing
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.modules import HOST

BASE = "https://registry.example/go"
LIB = f"{HOST}/team/lib"


def sums(cache: SourceCopy, release: Release, directory: str) -> ModuleSums:
    return module_sums(GitArchive(Path(cache.path())), release.commit, release.module, release.version, directory)


def proof(cache: SourceCopy, release: Release, directory: str) -> str:
    return sums(cache, release, directory).h1_zip


def attributes(cache: SourceCopy, commit: str, names: Sequence[str]) -> Mapping[str, str]:
    return attributes_of(Path(cache.path()), commit, names, Path(cache.path()).parent)


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
        return Registries({BASE: client}, zip_sums, sums, attributes)

    def bring(self, module: str, tag: str, cache_of: str = "cache") -> TagAt:
        """Into a cache of its own, as on another host."""
        url = f"{BASE}/{ModulePath.parse(module).escaped}"
        door = self.world.door(cache_dir=self.world.root / cache_of, protocols=("https", "http", "file"))
        with door.source(url, nothing) as cache:
            return self.registries().bring(cache, url, tag, nothing)

    def served(self, module: str, version: str) -> str:
        """The registry's h1."""
        release = ModulePath.parse(module), Version.parse(version)
        with GoProxyClient(ProxyOptions("registry", self.proxy.url)).zip(*release) as file:
            return zip_sums(file, *release).h1_zip


GO_MOD = {"go.mod": f"module {LIB}\n".encode()}


class Fake:
    """A registry in memory that may serve anything, and the mirror stage on top of it."""

    def __init__(self, root: Path, registry: GoProxyPort | None = None) -> None:
        """`registry`: asked in place of `proxy`."""
        self.world = World(root)
        self.proxy = FakeGoProxy()
        self.registries = Registries({BASE: registry or self.proxy}, zip_sums, sums, attributes)
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

    def mirror(
        self, *releases: tuple[str, str], known: Mapping[str, str] | None = None
    ) -> dict[str, Mirrored | SyncError]:
        module = ModulePath.parse(LIB)
        made = (
            Release(f"r-{text}", module, Version.parse(text), commit, "", make_tag=True) for text, commit in releases
        )
        wanted = tuple(replace(each, known=known or {}) for each in made)
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
