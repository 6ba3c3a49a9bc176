"""Commands that mend what the network rules find."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.doctor.egress import is_socks, joined, masked, place_of
from app.doctor.places import parts_of, port_in

_INSTALL_CA = """\
# Save the company's root CA, from your IT or from the end of the chain that this shows, as company-ca.crt:
{look}
# Debian, Ubuntu:
sudo cp company-ca.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates
# Fedora, RHEL:
sudo cp company-ca.crt /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust"""


def install_ca(url: str, egress: str | None) -> str:
    """How to make this machine, and so go, trust the CA that is met on the way to `url`."""
    host, port = host_of(url), port_of(url)
    if egress and (is_socks(egress) or urlsplit(egress).scheme == "https"):  # openssl knows neither kind of web proxy
        trusted = "" if is_socks(egress) else '${SSL_CERT_FILE:+--proxy-cacert "$SSL_CERT_FILE"} '  # as -k unsets it
        by = f"{trusted}-x {masked(egress, 'socks5h' if is_socks(egress) else 'https')}"
        look = f"curl -sk -o /dev/null -w '%{{certs}}' {by} https://{host}:{port}   # curl 7.88 or newer"
        return _INSTALL_CA.format(look=look)
    return install_ca_of(host, str(port), f"-proxy {joined(*place_of(egress))} " if egress else "")


def install_ca_of(host: str, port: str, via: str = "") -> str:
    """The same by openssl alone, for a host and port, or words in their place; `via`: what leads it there."""
    look = f"openssl s_client {via}-connect {host}:{port} -servername {host} -showcerts </dev/null"
    return _INSTALL_CA.format(look=look)


def through(egress: str) -> str:
    """What makes curl take this web proxy as go does, with names looked up there; nothing where its own way is the same."""
    return f"-x {masked(egress, 'socks5h')} " if is_socks(egress) else ""


def look(url: str) -> str:
    """The command that shows headers and redirects of what answers at `url`."""
    return f"curl -sSIL {url}"


_NETRC = '"${NETRC:-$HOME/.netrc}"'


def netrc_line(host: str) -> str:
    """The command that gives go credentials for a host, with its port where the URL has one.

    It begins a line of its own: the file's last one may have no end.
    """
    return f"printf '\\nmachine %s login %s password %s\\n' {host} USER TOKEN >> {_NETRC} && chmod 600 {_NETRC}"


def netrc_without(host: str) -> str:
    """The command that opens netrc for whoever has to take the old entry out: of two, go takes the first."""
    return f"${{EDITOR:-vi}} {_NETRC}   # take the entry of {host} out: the first one counts"


def no_proxy(host: str) -> str:
    """The command that takes a host of the company out of the web proxy's hands."""
    return f'export NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{host}"'


def machine_of(url: str) -> str:
    """What netrc's `machine` must say for this URL: go compares the port, too."""
    return parts_of(url).netloc.rpartition("@")[2]


def host_of(url: str) -> str:
    """The host's name, without port; the text itself where there is none in it."""
    return parts_of(url).hostname or url


def port_of(url: str) -> int:
    """The port the URL leads to; the scheme's own where it names none that there is."""
    return port_in(url) or (80 if parts_of(url).scheme == "http" else 443)
