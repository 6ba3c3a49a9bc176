"""A source and an empty mirror, in memory and on disk, and what people do to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from app.services.ports import Git
from tests.contract.fake_git import FakeGit, FakeRepository
from tests.integration.git_world import MIRROR, SOURCE, World


class Place(Protocol):
    """A source and an empty mirror, and what people do to them."""

    git: Git
    source: str
    mirror: str

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str: ...
    def tag(self, name: str, commit: str, annotated: bool = False) -> str: ...
    def move_tag(self, name: str, commit: str) -> str: ...
    def delete_tag(self, name: str) -> None: ...
    def tag_tree(self, name: str) -> str: ...
    def mirror_refs(self) -> dict[str, str]: ...


class InMemory:
    """The fake."""

    def __init__(self) -> None:
        self.source, self.mirror = "https://git.example/lib.git", "https://gitlab.example/lib.git"
        self._source, self._mirror = FakeRepository(), FakeRepository()
        self.git: Git = FakeGit({self.source: self._source, self.mirror: self._mirror})

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        return self._source.commit(files, branch=branch)

    def tag(self, name: str, commit: str, annotated: bool = False) -> str:
        return self._source.tag(name, commit, annotated=annotated)

    def move_tag(self, name: str, commit: str) -> str:
        return self._source.tag(name, commit)

    def delete_tag(self, name: str) -> None:
        del self._source.refs[f"refs/tags/{name}"]

    def tag_tree(self, name: str) -> str:
        return self._source.tag(name, None)

    def mirror_refs(self) -> dict[str, str]:
        return self._mirror.refs


class OnDisk:
    """The real door."""

    def __init__(self, root: Path) -> None:
        self._world = World(root)
        self.source, self.mirror = self._world.file_url(SOURCE), self._world.file_url(MIRROR)
        self.git: Git = self._world.door(cache_wait_seconds=0.2)

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        return self._world.repositories.commit(SOURCE, files, "change", branch=branch)

    def tag(self, name: str, commit: str, annotated: bool = False) -> str:
        return self._world.repositories.tag(SOURCE, name, commit, annotated=annotated)

    def move_tag(self, name: str, commit: str) -> str:
        return self._world.repositories.move_tag(SOURCE, name, commit)

    def delete_tag(self, name: str) -> None:
        self._world.repositories.delete_tag(SOURCE, name)

    def tag_tree(self, name: str) -> str:
        tree = self._world.repositories.resolve(SOURCE, "main^{tree}")
        self._world.git(SOURCE, "update-ref", f"refs/tags/{name}", tree)
        return tree

    def mirror_refs(self) -> dict[str, str]:
        return self._world.refs(MIRROR)
