"""Where go would ask the checksum database (modfetch/sumdb.go): the first proxy that passes it on, else the database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from app.doctor.checks_network import check_request
from app.doctor.findings import Finding, found
from app.doctor.observed import Answer, Failure, Observed, Request
from app.doctor.places import directory_of, is_server
from app.doctor.settings import GoSettings, bare, covered, shown

_TREE = b"go.sum database tree"
_GONE = (404, 410)
_KNOWN = "sum.golang.org"
_OTHER_ADDRESS = "sum.golang.google.cn"  # of the same database, where it stands alone
_VERIFIER = re.compile(r"[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{20,}")


def database(settings: GoSettings) -> tuple[str, str]:
    """(name, base URL) of the database that GOSUMDB names; ("", "") when it is off or empty."""
    words = settings["GOSUMDB"].split()
    if not words or words[0] == "off":
        return "", ""
    name = words[0].partition("+")[0]
    if name == _OTHER_ADDRESS:
        return _KNOWN, f"https://{name}"
    return name, _with_scheme(words[1]).rstrip("/") if len(words) > 1 else f"https://{name}"


def is_readable(settings: GoSettings) -> bool:
    """Whether go knows the database, `sum.golang.org` or `NAME+HASH+KEY`, and makes a URL of NAME and of what stands behind."""
    words = settings["GOSUMDB"].split()
    if words == [_OTHER_ADDRESS]:
        return True
    if not words or len(words) > 2 or not (words[0] == _KNOWN or _VERIFIER.fullmatch(words[0])):
        return False
    name, base = database(settings)
    return is_server(f"https://{name}") and (is_server(base) or directory_of(base) is not None)


def _with_scheme(url: str) -> str:
    """go's own fetching takes a URL without a scheme for one by https; a port makes it none."""
    return url if ":" in url else f"https://{url}"


def check_sumdb(observed: Observed) -> Iterator[Finding]:
    """Findings of the requests made for the database."""
    for request in observed.requests:
        if request.purpose == "sumdb-supported":
            yield from _supported(request, observed)
        elif request.purpose == "sumdb-latest":
            yield from _latest(request, observed)


def answers_tree(request: Request) -> bool:
    """Whether the database itself, or a proxy for it, answered `/latest`."""
    return isinstance(request.outcome, Answer) and request.outcome.status == 200 and _TREE in request.outcome.body


def goes_on(request: Request) -> bool:
    """Whether go, after this answer to `/supported`, tries the next proxy."""
    if isinstance(request.outcome, Answer) and request.outcome.status in _GONE:
        return True
    return bool(request.entry and request.entry.any_error) and not passes(request)


def passes(request: Request) -> bool:
    """Whether go asks only this proxy from now on: any 200 does, whatever its body."""
    return isinstance(request.outcome, Answer) and request.outcome.status == 200


def _supported(request: Request, observed: Observed) -> Iterator[Finding]:
    if passes(request) or goes_on(request):
        return
    outcome = request.outcome
    seen = f": {outcome.detail}" if isinstance(outcome, Failure) else f" answered {outcome.status}"
    yield found("sumdb-proxy-error", shown(request.url) + seen, *_mend_proxy(request, observed.settings))


def _latest(request: Request, observed: Observed) -> Iterator[Finding]:
    if answers_tree(request):
        return
    if request.entry is not None:
        seen = f"{_said(request)}, though the proxy's /supported answers 200"
        yield found("sumdb-pinned", seen, *_mend_proxy(request, observed.settings))
        return
    causes = [*check_request(replace(request, entry=None), observed)]
    if all(cause.code == "slow" for cause in causes):
        causes = []
    because = f" [{causes[-1].code}]" if causes else ""
    yield found("sumdb-blocked", _said(request) + because, *_reach_database(request, observed.settings))
    yield from (cause for cause in causes if cause.code in ("dns-hijack", "tls-unknown-authority", "clock-wrong"))


def _said(request: Request) -> str:
    outcome = request.outcome
    said = outcome.detail if isinstance(outcome, Failure) else f"answered {outcome.status}, and no signed tree"
    return f"{shown(request.url)}: {said}"


def _mend_proxy(request: Request, settings: GoSettings) -> Iterator[str]:
    name, _ = database(settings)
    base = shown(request.entry.url if request.entry else "")
    yield f"curl -sSi {base}/sumdb/{name}/latest"
    yield f"# mend it there: let the proxy reach https://{name}, or answer 404 to /sumdb/{name}/supported (docs/nginx.md#sumdb)"


def _reach_database(request: Request, settings: GoSettings) -> Iterator[str]:
    yield f"curl -sSi {shown(request.url)}"
    yield "# let your company's proxy pass it on (docs/nginx.md#sumdb), or have the firewall allow it."
    missing = [pattern for pattern in settings.private_patterns if not covered(pattern, settings.no_sumdb)]
    if missing:
        private = ",".join(dict.fromkeys((*bare(settings.no_sumdb), *missing)))
        yield f"{settings.set_command('GONOSUMDB', private)}   # for private modules; never GOSUMDB=off"
