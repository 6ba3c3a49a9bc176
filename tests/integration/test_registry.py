"""A registry as the source: what a real Go proxy serves becomes commits, from which a real `go` makes the same again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.git_archive import GitArchive
from app.adapters.go_proxy import GoProxyClient, ProxyOptions
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.checksum import zip_sums
from tests.integration.git_world import World, nothing
from tests.integration.registry_world import BASE, LIB, Origin
from tests.sandbox.discovery import by_root
from tests.sandbox.goproxy import GoProxy


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
        (LIB, "v1.0.0", "v1.0.0", {"go.mod": f"module {LIB}\n", ".gitattributes": "* text eol=crlf\n"}),
    ],
    ids=["plain", "v2", "v3-directory", "nested-license", "incompatible", "crlf", "crlf-go-mod"],
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
    release = ModulePath.parse(module), Version.parse(version)
    with GoProxy(tmp_path / "private", roots) as private:
        client = GoProxyClient(ProxyOptions("private", private.url))
        with client.zip(*release) as file:
            assert zip_sums(file, *release).h1_zip == h1
        assert client.mod(*release) == GoProxyClient(ProxyOptions("registry", origin.proxy.url)).mod(*release)


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
        "lib",
        {
            "go.mod": f"module {LIB}\n",
            ".gitattributes": "*.go ident\n*.u16 text working-tree-encoding=UTF-16LE\n",
            **{f"{number:02d}.go": "// $Id$\n" for number in range(12)},
            "fine.go": "package lib\n",
        },
        "v1.0.0",
    )
    with pytest.raises(SyncError) as caught:
        origin.bring(LIB, "v1.0.0")
    error = caught.value
    assert error.code == "not_reproducible"
    assert origin.served(LIB, "v1.0.0") in error.message
    assert error.message.endswith(
        "; not the same: " + ", ".join(f"{n:02d}.go (ident)" for n in range(10)) + " and 2 more"
    )
    assert error.facts["registry"]["files"] == [f"{number:02d}.go (ident)" for number in range(10)]
    assert error.facts["registry"]["more"] == 2


def test_files_of_another_encoding_are_named_with_it(origin: Origin) -> None:
    files = {".gitattributes": "*.u16 text working-tree-encoding=UTF-16LE\n", "a.u16": "text\n"}
    origin.release("lib", {"go.mod": f"module {LIB}\n", **files}, "v1.0.0")
    with pytest.raises(SyncError) as caught:
        origin.bring(LIB, "v1.0.0")
    assert "; not the same: a.u16 (text, working-tree-encoding=UTF-16LE)" in caught.value.message
