"""Observe this machine, then decide: what `modsync doctor` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from app.doctor.ask_database import ask_database, is_needed
from app.doctor.checks_clock import check_clock
from app.doctor.checks_info import fault_of
from app.doctor.checks_machine import check_machine
from app.doctor.checks_missing import check_missing
from app.doctor.checks_network import check_request
from app.doctor.checks_settings import check_settings, is_direct
from app.doctor.checks_sumdb import check_sumdb
from app.doctor.findings import Finding, unique
from app.doctor.newer_go import ask_newer_go, check_newer_go, newer_go
from app.doctor.observed import MISSES, Answer, NewerGo, Observed, Purpose, Request
from app.doctor.probe_goauth import go_auth
from app.doctor.probe_gomod import read_go, read_requirements, read_sums
from app.doctor.probe_http import Client
from app.doctor.probe_machine import read_netrc
from app.doctor.probe_rewrites import read_rewrites
from app.doctor.probe_settings import lost_directories, read_settings
from app.doctor.probe_trust import trusting
from app.doctor.settings import Entry, GoSettings, matches_any, patterns
from app.doctor.vcs_paths import is_known
from app.domain.modules import ModulePath, RuleBroken, Version

Asked = tuple[ModulePath, Version | None]
_SAMPLE: Asked = (ModulePath.parse("golang.org/x/mod"), None)
_MOST_SAMPLES = 3
_MOST_LINES = 200  # of a list: enough to know one release, and never the half line at the end of what was read


@dataclass(frozen=True)
class Question:
    """What to look at: modules (`path` or `path@version`), patterns that are private, time limit in seconds."""

    modules: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    timeout: float = 10.0


def observe(question: Question, environment: Mapping[str, str], directory: Path) -> Observed:
    """Look at settings, files and the network, as go would on this machine; never raises."""
    settings = read_settings(environment, question.private)
    trust, ca_problems = trusting(environment)
    netrc, credentials = read_netrc(environment)
    auth = go_auth(settings["GOAUTH"], credentials, environment)
    client = Client(trust, environment, auth, question.timeout)
    modules = _samples(question, directory)
    newer = newer_go(settings, read_go(directory))
    requests = _asked(settings, client, modules, newer, _unverified(question, directory))
    return Observed(
        settings=settings,
        now=datetime.now(UTC),
        requests=tuple(requests),
        rewrites=read_rewrites(environment),
        lost=lost_directories(settings),
        netrc=netrc,
        ca_problems=ca_problems,
        auth_problems=auth.problems(),
        slow_seconds=question.timeout / 2,
        modules=_names(modules),
        named=_names(modules) if question.modules else (),
        newer_go=newer,
    )


def decide(observed: Observed) -> list[Finding]:
    """All findings, once each, settings first. Pure."""
    plain = (request for request in observed.requests if not request.purpose.startswith("sumdb"))
    by_request = chain.from_iterable(check_request(request, observed) for request in plain)
    rules = (
        check_settings(observed.settings),
        check_machine(observed),
        by_request,
        check_sumdb(observed),
        check_missing(observed),
        check_newer_go(observed),
    )
    found = unique(chain(*rules, check_clock(observed)))
    firsts: dict[tuple[str, str], Finding] = {}
    for finding in found:  # one cause met by several requests is told once
        firsts.setdefault((finding.code, finding.fix), finding)
    return list(firsts.values())


def _samples(question: Question, directory: Path) -> tuple[Asked, ...]:
    """What to ask for: as named, else what the go.mod here requires, else a module that every public proxy has."""
    named = question.modules or read_requirements(directory)[:_MOST_SAMPLES]
    return tuple(parsed for module in named if (parsed := _parsed(module))) or (_SAMPLE,)


def _unverified(question: Question, directory: Path) -> tuple[str, ...]:
    """What go would ask the checksum database about, but for GONOSUMDB: all of it that go.sum does not have.

    Of what is only required, go may need the go.mod alone.
    """
    known, required = read_sums(directory), read_requirements(directory)
    if question.modules or not required:
        return tuple(name for name in _names(_samples(question, directory)) if name not in known)
    return tuple(name for name in required if not {name, f"{name}/go.mod"} & known)


def _names(modules: tuple[Asked, ...]) -> tuple[str, ...]:
    return tuple(map(_name, modules))


def _name(asked: Asked) -> str:
    path, version = asked
    return f"{path}@{version}" if version else path.text


def _parsed(text: str) -> Asked | None:
    path, _, version = text.partition("@")
    try:
        return ModulePath.parse(path), Version.parse(version) if version else None
    except RuleBroken:
        return None


def _requests(settings: GoSettings, client: Client, modules: tuple[Asked, ...]) -> Iterator[Request]:
    for asked in modules:
        if is_direct(settings, asked[0]) and _is_discovered(settings, asked[0].text):
            yield replace(client.ask("discovery", f"https://{asked[0]}?go-get=1"), asked=_name(asked))
    proxied = [asked for asked in modules if not is_direct(settings, asked[0])]
    for entry in settings.entries:
        if entry.is_url and entry.scheme in ("http", "https"):
            yield from _of_proxy(entry, client, proxied or [_SAMPLE])


def _is_discovered(settings: GoSettings, path: str) -> bool:
    """Not what go knows by its path. With GOINSECURE go sends credentials to whoever answers, and the doctor does not."""
    return not is_known(path) and not matches_any(patterns(settings["GOINSECURE"]), path)


def _asked(
    settings: GoSettings, client: Client, modules: tuple[Asked, ...], newer: NewerGo | None, unverified: tuple[str, ...]
) -> list[Request]:
    """All requests; the checksum database's depend on what the others got."""
    requests = [*_requests(settings, client, modules)]
    broken = _broken(requests)
    toolchains = [*_toolchain(newer, settings, client, broken)]
    needed = is_needed(settings, unverified, requests) or any(map(_is_there, toolchains))
    return [*requests, *toolchains, *(ask_database(settings, client, broken) if needed else ())]


