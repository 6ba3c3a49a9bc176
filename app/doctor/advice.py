"""Commands that mend what the network rules find."""

from __future__ import annotations

from urllib.parse import urlsplit

_INSTALL_CA = """\
# Save the company's root CA, from your IT or from the end of the chain that this shows, as company-ca.crt:
openssl s_client {via}-connect {host}:{port} -servername {host} -showcerts </dev/null
# Debian, Ubuntu:
sudo cp company-ca.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates
# Fedora, RHEL:
sudo cp company-ca.crt /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust"""


def install_ca(url: str, egress: str | None) -> str:
    """How to make this machine, and so go, trust the CA that is met on the way to `url`."""
    parts = urlsplit(url)
    via = f"-proxy {urlsplit(egress).netloc.rpartition('@')[2]} " if egress else ""
    return _INSTALL_CA.format(via=via, host=parts.hostname, port=port_of(url))


def look(url: str) -> str:
    """The command that shows headers and redirects of what answers at `url`."""
    return f"curl -sSIL {url}"


def netrc_line(host: str) -> str:
    """The command that gives go credentials for a host, with its port where the URL has one.

    It begins a line of its own: the file's last one may have no end.
    """
    return f"printf '\\nmachine %s login %s password %s\\n' {host} USER TOKEN >> ~/.netrc && chmod 600 ~/.netrc"


def no_proxy(host: str) -> str:
    """The command that takes a host of the company out of the web proxy's hands."""
    return f'export NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{host}"'


def machine_of(url: str) -> str:
    """What netrc's `machine` must say for this URL: go compares the port, too."""
    return urlsplit(url).netloc.rpartition("@")[2]


def host_of(url: str) -> str:
    """The host's name, without port."""
    return urlsplit(url).hostname or url


def port_of(url: str) -> int:
    """The port the URL leads to."""
    parts = urlsplit(url)
    return parts.port or (80 if parts.scheme == "http" else 443)
