"""Rules over what go prints of the web proxy of HTTPS_PROXY or HTTP_PROXY. It names neither the proxy nor the variable."""

from __future__ import annotations

from app.doctor.advice import install_ca_of, no_proxy
from app.doctor.explain_rule import Rule, rule

_PROXY = r"Get \"https?://[^\"]+\": proxyconnect tcp: .*"
_X509 = (
    r"Get \"https?://[^\"]+\": proxyconnect tcp: (?>.*?x509: )"  # the first of them only: of many, all pairs are many
)
_SOCKS = r"Get \"https?://[^\"]+\": socks connect tcp (?P<proxy>\S+)->(?P<host>\S+):(?P<port>\d+): .*"
_WHICH = "env | grep -i _proxy   # of the web proxy named there, by PROXY:PORT below"
_SCHEME = "env | grep -i _proxy   # it does not speak what its URL begins with: http://, https:// or socks5://?"
_NAME = "env | grep -i _proxy   # name the web proxy as its certificate does; that one is not for {host}"

FIRST: tuple[Rule, ...] = (
    rule(
        "tls-unknown-authority",
        _X509 + ".*(?:unknown authority|not trusted|failed to load system roots)",
        _WHICH + "\n" + install_ca_of("PROXY", "PORT"),
    ),
    rule("tls-wrong-name", _X509 + r"certificate is valid for .*, not (?P<host>\S+)", _NAME),
    rule("tls-wrong-name", _X509 + r".*(?:certificate for|to match) (?P<host>[^\s,]+)", _NAME),
    rule(
        "tls-expired",
        _X509 + ".*certificate has expired or is not yet valid",
        "timedatectl   # is the clock right? If it is, the web proxy of `env | grep -i _proxy` needs a new certificate",
    ),
    rule("egress-scheme", _PROXY + "tls: first record does not look like a TLS", _SCHEME),
    rule(
        "tls-failed",
        _PROXY + r"\btls: ",
        _WHICH + "\nopenssl s_client -connect PROXY:PORT -servername PROXY </dev/null\nmodsync doctor   # says more",
    ),
    rule(
        "egress-credentials",
        _SOCKS + "(?:username/password|authentication method)",
        "export HTTPS_PROXY=socks5://USER:PASSWORD@{proxy}",
    ),
    rule("egress-scheme", _SOCKS + "(?:protocol version|reserved field|unknown address type)", _SCHEME),
)
"""Before the rules for servers' TLS, whose words are the same."""

_DOWN = "env | grep -i _proxy   # mend it, or: unset HTTPS_PROXY HTTP_PROXY"
LAST: tuple[Rule, ...] = (
    rule(
        "egress-refused",
        _SOCKS + "(?:unknown error|FQDN too long)",
        lambda found: (
            f"curl -sSI -x socks5h://{found['proxy']} https://{found['host']}:{found['port']}",
            "# a host inside the company: " + no_proxy(found["host"]),
        ),
    ),
    rule("egress-down", _SOCKS, _DOWN),
)
"""After those for the checksum database, which tell more of the same refusals."""
