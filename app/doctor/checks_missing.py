"""A module that was asked for by name and is nowhere, or whose repository nobody names: no fault of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from app.doctor.advice import host_of, look, no_proxy
from app.doctor.findings import Finding, found
from app.doctor.observed import MISSES, Answer, Observed, Request
from app.doctor.settings import Entry, shown
from app.domain.modules import ModulePath


def check_missing(observed: Observed) -> Iterator[Finding]:
    """Every named module of which nothing can come, though everybody answered; what a go.mod requires may be replaced."""
    for name in observed.named:
        path = name.partition("@")[0]
        if is_nowhere(observed.settings.entries, name, observed.requests):
            entry = next(entry.url for entry in observed.settings.entries if entry.is_url)
            fix = f"curl -sSi {shown(entry)}/{ModulePath.parse(path).escaped}/@v/list   # is the version tagged and synced?"
            yield found("not-found", f"no proxy of GOPROXY has {name}", fix, "modsync runs")
    for request in observed.requests:
        named = request.asked in observed.named
        if named and request.purpose == "discovery" and isinstance(request.outcome, Answer):
            yield from _discovery(request, request.outcome)


def is_nowhere(entries: Sequence[Entry], name: str, requests: Iterable[Request]) -> bool:
    """Each proxy was asked for this (as in Observed.modules) and has it not, and go has no `direct` to go on to."""
    lasts = {request.entry: request.outcome for request in requests if request.asked == name and request.entry}
    missed = (isinstance(last, Answer) and last.status in MISSES for last in lasts.values())
    proxies = {entry for entry in entries if entry.is_url}
    return bool(lasts) and lasts.keys() == proxies and all(missed) and all(entry.text != "direct" for entry in entries)


def _discovery(request: Request, answer: Answer) -> Iterator[Finding]:
    if b"go-import" in answer.body or answer.status not in (200, *MISSES):
        return
    if answer.hops and answer.is_html:
        seen = f"{shown(request.url)} was redirected to {shown(answer.url)}, a web page without go-import"
        yield found("login-page", seen, look(shown(request.url)), no_proxy(host_of(request.url)))
    else:
        seen = f"{shown(request.url)} answered {answer.status} without go-import"
        yield found("private-not-served", seen, f"curl -sSL '{request.url}'")
