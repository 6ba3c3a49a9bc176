"""Ways in which a bare repository gets damaged; each takes its directory, with the tags v1.0.0 and v1.0.1 in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.integration.git_world import git


def packs(path: Path) -> list[Path]:
    """The cache's packs, smallest first."""
    return sorted(path.glob("objects/pack/*.pack"), key=lambda pack: pack.stat().st_size)


def truncate_pack(path: Path) -> None:
    os.truncate(_writable(packs(path)[-1]), 40)


def flip_bytes(path: Path) -> None:
    pack = _writable(packs(path)[-1])
    content = bytearray(pack.read_bytes())
    content[20:-30] = bytes(255 - byte for byte in content[20:-30])
    pack.write_bytes(content)


def drop_packs(path: Path) -> None:
    for pack in packs(path):
        pack.unlink()


def drop_objects(path: Path) -> None:
    shutil.rmtree(path / "objects")


def drop_pack_files(path: Path) -> None:
    shutil.rmtree(path / "objects" / "pack")


def spoil_index(path: Path) -> None:
    for index in path.glob("objects/pack/*.idx"):
        _writable(index).write_bytes(b"nonsense")


def spoil_ref(path: Path) -> None:
    (path / "refs" / "tags" / "v1.0.0").write_text("nonsense\n")


def empty_ref(path: Path) -> None:
    (path / "refs" / "tags" / "v1.0.0").write_text("")


def ref_to_nothing(path: Path) -> None:
    (path / "refs" / "tags" / "v1.0.0").write_text("1" * 40 + "\n")


def spoil_packed_refs(path: Path) -> None:
    (path / "packed-refs").write_text("nonsense\n")


def spoil_config(path: Path) -> None:
    (path / "config").write_text("[core\n")


def empty_config(path: Path) -> None:
    (path / "config").write_text("")


def spoil_head(path: Path) -> None:
    (path / "HEAD").write_bytes(b"\0\0\0")


def empty_directory(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("not a directory")


def _loosen(path: Path) -> None:
    """Every object in a file of its own."""
    for pack in packs(path):
        content = pack.read_bytes()
        for part in path.glob(f"objects/pack/{pack.stem}.*"):
            part.unlink()
        git(path, "unpack-objects", "-q", stdin=content)


def _blob(path: Path, tag: str) -> Path:
    name = git(path, "rev-parse", f"{tag}:version.txt")
    return path / "objects" / name[:2] / name[2:]


def drop_a_blob(path: Path) -> None:
    """Only reading it or pushing it notices."""
    _loosen(path)
    _blob(path, "v1.0.0").unlink()


def lose(path: Path, name: str) -> None:
    """Take one object out of a repository."""
    wanted = git(path, "rev-parse", name)
    _loosen(path)
    (path / "objects" / wanted[:2] / wanted[2:]).unlink()


def swap_a_blob(path: Path) -> None:
    """Sound content under another object's name: git reads it without a word."""
    _loosen(path)
    _writable(_blob(path, "v1.0.0")).write_bytes(_blob(path, "v1.0.1").read_bytes())


def _writable(path: Path) -> Path:
    path.chmod(0o644)
    return path


DAMAGE: list[Callable[[Path], None]] = [
    truncate_pack,
    flip_bytes,
    drop_packs,
    drop_objects,
    drop_pack_files,
    spoil_index,
    spoil_ref,
    empty_ref,
    ref_to_nothing,
    spoil_packed_refs,
    spoil_config,
    empty_config,
    spoil_head,
    empty_directory,
    a_file,
    drop_a_blob,
    swap_a_blob,
]
