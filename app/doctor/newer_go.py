"""A newer go than this one that the go.mod here wants, and where it would come from (cmd/go/internal/toolchain/select.go)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from app.doctor.checks_missing import is_nowhere
from app.doctor.findings import Finding, found
from app.doctor.observed import MISSES, Answer, NewerGo, Observed, Request
from app.doctor.probe_http import Client
from app.doctor.settings import Entry, GoSettings, shown

_VERSION = re.compile(r"(?:go)?(\d+)\.(\d+)(?:\.(\d+)|(beta|rc)(\d+))?(?:-\S+)?")
_TOOLCHAIN = "golang.org/toolchain"


def newer_go(settings: GoSettings, wanted: Iterable[tuple[str, str]]) -> NewerGo | None:
    """`wanted`: (verb, version) of a go.mod's `go` and `toolchain` lines. None where this go, or one that is here, will do."""
    base, plus, rest = settings["GOTOOLCHAIN"].partition("+")
    # A version alone leaves go.mod unread: go is that one, and refuses a module that wants more.
    how = rest if plus else base if base in ("auto", "path") else "local"
    pinned = base if base.startswith("go1") else ""
    asked = [_full(version) for verb, version in wanted if verb == "go" or how != "local"]
    name = max((each for each in [*asked, pinned] if _VERSION.fullmatch(each)), key=_key, default="")
    own = settings["GOVERSION"].split()[:1]
    if not name or not own or not _VERSION.fullmatch(own[0]) or _key(name) <= _key(own[0]):
        return None
    asked_as = f"{_TOOLCHAIN}@v0.0.1-{name}.{settings['GOHOSTOS']}-{settings['GOHOSTARCH']}"
    kept_out = how == "path" or (how == "local" and name != pinned)
    if (how != "local" or not kept_out) and _is_here(settings, name, asked_as):
        return None
    return NewerGo(name, own[0], asked_as, kept_out, "go.mod" if name in asked else "GOTOOLCHAIN")


def ask_newer_go(newer: NewerGo, entries: Iterable[Entry], broken: set[Entry], client: Client) -> Iterator[Request]:
    """Each proxy for the zip alone, as go does, until one has it."""
    path, _, version = newer.asked.partition("@")
    for entry in entries:
        if entry in broken or entry.scheme not in ("http", "https"):
            continue
        request = client.ask("zip", f"{entry.url}/{path}/@v/{version}.zip", entry)
        yield request
        if not _is_miss(request) and not entry.any_error:
            return


def check_newer_go(observed: Observed) -> Iterator[Finding]:
    """It is kept out by GOTOOLCHAIN, or no proxy has it; `direct` never does."""
    newer, settings = observed.newer_go, observed.settings
    if newer is None:
        return
    proxies = [entry for entry in settings.entries if entry.is_url]
    seen = f"{newer.wanted_by} wants {newer.name}, and this is {newer.own}"
    if newer.kept_out:
        then = "lets go fetch it" if newer.wanted_by == "go.mod" else "go.mod alone decides then"
        fix = settings.set_command("GOTOOLCHAIN", "auto") + f"   # {then}; or install {newer.name}"
        yield found("go-too-old", f"{seen}; GOTOOLCHAIN={settings['GOTOOLCHAIN']}", fix)
    elif not proxies or is_nowhere(proxies, newer.asked, observed.requests):
        place = f"{shown(proxies[0].url) if proxies else 'PROXY'}/{newer.asked.replace('@', '/@v/')}.zip"
        fix = f"curl -sSI {place}   # let the proxy have it, or install {newer.name}"
        yield found("toolchain-missing", f"{seen}; no proxy of GOPROXY has {newer.asked}", fix)


def _is_miss(request: Request) -> bool:
    return isinstance(request.outcome, Answer) and request.outcome.status in MISSES


def _is_here(settings: GoSettings, name: str, asked: str) -> bool:
    """On PATH, or fetched before."""
    fetched = Path(settings["GOMODCACHE"] or "/nowhere", asked)
    return bool(shutil.which(name, path=settings.environment.get("PATH"))) or fetched.is_dir()


def _full(go: str) -> str:
    """A toolchain's name; go1.99 is a language, whose first release is go1.99.0."""
    name = "go" + go.removeprefix("go")
    return f"{name}.0" if re.fullmatch(r"go\d+\.\d+", name) else name


def _key(go: str) -> tuple[int, int, str, int]:
    """In their order: `beta`, `rc`, then releases."""
    match = _VERSION.fullmatch(go)
    major, minor, patch, kind, number = match.groups() if match else ("0", "0", None, None, None)
    return int(major), int(minor), kind or "release", int(number or patch or 0)
