"""Rules over what one request met on its way: names, connections, TLS, answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from zipfile import is_zipfile

from app.doctor.advice import host_of, install_ca, look, machine_of, netrc_line, netrc_without, no_proxy, port_of
from app.doctor.checks_clock import clock_of_failure
from app.doctor.checks_egress import FORWARDER, of_egress, variable_of
from app.doctor.checks_info import check_info
from app.doctor.egress import masked, reads_requests
from app.doctor.findings import Finding, found
from app.doctor.observed import BEGINNING, MISSES, Answer, Failure, Observed, Request
from app.doctor.settings import PUBLIC_HOSTS, shown

_REQUIRED_BY_NGINX = b"No required SSL certificate was sent"
_FORWARDER = "# put a forwarder that holds the certificate before go: docs/nginx.md#mutual-tls"
_CUT = "curl -sSv -o /dev/null {url}   # if it is cut there, too: the firewall's operators must allow it"
_ASK_OPERATOR = "# for the proxy's operators: its log at this time says more; their check is"


def check_request(request: Request, observed: Observed) -> Iterator[Finding]:
    """The findings of one request; none when the GOPROXY protocol could go on."""
    yield from _hijack(request, observed)
    if isinstance(request.outcome, Failure):
        yield _failure(request, request.outcome, observed)
        return
    problem = _answer(request, request.outcome)
    if problem:
        yield problem
    elif request.seconds > observed.slow_seconds:
        seen = f"{shown(request.url)} took {request.seconds:.1f} s"
        yield found(
            "slow", seen, f"curl -sS -o /dev/null -w '%{{time_connect}} %{{time_total}}\\n' {shown(request.url)}"
        )


def _hijack(request: Request, observed: Observed) -> Iterator[Finding]:
    """Not where the right answer came under a certificate of that name: VPNs and split DNS have such addresses, too."""
    if _is_proven(request):
        return
    host = host_of(request.url)
    inside = [address for address in request.addresses if not ipaddress.ip_address(address.partition("%")[0]).is_global]
    if host in PUBLIC_HOSTS and request.addresses and len(inside) == len(request.addresses):
        fix = observed.settings.set_command("GOPROXY", "https://GOPROXY.YOUR.COMPANY")
        why = "   # a proxy inside, instead of the hijacked name"
        yield found("dns-hijack", f"{host} resolves to {', '.join(inside)}", f"getent ahosts {host}", fix + why)


def _is_proven(request: Request) -> bool:
    """Of the database's `/latest` only what is no signed tree is judged here, so that is never right."""
    outcome = request.outcome
    by_tls = isinstance(outcome, Answer) and request.url.startswith("https://") and request.purpose != "sumdb-latest"
    return by_tls and isinstance(outcome, Answer) and _answer(request, outcome) is None


def _failure(request: Request, failure: Failure, observed: Observed) -> Finding:
    if failure.trouble == "tls-expired":
        return clock_of_failure(failure, observed.now) or _expired(failure)
    return of_egress(failure, _seen(failure)) or _FAILURES[failure.trouble](request, failure)


def _seen(failure: Failure) -> str:
    via = f" (redirected from {shown(failure.hops[0])})" if failure.hops else ""
    return f"{shown(failure.url)}{via}: {failure.detail}"


def _authority(request: Request, failure: Failure) -> Finding:
    issuer = f"; the certificate is by {failure.certificate.issuer}" if failure.certificate else ""
    return found(
        "tls-unknown-authority",
        _seen(failure) + issuer,
        install_ca(failure.url, None if failure.egress else request.egress),
    )


def _wrong_name(request: Request, failure: Failure) -> Finding:
    subject = f"; the certificate is for {failure.certificate.subject or 'another name'}" if failure.certificate else ""
    where = f"; {host_of(failure.url)} is {', '.join(request.addresses)}" if request.addresses else ""
    host, setting = host_of(failure.url), "HTTPS_PROXY or HTTP_PROXY" if failure.egress else "GOPROXY"
    return found(
        "tls-wrong-name",
        _seen(failure) + subject + where,
        f"getent ahosts {host}   # is this the proxy's address? If not: mend the DNS entry, or the address in {setting}",
        f"openssl s_client -connect {host}:{port_of(failure.url)} -servername {host} </dev/null "
        "| openssl x509 -noout -subject -ext subjectAltName",
    )


def _expired(failure: Failure) -> Finding:
    valid = failure.certificate
    period = f"; valid from {valid.not_before:%Y-%m-%d} to {valid.not_after:%Y-%m-%d}" if valid else ""
    return found(
        "tls-expired", _seen(failure) + period, "# this machine's clock is right: the server needs a new certificate"
    )


