"""Types of single values in the settings; each validator's ValueError continues the sentence "<key> ..."."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field


def http_url(value: str) -> str:
    """A URL without its last slash. ValueError: not http(s), no host, credentials, query or fragment."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http:// or https:// URL")
    if "@" in parts.netloc or parts.query or parts.fragment or re.search(r"[\s\\]", value):
        raise ValueError("has credentials, a query, a fragment or spaces in it")
    _ = parts.port  # ValueError of its own
    return value.rstrip("/")


def listen_address(value: str) -> str:
    """host:port with a port from 1 to 65535. ValueError otherwise."""
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("is not host:port")
    return value


def branch_name(value: str) -> str:
    """A legal git branch name in a narrow, safe form. ValueError otherwise."""
    bad = value.startswith(("-", "/", ".")) or value.endswith(("/", ".", ".lock")) or ".." in value or "//" in value
    if bad or not re.fullmatch(r"[A-Za-z0-9._/-]+", value):
        raise ValueError("is not a legal branch name")
    return value


def slug(value: str) -> str:
    """A name that is safe in a URL, a metric's label and a file name. ValueError otherwise."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9_-]{0,62})", value):
        raise ValueError("is not a name: lower-case letters, digits, - and _, at most 63, in URLs and metrics")
    return value


def network(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network in CIDR form. ValueError: not one, or host bits are set."""
    return ipaddress.ip_network(str(value))


HttpUrl = Annotated[str, AfterValidator(http_url)]
Name = Annotated[str, AfterValidator(slug)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1024)]
Listen = Annotated[str, AfterValidator(listen_address)]
Branch = Annotated[str, AfterValidator(branch_name)]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(network)]
