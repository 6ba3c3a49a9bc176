"""The files of a module zip that module_zip.check_zip found good: their contents, and git's blob ids of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import sha1
from typing import BinaryIO, cast
from zipfile import ZipFile, ZipInfo

_CHUNK = 1 << 20
_UTF8 = 0x800


def contents(file: BinaryIO, prefix: str) -> Iterator[tuple[str, BinaryIO]]:
    """(name without `prefix`, content) of each file, sorted by name; read each before the next is taken."""
    with ZipFile(file) as archive:
        found = {_name(info).removeprefix(prefix): info for info in archive.infolist() if not info.is_dir()}
        for name in sorted(found):
            with archive.open(found[name]) as content:
                yield name, cast(BinaryIO, content)


def blob_ids(file: BinaryIO, prefix: str, names: Collection[str]) -> dict[str, str]:
    """name (without `prefix`) -> blob id in hex, of those files: they say whether a file is a commit's own."""
    wanted = frozenset(names)
    with ZipFile(file) as archive:
        found = {_name(info).removeprefix(prefix): info for info in archive.infolist()}
        return {name: _blob_id(archive, info) for name, info in found.items() if name in wanted}


def _name(info: ZipInfo) -> str:
    """As module_zip reads it: names that are not marked as UTF-8 are taken for it, as Go does."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    return info.orig_filename.encode("cp437").decode(errors="surrogateescape")


def _blob_id(archive: ZipFile, info: ZipInfo) -> str:
    digest = sha1(f"blob {info.file_size}\0".encode(), usedforsecurity=False)
    with archive.open(info) as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
