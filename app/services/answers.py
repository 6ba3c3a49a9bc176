"""What the private proxy answered to a run's verify, question by question, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ASKED = (".info", ".mod", ".zip", "list", "@latest")
"""In the order in which verify judges them."""
_OF_CODE = {
    "served_other_version": ".info", "served_other_commit": ".info", "zip_not_a_module": ".zip",
    "proxy_rules_differ": ".zip", "not_listed": "list", "latest_wrong": "@latest",
}  # fmt: skip
_FILES = 10  # of those that differ
_WHAT = {
    ".info": "its commit", ".mod": "its SHA-256", ".zip": "its h1", "list": "has the version", "@latest": "names a sane version",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """One question: `outcome` ok, bad or unknown (not judged any more); the proxy's value and the released one, "" for none."""

    asked: str
    what: str
    outcome: str
    served: str = ""
    released: str = ""
    said: str = ""


def answers(verify: Mapping[str, Any], proof: Mapping[str, Any]) -> tuple[Answer, ...]:
    """From a run's facts; empty where the proxy was not asked yet. `proof` has the released go.mod's digest."""
    return tuple(_each({"go_mod_sha256": proof.get("go_mod_sha256"), **verify})) if verify else ()


def _each(verify: Mapping[str, Any]) -> Iterator[Answer]:
    bad = _fault(verify)
    judged = ASKED.index(bad) if bad else len(ASKED)
    for place, asked in enumerate(ASKED):
        outcome = "bad" if asked == bad else "ok" if place < judged else "unknown"
        served, released = _values(verify, asked, outcome)
        yield Answer(asked, _WHAT[asked], outcome, served, released, _said(verify, asked, outcome))


def _fault(verify: Mapping[str, Any]) -> str | None:
    """What was asked as something was wrong; runs of before do not say so themselves."""
    verdict, named = verify.get("verdict"), verify.get("asked")
    if not verdict:
        return None
    if named in ASKED:
        return str(named)
    if verdict == "proxy_holds_old" and _differ(verify, "commit"):
        return ".info"
    usual = ".zip" if _differ(verify, "h1") or not verify.get("h1_released") else ".mod"
    return _OF_CODE.get(str(verdict), usual)


def _differ(verify: Mapping[str, Any], name: str) -> bool:
    return bool(verify.get(f"{name}_served") != verify.get(f"{name}_released"))


def _values(verify: Mapping[str, Any], asked: str, outcome: str) -> tuple[str, str]:
    if asked == ".info":
        served = verify.get("commit_served", verify.get("commit"))
        return _text(served), _text(verify.get("commit_released") or (served if outcome == "ok" else None))
    if asked == ".mod":
        same = verify.get("go_mod_sha256") if outcome == "ok" else None
        return _text(verify.get("go_mod_served", same)), _text(verify.get("go_mod_released", same))
    if asked == ".zip":
        return _text(verify.get("h1_served", verify.get("h1"))), _text(verify.get("h1_released"))
    return "", ""


def _said(verify: Mapping[str, Any], asked: str, outcome: str) -> str:
    if outcome == "unknown":
        return "not judged: something before it was wrong"
    if asked == ".info" and outcome == "ok" and not verify.get("commit_served", verify.get("commit")):
        return "it names no commit, which is allowed"
    if asked == ".zip":
        return _files(verify.get("differ") or ()) or _uncompared(verify)
    return _text(verify.get("latest")) if asked == "@latest" else ""


def _uncompared(verify: Mapping[str, Any]) -> str:
    known = verify.get("h1_released") or verify.get("compared")
    return "" if known else "not compared with the source's content, whose h1 was not known"


def _files(names: Any) -> str:
    if not isinstance(names, list | tuple) or not names:
        return ""
    more = len(names) - _FILES
    return "files that differ: " + ", ".join(map(str, names[:_FILES])) + (f" and {more} more" if more > 0 else "")


def _text(value: Any) -> str:
    return "" if value is None else str(value)
