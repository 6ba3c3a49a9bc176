"""From what `go` printed to the cause: rules over text, in the order of how certain they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from app.doctor import explain_egress
from app.doctor.advice import host_of, install_ca, look, machine_of, netrc_line, no_proxy, port_of
from app.doctor.explain_modules import MODULE_RULES
from app.doctor.explain_rule import Line, Rule, lines_of, rule
from app.doctor.findings import Finding, unique
from app.doctor.settings import shown

_URL = r"(?P<url>https?://[^\s\"]+)"
_GET = rf'(?:Get|Head) "{_URL}"'
_ASKED = r"(?:reading |Get \")(?P<url>https?://%s[^\s\":]*)\"?: ?(?P<said>.*)"
_SUMDB = _ASKED % r"\S*?/sumdb/(?P<name>[\w.]+)/(?:supported|latest|lookup|tile)"
_LOOKUP = r"verifying .*/lookup/(?P<module>[^@\s]+)@\S+: "
_SUMDB_DIRECT = _ASKED % r"(?:sum\.golang\.org|sum\.golang\.google\.cn)/"
_NO_JSON = (
    r"invalid character '(?!ï|\\ufeff)\S+ (?:looking for beginning of value|in literal)"  # but for a byte order mark
)
_CONTINUED = "# let your company's proxy pass it on, or have the firewall allow it (docs/nginx.md#sumdb)"


@dataclass(frozen=True, slots=True)
class Explained:
    """`findings`: the causes by name. `unexplained`: lines that look like errors of go's and fit no rule."""

    findings: list[Finding]
    unexplained: list[str]


def explain(output: str) -> Explained:
    """Name the causes in go's output (stdout and stderr of any go command); each line is explained at most once."""
    findings: list[Finding] = []
    unexplained: list[str] = []
    for line in lines_of(output):
        finding = _of_line(line)
        if finding:
            findings.append(finding)
        elif re.search(r"^go: (?!downloading|finding|found|added|upgraded)|^\s*(?:fatal|error): ", line.text):
            unexplained.append(shown(line.text.strip()))
    return Explained(unique(findings), unexplained)


def _of_line(line: Line) -> Finding | None:
    return next((finding for rule in _RULES if (finding := rule.apply(line))), None)


def _ca(found: re.Match[str]) -> tuple[str, ...]:
    return (install_ca(_url(found), None),)


def _url(found: re.Match[str]) -> str:
    """The URL in the text; https and the host alone where only that is there."""
    groups = found.groupdict()
    return shown(groups.get("url") or f"https://{groups.get('host') or 'HOST'}")


def _with(template: str) -> Callable[[re.Match[str]], tuple[str, ...]]:
    """A fix that is a template: `{url}` and `{host}`."""
    return lambda found: (template.format(url=_url(found), host=host_of(_url(found))),)


def _status(pattern: str, code: str, fix: Callable[[re.Match[str]], tuple[str, ...]]) -> Rule:
    return rule(code, rf"reading {_URL}: {pattern}", fix)


def _credentials(found: re.Match[str]) -> tuple[str, ...]:
    return (netrc_line(machine_of(_url(found))),)


def _tried_out(found: re.Match[str]) -> tuple[str, ...]:
    return (look(_url(found)), "modsync doctor   # says where the redirect goes")


def _followed(found: re.Match[str]) -> tuple[str, ...]:
    """go names the URL of the last redirect as the server wrote it, which may be a path alone."""
    whole = found["url"].startswith("http")
    look_closer = f"curl -sSIL {_url(found)}   # a login page? Else whoever runs that server must keep to https"
    return (look_closer if whole else "modsync doctor   # says where the redirects go",)


def _proxied(found: re.Match[str]) -> tuple[str, ...]:
    host = host_of(_url(found))
    return (f"curl -sSI https://{host}", "# a host inside the company: " + no_proxy(host))


def _pinned(found: re.Match[str]) -> tuple[str, ...]:
    return (
        f"curl -sSi {_url(found)}",
        f"# or let the proxy answer 404 to /sumdb/{found['name']}/supported (docs/nginx.md#sumdb)",
    )


