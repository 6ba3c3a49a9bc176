"""Every .gitattributes that counts for a module's files: those above its directory, its own, and those below."""

from __future__ import annotations

from collections.abc import Iterator

from app.adapters.git_objects import REGULAR, ObjectReader, TreeEntry

_NAME, _GO_MOD = b".gitattributes", b"go.mod"
_TREE = b"40000"
_AT_ONCE = 1000  # questions in one go
_MOST = 100  # files that are read
_LARGEST = 1 << 20  # bytes: no honest one is larger


def attribute_files(reader: ObjectReader, commit: str, directory: str) -> dict[str, bytes]:
    """directory -> content, from the root down. Nested modules are left out, and of a tree that is there twice one place."""
    parts = directory.split("/") if directory else []
    found: dict[str, bytes] = {}
    for place in ("/".join(parts[:end]) for end in range(len(parts))):
        content = reader.file(commit, f"{place}/.gitattributes".lstrip("/"), REGULAR)
        if content is not None:
            found[place] = content
    for place, blob in _below(reader, commit, directory):
        if len(found) < _MOST and (size := reader.info(blob)) is not None and size.size <= _LARGEST:
            found[place] = reader.contents(blob) or b""
    return found


def _below(reader: ObjectReader, commit: str, directory: str) -> list[tuple[str, str]]:
    """(directory, blob) of all files of that name in `directory` and below, level by level."""
    top = reader.info(f"{commit}:{directory}" if directory else f"{commit}^{{tree}}")
    found: list[tuple[str, str]] = []
    level = [(directory, top.name)] if top is not None and top.type == "tree" else []
    asked = {tree for _, tree in level}
    while level:
        now, level = level[:_AT_ONCE], level[_AT_ONCE:]
        for (place, _), entries in zip(now, reader.trees([tree for _, tree in now]), strict=True):
            if place != directory and any(name == _GO_MOD for _, name, _ in entries):
                continue
            found += [(place, each) for mode, name, each in entries if name == _NAME and mode in REGULAR]
            new = [each for each in _folders(place, entries) if each[1] not in asked]
            asked |= {tree for _, tree in new}
            level += new
    return found


def _folders(place: str, entries: list[TreeEntry]) -> Iterator[tuple[str, str]]:
    for mode, name, tree in entries:
        if mode == _TREE:
            yield f"{place}/{name.decode('utf-8', 'replace')}".lstrip("/"), tree
