"""Which of modsync's own connections go by way of the HTTP proxy. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def proxy_for(url: str, http_proxy: str | None, no_proxy: str) -> str | None:
    """The HTTP proxy for a request to `url`; None: it goes there directly.

    `no_proxy`: hosts with commas between, each for itself and the domains below it, `*` for all.
    """
    if not http_proxy:
        return None
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return http_proxy
    names = [name.strip().lstrip(".").lower() for name in no_proxy.split(",") if name.strip()]
    return None if any(name == "*" or host == name or host.endswith(f".{name}") for name in names) else http_proxy
