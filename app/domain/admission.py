"""May a module version be handed out? The configuration's half of the answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


def covers(pattern: str, module: str) -> bool:
    """True when the pattern's elements match the module path's first ones, as GOPRIVATE's do: `*` stays in its element."""
    wanted, given = pattern.strip("/").split("/"), module.split("/")
    return len(wanted) <= len(given) and all(map(fnmatchcase, given, wanted))


def blocks(pattern: str, module: str, version: str) -> bool:
    """True when `MODULES@VERSIONS` matches; without `@` all versions do."""
    modules, _, versions = pattern.partition("@")
    return covers(modules, module) and fnmatchcase(version, versions or "*")


@dataclass(frozen=True, slots=True)
class Admission:
    """`allow`: module patterns, empty for all. `block`: `MODULES@VERSIONS`; stronger than `allow`."""

    allow: Sequence[str] = ()
    block: Sequence[str] = ()

    def refusal(self, module: str, version: str) -> str:
        """Why the configuration refuses it: `blocked` or `not_allowed`; "" when it does not."""
        if any(blocks(pattern, module, version) for pattern in self.block):
            return "blocked"
        if self.allow and not any(covers(pattern, module) for pattern in self.allow):
            return "not_allowed"
        return ""
