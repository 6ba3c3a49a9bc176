"""What the doctor says: a stable code, what was seen, why it hurts, the command that mends it, and where to read on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.doctor.causes import CAUSES

DOCS = "docs/doctor.md"


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause, as found here. `fix` holds shell commands, one a line; lines with `#` explain."""

    code: str
    seen: str
    fix: str

    @property
    def why(self) -> str:
        """Why it hurts, in a sentence."""
        return CAUSES[self.code]

    @property
    def docs(self) -> str:
        """The cause's section in the documentation."""
        return f"{DOCS}#{self.code}"

    def as_json(self) -> dict[str, str]:
        """`{code, seen, why, fix, docs}`."""
        return {"code": self.code, "seen": self.seen, "why": self.why, "fix": self.fix, "docs": self.docs}


def found(code: str, seen: str, *fix: str) -> Finding:
    """A finding; KeyError for a code that CAUSES does not know."""
    if code not in CAUSES:
        raise KeyError(code)
    return Finding(code, seen, "\n".join(fix))


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, in the order of first sight."""
    return list(dict.fromkeys(findings))