def _toolchain(newer: NewerGo | None, settings: GoSettings, client: Client, broken: set[Entry]) -> Iterator[Request]:
    if newer and not newer.kept_out:
        for request in ask_newer_go(newer, settings.entries, broken, client):
            yield replace(request, asked=newer.asked)


def _is_there(request: Request) -> bool:
    """go verifies a toolchain by the database whatever GONOSUMDB says."""
    return isinstance(request.outcome, Answer) and request.outcome.status == 200


def _broken(requests: list[Request]) -> set[Entry]:
    return {request.entry for request in requests if request.entry and not _usable(request)}


def _of_proxy(entry: Entry, client: Client, modules: list[Asked]) -> Iterator[Request]:
    """Ask one proxy for each module until something fails: the rest would fail in the same way."""
    for asked in modules:
        for request in _of_module(entry, client, asked):
            named = replace(request, asked=_name(asked))
            yield named
            if not _usable(named):
                return


def _of_module(entry: Entry, client: Client, asked: Asked) -> Iterator[Request]:
    """A login page, or what inspects downloads, often stands before zips alone: one is asked for in any case."""
    path, version = asked
    base = f"{entry.url}/{path.escaped}/@v"
    listed = client.ask("list", f"{base}/list", entry)
    yield listed
    named = () if version or listed.seconds > client.timeout / 2 else _versions(listed)
    wanted = version or max((each for each in named or () if not each.prerelease), default=None)
    kinds: tuple[Purpose, ...] = ("info", "zip") if version else ("zip",)
    for kind in kinds if wanted else ():
        yield client.ask(kind, f"{base}/{wanted.escaped if wanted else ''}.{kind}", entry)
    if named == []:
        yield client.ask("latest", f"{entry.url}/{path.escaped}/@latest", entry)


def _versions(request: Request) -> list[Version] | None:
    """What a list names, of whose answer the beginning is known; None where there is no list."""
    if not isinstance(request.outcome, Answer) or request.outcome.status != 200:
        return None
    whole = request.outcome.body.decode("utf-8", "replace").split("\n")[:_MOST_LINES]
    words = (line.split() for line in whole)
    return [parsed[1] for word in words if word and (parsed := _parsed(f"example.com/x@{word[0]}")) and parsed[1]]


def _usable(request: Request) -> bool:
    """Whether go could go on with this proxy. Of a 404 or 410 it reads no body, so that one may be a web page."""
    outcome = request.outcome
    if not isinstance(outcome, Answer) or outcome.status in MISSES:
        return isinstance(outcome, Answer)
    return outcome.status == 200 and not outcome.is_html and not fault_of(request, outcome)
