"""Observe this machine, then decide: what `modsync doctor` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from app.doctor.checks_clock import check_clock
from app.doctor.checks_machine import check_machine
from app.doctor.checks_missing import check_missing
from app.doctor.checks_network import check_request
from app.doctor.checks_settings import check_settings, is_direct, readable_sumdb
from app.doctor.checks_sumdb import check_sumdb, database, goes_on, passes
from app.doctor.findings import Finding, unique
from app.doctor.observed import MISSES, Answer, Observed, Purpose, Request
from app.doctor.probe_goauth import go_auth
from app.doctor.probe_http import Client
from app.doctor.probe_machine import read_netrc, read_requirements
from app.doctor.probe_rewrites import read_rewrites
from app.doctor.probe_settings import read_settings
from app.doctor.probe_trust import trusting
from app.doctor.settings import Entry, GoSettings
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
    requests = tuple(_requests(settings, client, modules))
    return Observed(
        settings=settings,
        now=datetime.now(UTC),
        requests=requests,
        rewrites=read_rewrites(environment),
        netrc=netrc,
        ca_problems=ca_problems,
        auth_problems=auth.problems(),
        slow_seconds=question.timeout / 2,
        modules=_names(modules),
        named=_names(modules) if question.modules else (),
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


def _names(modules: tuple[Asked, ...]) -> tuple[str, ...]:
    return tuple(f"{path}@{version}" if version else path.text for path, version in modules)


def _parsed(text: str) -> Asked | None:
    path, _, version = text.partition("@")
    try:
        return ModulePath.parse(path), Version.parse(version) if version else None
    except RuleBroken:
        return None


def _requests(settings: GoSettings, client: Client, modules: tuple[Asked, ...]) -> Iterator[Request]:
    for module, _ in modules:
        if is_direct(settings, module):
            yield client.ask("discovery", f"https://{module}?go-get=1")
    proxied = [asked for asked in modules if not is_direct(settings, asked[0])]
    broken: set[Entry] = set()
    for entry in settings.entries:
        if entry.is_url and entry.scheme in ("http", "https"):
            for request in _of_proxy(entry, client, proxied or [_SAMPLE]):
                broken |= set() if _usable(request) else {entry}
                yield request
    yield from _of_database(settings, client, broken)


def _of_proxy(entry: Entry, client: Client, modules: list[Asked]) -> Iterator[Request]:
    """Ask one proxy for each module until something fails: the rest would fail in the same way."""
    for path, version in modules:
        base = f"{entry.url}/{path.escaped}/@v"
        request = client.ask("list", f"{base}/list", entry)
        yield request
        # A login page, or what inspects downloads, often stands before zips alone: one is asked for in any case.
        kinds: tuple[Purpose, ...] = ("info", "zip") if version else ("zip",)
        wanted = version or (None if request.seconds > client.timeout / 2 else _listed(request))
        for kind in kinds if wanted else ():
            if not _usable(request):
                return
            request = client.ask(kind, f"{base}/{wanted.escaped if wanted else ''}.{kind}", entry)
            yield request
        if not _usable(request):
            return


def _listed(request: Request) -> Version | None:
    """The highest release of a list, of whose answer the beginning is known; None where there is none."""
    if not isinstance(request.outcome, Answer) or request.outcome.status != 200:
        return None
    whole = request.outcome.body.decode("utf-8", "replace").splitlines()[:_MOST_LINES]
    found = [parsed[1] for line in whole if (parsed := _parsed(f"example.com/x@{line.strip()}")) and parsed[1]]
    return max((each for each in found if not each.prerelease), default=None)


def _usable(request: Request) -> bool:
    """Whether go could go on with this proxy. Of a 404 or 410 it reads no body, so that one may be a web page."""
    outcome = request.outcome
    return isinstance(outcome, Answer) and (outcome.status in MISSES or (outcome.status == 200 and not outcome.is_html))


def _of_database(settings: GoSettings, client: Client, broken: set[Entry]) -> Iterator[Request]:
    """Ask as go does: each proxy whether it passes the database on, then the first that does, else the database."""
    name, base = database(settings)
    if not name or not readable_sumdb(settings["GOSUMDB"]):
        return
    for entry in settings.entries if base == f"https://{name}" else ():  # a URL in GOSUMDB bypasses the proxies
        if not entry.is_url:
            break
        if entry in broken and not entry.any_error:
            return  # go would not get past it either, and what is wrong with it is known
        if entry in broken or entry.scheme == "file":
            continue
        request = client.ask("sumdb-supported", f"{entry.url}/sumdb/{name}/supported", entry)
        yield request
        if passes(request):
            yield client.ask("sumdb-latest", f"{entry.url}/sumdb/{name}/latest", entry)
            return
        if not goes_on(request):
            return
    yield client.ask("sumdb-latest", f"{base}/latest")
