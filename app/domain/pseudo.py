"""Pseudo-versions: versions made from a commit (golang.org/x/mod/module/pseudo.go).

The five forms, with TIME as yyyymmddhhmmss in UTC and REV the first twelve digits of the commit:

    vX.0.0-TIME-REV                        no earlier tag
    vX.Y.(Z+1)-0.TIME-REV                  after tag vX.Y.Z
    vX.Y.(Z+1)-0.TIME-REV+incompatible
    vX.Y.Z-pre.0.TIME-REV                  after tag vX.Y.Z-pre
    vX.Y.Z-pre.0.TIME-REV+incompatible
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from app.domain.rules import RuleBroken
from app.domain.semver import semver_build, semver_canonical, semver_is_valid, semver_prerelease

_PSEUDO = re.compile(
    r"v[0-9]+\.(?:0\.0-|[0-9]+\.[0-9]+-(?:[^+]*\.)?0\.)[0-9]{14}-[A-Za-z0-9]+(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


@dataclass(frozen=True, slots=True)
class PseudoVersion:
    """`base`: the canonical tag version it follows (with `+incompatible` if the whole has it), or empty.

    `time`: the commit's committer time in UTC, whole seconds. `rev`: the commit's abbreviation as written.
    """

    base: str
    time: datetime
    rev: str

    @classmethod
    def parse(cls, text: str) -> "PseudoVersion":
        """Read one of the five forms; RuleBroken `pseudo_syntax`, `pseudo_time` or `pseudo_base`."""
        if not is_pseudo(text):
            raise RuleBroken("pseudo_syntax", f"{text!r} is not a pseudo-version")
        build = semver_build(text)
        rest, rev = text.removesuffix(build).rsplit("-", 1)
        # the time follows whichever of `-` and `.` comes last
        cut = max(rest.rfind("-"), rest.rfind("."))
        return cls(_base(rest[:cut], build, text), _time(rest[cut + 1 :], text), rev)


def is_pseudo(text: str) -> bool:
    """Whether `text` has the form of a pseudo-version (module.IsPseudoVersion)."""
    return text.count("-") >= 2 and semver_is_valid(text) and _PSEUDO.fullmatch(text) is not None


def pseudo_version(major: str, older: str, time: datetime, rev: str) -> str:
    """The pseudo-version for `rev` at `time` (aware), after tag version `older` ("" for none), for major `v2` ("" means v0)."""
    utc = time.astimezone(UTC)
    stamp = f"{utc.year:04d}{utc:%m%d%H%M%S}"
    canonical, build = semver_canonical(older), semver_build(older)
    if not canonical:
        return f"{major or 'v0'}.0.0-{stamp}-{rev}"
    if semver_prerelease(canonical):
        return f"{canonical}.0.{stamp}-{rev}{build}"
    head, patch = canonical.rsplit(".", 1)
    return f"{head}.{_increment(patch)}-0.{stamp}-{rev}{build}"


def _base(base: str, build: str, text: str) -> str:
    """The earlier tag's version from what stands before the time."""
    prerelease = semver_prerelease(base)
    if not prerelease:
        if build:
            raise RuleBroken("pseudo_base", f"{text!r} has no base version but the build suffix {build!r}")
        return ""
    if prerelease != "-0":
        return base.removesuffix(".0") + build
    head, patch = base.removesuffix("-0").rsplit(".", 1)
    if patch == "0":
        raise RuleBroken("pseudo_base", f"{text!r} would follow a version with a negative patch number")
    return f"{head}.{_decrement(patch)}{build}"


def _time(stamp: str, text: str) -> datetime:
    fields = (stamp[:4], stamp[4:6], stamp[6:8], stamp[8:10], stamp[10:12], stamp[12:])
    try:
        year, month, day, hour, minute, second = map(int, fields)
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise RuleBroken("pseudo_time", f"{text!r} has a malformed time {stamp!r}") from None


def _increment(number: str) -> str:
    """Decimal + 1 without a limit on digits (int() refuses more than 4,300)."""
    kept = number.rstrip("9")
    zeros = "0" * (len(number) - len(kept))
    return f"{kept[:-1]}{int(kept[-1]) + 1}{zeros}" if kept else f"1{zeros}"


def _decrement(number: str) -> str:
    """Decimal - 1 of a number above zero."""
    kept = number.rstrip("0")
    nines = "9" * (len(number) - len(kept))
    return (f"{kept[:-1]}{int(kept[-1]) - 1}{nines}".lstrip("0")) or "0"