def _private(found: re.Match[str]) -> tuple[str, ...]:
    """The URL has `!x` or `%21x` for the module's X."""
    module = re.sub(r"(?:!|%21)([a-z])", lambda escaped: escaped[1].upper(), found["module"])
    return (f"go env -w GONOSUMDB={module}   # if it is private; with what GONOSUMDB has already, comma between",)


def _supported(found: re.Match[str]) -> tuple[str, ...]:
    return (f"# mend the proxy: 404 (or 200, and pass it on) for {_url(found)} (docs/nginx.md#sumdb)",)


def _database(found: re.Match[str]) -> tuple[str, ...]:
    return (f"curl -sSi {_url(found)}", _CONTINUED, "# private modules: go env -w GONOSUMDB=PATTERN; never GOSUMDB=off")


def _handshake(found: re.Match[str]) -> tuple[str, ...]:
    url = _url(found)
    look_closer = f"openssl s_client -connect {host_of(url)}:{port_of(url)} -servername {host_of(url)} </dev/null"
    return (
        look_closer,
        "modsync doctor   # tells a client certificate that is wanted from a version or cipher not shared",
    )


_FORWARDER = _with("# put a forwarder that holds the certificate before go: docs/nginx.md#mutual-tls")
_RULES: tuple[Rule, ...] = (
    *explain_egress.FIRST,
    rule("sumdb-proxy-error", r"reading (?P<url>\S+/sumdb/(?P<name>[\w.]+)/supported): \d{3}", _supported),
    rule(
        "tls-unknown-authority",
        rf"{_GET}(?>.*?x509: ).*(?:unknown authority|not trusted|failed to load system roots)",
        _ca,
    ),
    rule("gonosumdb-missing", _LOOKUP + "404 ", _private),
    rule("gonosumdb-missing", _LOOKUP, _private, answered="set GONOSUMDB"),  # deploy/nginx, for one
    rule("sumdb-proxy-error", r"(?:reading |Get \")(?P<url>\S+?/sumdb/(?P<name>[\w.]+)/supported)\"?: ", _supported),
    rule("sumdb-pinned", rf"(?:verifying .*)?{_SUMDB}", _pinned),
    rule(
        "tls-wrong-name",
        rf"{_GET}.*x509: (?:certificate is (?:valid|not valid) for|cannot validate certificate for)",
        _with("getent ahosts {host}   # the proxy's address? If it is: the server needs a certificate for {host}"),
    ),
    rule(
        "tls-wrong-name",
        rf"{_GET}.*x509: certificate .*(?:not valid for any names|legacy Common Name)",
        _with("# the server needs a certificate whose subjectAltName is {host}"),
    ),
    rule(
        "tls-expired",
        rf"{_GET}.*x509: certificate has expired or is not yet valid",
        _with("timedatectl   # is the clock right? If it is, the server {host} needs a new certificate"),
    ),
    rule("client-certificate", rf"{_GET}.*tls: certificate required", _FORWARDER),
    rule(
        "tls-not-tls",
        rf"{_GET}.*(?:server gave HTTP response to HTTPS client|first record does not look like a TLS)",
        _with("curl -sSI {url}   # the port is wrong, or the entry needs http://"),
    ),
    rule(
        "egress-down",
        rf"{_GET}.*proxyconnect tcp: .*",
        _with("env | grep -i _proxy   # mend it, or: unset HTTPS_PROXY HTTP_PROXY"),
    ),
    rule(
        "egress-credentials",
        rf"{_GET}: Proxy Authentication Required",
        _with("export HTTPS_PROXY=http://USER:PASSWORD@PROXY:PORT"),
    ),
    # Before those that take what is asked for the proxy.
    rule("sumdb-blocked", rf"(?:verifying .*)?{_SUMDB_DIRECT}", _database),
    rule(
        "dns-no-such-host",
        r"(?:" + _GET + r": )?dial tcp: lookup (?P<host>\S+?)(?: on \S+)?: .*",
        _with("getent ahosts {host}   # mend the name in GOPROXY, or the DNS (VPN connected?)"),
    ),
    rule(
        "connection-refused",
        rf"{_GET}: dial tcp \S+: connect: connection refused",
        _with("curl -sSI {url}   # start the proxy, or mend the port in GOPROXY"),
    ),
    rule("tls-failed", rf"{_GET}.*\btls: ", _handshake),
    *explain_egress.LAST,
    rule(
        "egress-refused",
        rf"{_GET}: (?:Forbidden|Method Not Allowed|Bad Gateway|Service Unavailable|Gateway Timeout|Bad Request)$",
        _proxied,
    ),
    rule(
        "timeout",
        rf"{_GET}.*(?:i/o timeout|deadline exceeded|Client\.Timeout|TLS handshake timeout|no route to host"
        r"|network is unreachable|connection timed out)",
        _with("curl -sSI --max-time 20 {url}   # a firewall that drops, or a proxy that hangs"),
    ),
    rule(
        "connection-cut",
        rf'(?:Get|Head|read) "{_URL}".*(?:EOF|connection reset by peer|broken pipe)',
        _with("curl -sSv -o /dev/null {url}   # if it is cut there, too: the firewall's operators must allow it"),
    ),
    rule(
        "http2-broken",
        rf"{_GET}.*http2: server sent GOAWAY",
        _with(
            "export GODEBUG=http2client=0   # go by HTTP/1.1; then {host}, or a filter before it, must mend its HTTP/2"
        ),
    ),
    rule("redirect-refused", r'(?:Get|Head) "(?P<url>[^"]+)": (?:redirected from secure URL|stopped after)', _followed),
    rule("login-page", rf'invalid response from proxy "{_URL}": invalid character \'<\'', _tried_out),
    rule(
        "html-answer",
        rf"invalid response from proxy \"{_URL}\": {_NO_JSON}",
        _with("curl -sSi {url}   # not what a Go proxy answers: is it its base address?"),
    ),
    rule(
        "info-invalid",
        rf'invalid response from proxy "{_URL}"',
        _with("modsync doctor proxy {url} --module MODULE@VERSION   # for its operators: what go refuses, and why"),
    ),
    rule(
        "info-invalid",
        r"(?:(?<!\S)(?P<module>\S+): )?proxy returned info for version \S* instead of requested version",
        lambda found: (f"modsync doctor proxy $(go env GOPROXY) --module {found['module'] or 'MODULE@VERSION'}",),
    ),
    rule(
        "html-zip",
        r"zip: not a valid zip file",
        _with("go env GOPROXY   # then: curl -sSIL PROXY/MODULE/@v/VERSION.zip: what answers in its place?"),
    ),
    rule(
        "private-not-served",
        rf"unrecognized import path \"(?P<module>[^\"]+)\": reading {_URL}\?go-get=1: (?:404|410|5\d\d) ",
        "curl -sSi '{url}?go-get=1'",
    ),
    rule("client-certificate", r"reading (?P<url>https://[^\s\"]+): 400 Bad Request$", _FORWARDER),
    _status(
        "400 Bad Request$", "unexpected-status", _with("curl -sSi {url}   # on a port of TLS: the entry needs https://")
    ),
    _status("401 ", "needs-credentials", _credentials),
    _status("403 ", "forbidden", _with("curl -sSi {url}   # then ask who runs it to allow this machine or account")),
    _status("407 ", "egress-credentials", _with("export HTTP_PROXY=http://USER:PASSWORD@PROXY:PORT")),
    _status("429 ", "rate-limited", _with("curl -sSI {url}   # Retry-After says when")),
    _status(
        "5\\d\\d ", "server-error", _with("curl -sSi {url}   # for the proxy's operators: modsync doctor proxy URL")
    ),
    _status(
        "4(?:04|10) ",
        "not-found",
        _with("curl -sSi {url}   # is the version tagged and synced? `modsync runs` shows its run"),
    ),
    _status("\\d{3} ", "unexpected-status", _with("curl -sSi {url}")),
    rule(
        "server-error",
        r"stream error: stream ID \d+; INTERNAL_ERROR",
        "curl -sSI $(go env GOPROXY)",
    ),
    *MODULE_RULES,
)
