"""Rules over what the web proxy of HTTPS_PROXY or HTTP_PROXY did, where it and not the server is what failed."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from app.doctor.advice import host_of, no_proxy, port_of, through
from app.doctor.egress import masked
from app.doctor.findings import Finding, found
from app.doctor.observed import Failure
from app.doctor.settings import shown

FORWARDER = "# put a forwarder that holds the certificate (stunnel) between, and: export {}=http://127.0.0.1:PORT"
_ENCODED = "write what is no letter or digit as %XX"


def of_egress(failure: Failure, seen: str) -> Finding | None:
    """The finding; None where it is its TLS that fails, which is told as any server's is."""
    url = failure.url
    match failure.trouble:
        case "egress-down":
            return found("egress-down", seen, *_mend_address(failure))
        case "egress-login":
            mend = f"export {variable_of(url)}={masked(failure.egress, login=True)}"
            return found("egress-credentials", seen, f"{mend}   # your account; in it, {_ENCODED}")
        case "egress-scheme":
            mend = f"export {variable_of(url)}={masked(failure.egress, 'http')}"
            return found("egress-scheme", seen, f"{mend}   # or https://, socks5://: its operators know")
        case "egress-status":
            return _refused(failure, seen)
    return None


def _mend_address(failure: Failure) -> Iterator[str]:
    if urlsplit(failure.egress).hostname in ("http", "https", "socks5", "socks5h"):  # url.Parse gave up on the password
        yield f"# the host, for go, is what should be the scheme; in user and password, {_ENCODED}"
    yield "env | grep -i _proxy   # mend the address, or: unset HTTPS_PROXY HTTP_PROXY"


def variable_of(url: str) -> str:
    """The variable that names the web proxy for this URL."""
    return "HTTPS_PROXY" if urlsplit(url).scheme == "https" else "HTTP_PROXY"


def _refused(failure: Failure, seen: str) -> Finding:
    host = host_of(failure.url)
    allow = f"# or let the web proxy's operators allow {host}:{port_of(failure.url)}; for a host inside the company: "
    return found(
        "egress-refused", seen, allow + no_proxy(host), f"curl -sSI {through(failure.egress)}{shown(failure.url)}"
    )
