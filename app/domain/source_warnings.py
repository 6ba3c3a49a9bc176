"""What a released tree holds that modules and mirrors handle in their own way: submodules, Git LFS. Pure.

gitmodules(5), gitattributes(5) (only patterns whose attributes say `filter=lfs`), and golang/go 47308 on LFS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SUBMODULE = re.compile(r'^[ \t]*\[submodule[ \t]+"([^"\n]{1,200})"\]', re.MULTILINE)
_LFS = re.compile(r"^[ \t]*(\S+)[ \t].*\bfilter=lfs\b", re.MULTILINE)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SourceWarning:
    """A stable code (`submodules` or `lfs`) and a sentence for people."""

    code: str
    message: str


def source_warnings(gitmodules: bytes | None, gitattributes: Mapping[str, bytes]) -> tuple[SourceWarning, ...]:
    """From the root's .gitmodules (None: no such file) and every .gitattributes that counts, by directory ("": the root)."""
    found: list[SourceWarning] = []
    if gitmodules is not None:
        names = _SUBMODULE.findall(gitmodules.decode("utf-8", "replace"))
        found.append(
            SourceWarning("submodules", f"submodules are no part of the module nor of the mirror: {_shown(names)}")
        )
    patterns = [each for place, data in gitattributes.items() for each in _patterns(place, data)]
    if patterns:
        said = (
            "files in Git LFS are mirrored as pointers, as go takes them without git-lfs; a proxy with git-lfs has to"
            " leave them so (GIT_LFS_SKIP_SMUDGE=1)"
        )
        found.append(SourceWarning("lfs", f"{said}: {_shown(patterns)}"))
    return tuple(found)


def _patterns(place: str, attributes: bytes) -> list[str]:
    found = _LFS.findall(attributes.decode("utf-8", "replace"))
    return [f"{place}/{each.lstrip('/')}" if place else each for each in found]


def _shown(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys("".join(each for each in name if each.isprintable())[:80] for name in names))
    more = f" and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else ""
    return (", ".join(distinct[:_SHOWN]) or "(unnamed)") + more
