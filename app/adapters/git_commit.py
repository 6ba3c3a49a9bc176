"""Commits of modsync's own making, for what a registry serves: the same files, message and time make the same commit."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from app.adapters.git_errors import from_os
from app.adapters.git_repository import Repository
from app.adapters.scratch import scratch_directory


def make_commit(repo: Repository, files: Iterable[tuple[str, BinaryIO]], message: str, when: datetime) -> str:
    """See SourceCopy.make_commit. Names that git cannot have are left out, which the content's hash will show."""
    parent = (repo.path or repo.options.cache_dir).parent
    try:
        with scratch_directory(parent) as scratch:
            tree = _tree(repo, scratch, files)
    except OSError as error:
        raise from_os(error, "unpacking a module") from error
    who = f"{repo.options.tagger_name} <{repo.options.tagger_email}> {max(int(when.timestamp()), 0)} +0000"
    text = f"tree {tree}\nauthor {who}\ncommitter {who}\n\n{message}\n"
    return repo.local("hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode()).out.decode().strip()


def _tree(repo: Repository, scratch: Path, files: Iterable[tuple[str, BinaryIO]]) -> str:
    """Contents go over numbered files, so that no name of the module's ever becomes a path here."""
    names, paths = [], []
    for name, content in files:
        names.append(name)
        paths.append(scratch / f"f{len(names)}")
        with paths[-1].open("wb") as target:
            shutil.copyfileobj(content, target)
    listed = "".join(f"{path}\n" for path in paths).encode()
    blobs = repo.local("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listed).out.decode().split()
    entries = (f"100644 {blob}\t{name}\0" for name, blob in zip(names, blobs, strict=True))
    index = {"GIT_INDEX_FILE": str(scratch / "index")}
    stdin = "".join(entries).encode("utf-8", "surrogateescape")
    repo.local("update-index", "-z", "--add", "--index-info", stdin=stdin, more=index)
    return repo.local("write-tree", more=index).out.decode().strip()
