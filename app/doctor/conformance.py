"""What the GOPROXY protocol wants of an answer: rules over answers, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from app.doctor.checks_info import info_fault
from app.doctor.observed import Answer, Failure
from app.domain.goinfo import parse_rev_info
from app.domain.modules import ModulePath, RuleBroken, Version, parse_go_mod

Result = Literal["pass", "fail", "skip"]
Outcome = Answer | Failure

_NOT_FOUND = (404, 410)
_REFUSED = (400, 404, 410)
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table. `seen`: what the proxy did; `wanted`: what the protocol asks for."""

    name: str
    result: Result
    seen: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A module that the proxy should have; `version` None: one of its list."""

    path: ModulePath
    version: Version | None

    @classmethod
    def parse(cls, text: str) -> Sample:
        """`path` or `path@version`; RuleBroken `path_*` or `version_*`."""
        path, _, version = text.partition("@")
        return cls(ModulePath.parse(path), Version.parse(version) if version else None)


def judged(name: str, good: bool, seen: str, wanted: str) -> Check:
    """Pass or fail."""
    return Check(name, "pass" if good else "fail", seen[:_SHOWN], wanted)


def skipped(name: str, why: str) -> Check:
    """Not checked, and why."""
    return Check(name, "skip", why, "")


def said(outcome: Outcome) -> str:
    """An outcome in a few words."""
    if isinstance(outcome, Failure):
        return f"no answer: {outcome.detail}"
    return f"{outcome.status} {outcome.headers.get('content-type', 'no content type')}"


def is_good(outcome: Outcome) -> bool:
    """200, and not a web page."""
    return isinstance(outcome, Answer) and outcome.status == 200 and not outcome.is_html


def versions_of(outcome: Outcome) -> list[Version]:
    """The legal versions of a list, sorted; empty for any other answer."""
    found = []
    for line in _lines(outcome):
        try:
            found.append(Version.parse(line))
        except RuleBroken:
            continue
    return sorted(found)


def check_list(module: ModulePath, outcome: Outcome) -> Check:
    """A version in each line, none of them a pseudo-version."""
    wanted = "200, text, one canonical version a line, no pseudo-versions"
    if not is_good(outcome):
        return judged(f"list {module}", False, said(outcome), wanted)
    known, lines = versions_of(outcome), _lines(outcome)
    odd = sorted(set(lines) - {version.text for version in known})
    pseudo = [version.text for version in known if version.is_pseudo]
    seen = f"{len(known)} versions" + (f"; not versions: {odd[:3]}" if odd else "")
    return judged(
        f"list {module}", not odd and not pseudo, seen + (f"; pseudo: {pseudo[:3]}" if pseudo else ""), wanted
    )


def check_latest(module: ModulePath, outcome: Outcome) -> Check:
    """`@latest` may be missing: then go takes the list's newest."""
    if isinstance(outcome, Answer) and outcome.status in _NOT_FOUND:
        return skipped(f"latest {module}", f"{said(outcome)}: not offered, which the protocol allows")
    fault = _info_fault(outcome, None)
    return judged(f"latest {module}", not fault, fault or _version_in(outcome), "200, JSON with Version and Time")


def check_info(name: str, version: Version, outcome: Outcome) -> Check:
    """JSON whose Version is the one asked for."""
    fault = _info_fault(outcome, version)
    return judged(f"info {name}", not fault, fault or said(outcome), "200, JSON, Version as asked, Time in RFC 3339")


def check_mod(name: str, module: ModulePath, outcome: Outcome) -> Check:
    """A go.mod that declares the module asked for."""
    wanted = f"200, a go.mod with the line: module {module}"
    if not is_good(outcome) or isinstance(outcome, Failure):
        return judged(f"mod {name}", False, said(outcome), wanted)
    try:
        declared = parse_go_mod(outcome.body).module
    except RuleBroken as broken:
        return judged(f"mod {name}", False, broken.message, wanted)
    return judged(f"mod {name}", declared == module.text, f"module {declared}", wanted)


def check_redirects(name: str, outcomes: Sequence[tuple[str, Outcome]]) -> list[Check]:
    """The protocol allows redirects and go follows them; modsync's own stage verify does not."""
    places = {kind: urlsplit(each.url).hostname for kind, each in outcomes if isinstance(each, Answer) and each.hops}
    if not places:
        return []
    seen = ", ".join(f"{kind} to {host}" for kind, host in places.items())
    return [skipped(f"redirects {name}", f"{seen}: go follows them; modsync's verify does not (proxy_not_goproxy)")]


def check_miss(name: str, outcome: Outcome) -> Check:
    """go falls through on 404 and 410 only; anything else stops a build."""
    fine = isinstance(outcome, Answer) and outcome.status in _NOT_FOUND and not outcome.is_html
    return judged(f"miss: {name}", fine, said(outcome), "404 or 410, text and not a web page")


def check_refusal(name: str, outcome: Outcome) -> Check:
    """A path that the protocol does not know must not be answered with content."""
    fine = isinstance(outcome, Answer) and outcome.status in _REFUSED
    return judged(name, fine, said(outcome), "400, 404 or 410")


def check_types(name: str, answers: Sequence[tuple[str, Outcome]]) -> Check:
    """go reads no content types, but a web page under one of these names is a page of something else."""
    types = {kind: answer.headers.get("content-type", "") for kind, answer in answers if isinstance(answer, Answer)}
    wrong = [kind for kind, of in types.items() if "html" in of or (kind == "zip" and of.startswith("text/"))]
    seen = ", ".join(f"{kind} {of or 'none'}" for kind, of in types.items())
    return judged(f"content types {name}", bool(types) and not wrong, seen, "no HTML anywhere, no text for zip")


def check_repeat(name: str, digests: Sequence[str]) -> Check:
    """The same bytes each time."""
    same = len(set(digests)) == 1 and "" not in digests
    seen = "equal" if same else f"sha256 {', '.join(digest[:12] or 'none' for digest in digests)}"
    return judged(f"repeat {name}", same, seen, "the same bytes at each request")


def check_supported(name: str, supported: Outcome, latest: Outcome | None) -> Check:
    """A 200 from `/supported` promises that the database's answers come through."""
    wanted = "404 or 410 for /supported; or 200, and then a signed tree at /latest"
    title = f"sumdb {name}"
    if not isinstance(supported, Answer) or (supported.status != 200 and supported.status not in _NOT_FOUND):
        return judged(title, False, said(supported), wanted)
    if supported.status != 200:
        return judged(title, True, f"{supported.status}: not passed on; go asks the database itself", wanted)
    passes = isinstance(latest, Answer) and latest.status == 200 and b"go.sum database tree" in latest.body
    seen = "passed on" if passes else f"/supported 200, but /latest {said(latest) if latest else 'not asked'}"
    return judged(title, passes, seen, wanted)


def _lines(outcome: Outcome) -> list[str]:
    if not isinstance(outcome, Answer) or not is_good(outcome):
        return []
    # go reads the first word of a line; some proxies add a time behind it.
    return [line.split()[0] for line in outcome.body.decode(errors="replace").split("\n") if line.strip()]


def _version_in(outcome: Outcome) -> str:
    return parse_rev_info(outcome.body).version if isinstance(outcome, Answer) else ""


def _info_fault(outcome: Outcome, version: Version | None) -> str:
    """What is wrong with a `.info` or `@latest`, or nothing."""
    if not is_good(outcome) or isinstance(outcome, Failure):
        return said(outcome)
    return info_fault(outcome.body, version)