def _client_certificate(request: Request, failure: Failure) -> Finding:
    forwarder = FORWARDER.format(variable_of(request.url)) if failure.egress else _FORWARDER
    return found("client-certificate", _seen(failure), forwarder)


def _plain(code: str, *fix: str) -> Callable[[Request, Failure], Finding]:
    """A rule whose advice is the same shell commands for every request; `{host}`, `{port}` and `{url}` are filled in."""

    def rule(_: Request, failure: Failure) -> Finding:
        names = {"host": host_of(failure.url), "port": port_of(failure.url), "url": shown(failure.url)}
        lines = (line.format(**names) for line in fix)
        return found(code, _seen(failure), *lines)

    return rule


_FAILURES: Mapping[str, Callable[[Request, Failure], Finding]] = {
    "dns": _plain("dns-no-such-host", "getent ahosts {host}   # mend the name in GOPROXY, or the DNS (VPN connected?)"),
    "refused": _plain("connection-refused", "curl -sSI {url}   # start the proxy, or mend the port in GOPROXY"),
    "timeout": _plain("timeout", "curl -sSI --max-time 20 {url}   # a firewall that drops, or a proxy that hangs"),
    "cut": _plain("connection-cut", _CUT),
    "tls-authority": _authority,
    "tls-name": _wrong_name,
    "tls-plain": _plain("tls-not-tls", "curl -sSI {url}   # the port is wrong, or the entry needs http://"),
    "tls-client-certificate": _client_certificate,
    "tls-other": _plain("tls-failed", "openssl s_client -connect {host}:{port} -servername {host} </dev/null"),
    "redirect": _plain(
        "redirect-refused", "curl -sSIL {url}   # a login page? Else whoever runs that server must keep to https"
    ),
    "other": _plain("connection-cut", "curl -sSv -o /dev/null {url}"),
}


def _answer(request: Request, answer: Answer) -> Finding | None:
    where, status = f"{shown(request.url)} answered {answer.status}", answer.status
    if _REQUIRED_BY_NGINX in answer.body:
        return found("client-certificate", where, _FORWARDER)
    if status in MISSES:
        return None
    if answer.is_html and (answer.hops or status in (200, 302, 303, 511)):
        return _page(request, answer)
    if status == 200:
        return _content(request, answer)
    return _status(request, where, status)


def _page(request: Request, answer: Answer) -> Finding | None:
    if request.purpose == "discovery":
        return None
    if answer.hops:
        seen = f"{shown(request.url)} was redirected to {shown(answer.url)}, a web page"
        return found("login-page", seen, look(shown(request.url)), no_proxy(host_of(request.url)))
    if request.purpose == "zip":
        return found("html-zip", f"{shown(request.url)} is a web page, not an archive", look(shown(request.url)))
    seen = f"{shown(request.url)} answered with a web page ({answer.headers.get('content-type', 'no type')})"
    return found("html-answer", seen, look(shown(request.url)))


def _content(request: Request, answer: Answer) -> Finding | None:
    """A 200 whose bytes are not what was asked for."""
    if request.purpose == "zip" and not answer.body.startswith(b"PK"):
        return found("html-zip", f"{shown(request.url)} is no zip archive", look(shown(request.url)))
    if request.purpose == "zip" and len(answer.body) < BEGINNING and not is_zipfile(BytesIO(answer.body)):
        seen = f"{shown(request.url)} is the beginning of a zip archive, and {len(answer.body)} bytes long"
        return found("connection-cut", seen, _CUT.format(url=shown(request.url)))
    return check_info(request, answer)


def _status(request: Request, where: str, status: int) -> Finding:
    again = look(shown(request.url))
    if status == 401:
        machine = machine_of(request.url)
        if request.with_credentials:
            return found("credentials-refused", where, netrc_without(machine), netrc_line(machine))
        return found("needs-credentials", where, netrc_line(machine))
    if status == 407:
        proxy = masked(request.egress or "http://PROXY", login=True)
        return found("egress-credentials", where, f"export HTTP_PROXY={proxy}   # with your account")
    if status == 403:
        code = "egress-refused" if reads_requests(request.url, request.egress) else "forbidden"
        return found(code, where, again + "   # then ask who runs it to allow this machine or account")
    if status == 429:
        return found(
            "rate-limited", where, again + "   # Retry-After says when; ask less often, or through your own proxy"
        )
    code = "server-error" if status >= 500 else "unexpected-status"
    return found(
        code,
        where,
        f"{_ASK_OPERATOR} modsync doctor proxy {shown(request.entry.url if request.entry else request.url)}",
    )
