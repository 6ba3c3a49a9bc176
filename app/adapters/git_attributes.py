"""Which attributes a commit gives to its files, where they change what `git archive` writes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.adapters.git_archive import run_git
from app.adapters.scratch import scratch_directory

_CHANGING = ("ident", "text", "eol", "working-tree-encoding", "filter")
_SECONDS = 120.0
_FIELDS = 3  # name, attribute, value


def attributes_of(git_dir: Path, commit: str, names: Sequence[str], scratch: Path) -> Mapping[str, str]:
    """name -> `ident`, or `eol=crlf, text`, for those of the files that have such attributes.

    Asked of an index of the commit's, for git 2.39 reads attributes of no commit. Errors: SourceUnreadable, OSError.
    """
    with scratch_directory(scratch) as own:
        index, base = str(own / "index"), ("--git-dir", str(git_dir))
        run_git([*base, "read-tree", commit], timeout=_SECONDS, GIT_INDEX_FILE=index)
        asked = [*base, "check-attr", "-z", "--cached", *_CHANGING, "--", *names]
        told = run_git(asked, timeout=_SECONDS, GIT_INDEX_FILE=index).stdout.split(b"\0")[:-1]
    found: dict[str, list[str]] = {}
    for name, attribute, value in zip(*(told[place::_FIELDS] for place in range(_FIELDS)), strict=True):
        if value not in (b"unspecified", b"unset"):
            said = attribute.decode() if value == b"set" else f"{attribute.decode()}={value.decode(errors='replace')}"
            found.setdefault(os.fsdecode(name), []).append(said)
    return {name: ", ".join(sorted(said)) for name, said in found.items()}
