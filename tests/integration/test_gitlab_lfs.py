"""Releases with Git LFS: mirrored as the pointers that go takes, by the real door into the stand-in GitLab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.adapters.git import Credential
from app.adapters.gitlab import GitLabApi
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.drift import check_mirror
from app.services.ports import MirrorProject
from app.services.stages.mirror import MirrorRequest, MirrorStage
from app.services.stages.mirror_values import Mirrored, Release
from tests.integration.flow_world import NO_REGISTRIES
from tests.integration.git_world import SOURCE, World, nothing
from tests.integration.gitlab_helpers import connect
from tests.integration.registry_world import proof
from tests.sandbox.gitlab import GitLab

MODULE = ModulePath.parse("corp.example/lib")
MIRROR = "mirrors/lib"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab") as server:
        server.create_group("mirrors")
        yield server


class Mirrors:
    """A source with pointers, and the mirror stage in front of GitLab."""

    def __init__(self, root: Path, gitlab: GitLab) -> None:
        self.world = World(root / "world")
        token = gitlab.create_token(scopes=["api", "write_repository"])
        login = Credential("oauth2", SecretStr(token))
        door = self.world.door(credentials=lambda url: login if gitlab.url in url else None)
        self.api: GitLabApi = connect(gitlab, token)
        self._project: MirrorProject | None = None
        self._stage = MirrorStage(door, self.api, proof, NO_REGISTRIES, {})

    def mirror(self, tag: str, files: dict[str, str | bytes]) -> Mirrored | SyncError:
        whole = {"go.mod": f"module {MODULE}\n", ".gitattributes": "*.bin filter=lfs -text\n", **files}
        commit = self.world.repositories.commit(SOURCE, whole, tag)
        self.world.repositories.tag(SOURCE, tag, commit)
        release = Release("r", MODULE, Version.parse(tag), commit, "")
        request = MirrorRequest(self.world.file_url(SOURCE), MIRROR, "ci-sync", (release,), self._project)
        result = self._stage.run(request, nothing, nothing)
        self._project = result.project
        return result.outcomes["r"]


@pytest.fixture
def mirrors(tmp_path: Path, gitlab: GitLab) -> Mirrors:
    return Mirrors(tmp_path, gitlab)


def test_pointers_are_mirrored_and_proven(mirrors: Mirrors, gitlab: GitLab) -> None:
    found = mirrors.mirror("v1.0.0", {"model.bin": POINTER})
    assert isinstance(found, Mirrored), found
    assert [each.code for each in found.warnings] == ["lfs"]
    assert gitlab.refs(MIRROR)["refs/tags/v1.0.0"] == found.commit
    with mirrors.world.door().source(mirrors.world.file_url(SOURCE), nothing) as cache:
        assert cache.read_file(found.commit, "model.bin") == POINTER


def test_where_lfs_is_on_the_objects_are_missing_until_it_is_mended(mirrors: Mirrors, gitlab: GitLab) -> None:
    """A mirror of before."""
    assert isinstance(mirrors.mirror("v1.0.0", {}), Mirrored)
    gitlab.project(MIRROR).settings["lfs_enabled"] = True
    with pytest.raises(SyncError, match="lfs_missing") as caught:
        mirrors.mirror("v1.1.0", {"model.bin": POINTER})
    assert "mirrors check --fix" in caught.value.advice
    mended = check_mirror(mirrors.api.inspector(), MIRROR, fix=True).mended
    assert [(each.what, each.found, each.wanted) for each in mended] == [("lfs_enabled", "on", "off")]
    assert isinstance(mirrors.mirror("v1.2.0", {"model.bin": POINTER}), Mirrored)
