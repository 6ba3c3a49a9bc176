"""The files of a module zip that module_zip.check_zip found good: their contents, and git's blob ids of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import sha1
from typing import BinaryIO
from zipfile import ZipInfo

from app.services.module_zip import directory, opened, raw_name

_CHUNK = 1 << 20


def contents(file: BinaryIO, prefix: str) -> Iterator[tuple[str, BinaryIO]]:
    """(name without `prefix`, content) of each file, sorted by name; read each before the next is taken."""
    found = {raw_name(info).removeprefix(prefix): info for info in directory(file) if not info.is_dir()}
    for name in sorted(found):
        yield name, opened(file, found[name])


def blob_ids(file: BinaryIO, prefix: str, names: Collection[str]) -> dict[str, str]:
    """name (without `prefix`) -> blob id in hex, of those files: they say whether a file is a commit's own."""
    wanted = frozenset(names)
    found = {raw_name(info).removeprefix(prefix): info for info in directory(file)}
    return {name: _blob_id(file, info) for name, info in found.items() if name in wanted}


def _blob_id(file: BinaryIO, info: ZipInfo) -> str:
    digest = sha1(f"blob {info.file_size}\0".encode(), usedforsecurity=False)
    content = opened(file, info)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
