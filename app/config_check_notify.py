"""Checks of [[notify]], after each table was read."""

from __future__ import annotations

import ipaddress
from collections import Counter
from urllib.parse import urlsplit

from app.config_notify import Notify
from app.config_read import Reader, secret_keys
from app.domain.schemes import SCHEMES, secret_problem

_WHSEC = "whsec_"


def check_notify(reader: Reader, receivers: tuple[Notify, ...], sources: frozenset[str], *, sandbox: bool) -> None:
    """Record the problems of all receivers; `sources` are the names that there are."""
    for name, count in Counter(each.name for each in receivers).items():
        if count > 1:
            reader.problem(f"notify[{name}]", f"stands in the file {count} times", "Give each its own name.")
    for receiver in receivers:
        _address(reader, receiver, sandbox=sandbox)
        _secret(reader, receiver)
        for unknown in sorted(set(receiver.sources) - sources):
            fix = f"Name one of: {', '.join(sorted(sources))}."
            reader.problem(
                f"notify[{receiver.name}].sources", f"names the source {unknown[:80]!r}, which is not there", fix
            )


def _address(reader: Reader, receiver: Notify, *, sandbox: bool) -> None:
    key, keys = f"notify[{receiver.name}]", " or ".join(secret_keys("secret_url"))
    if receiver.kind != "webhook" and receiver.url:
        reader.problem(f"{key}.url", "holds a secret: whoever has it can write there", f"Use {keys}, and change it.")
    elif not receiver.address:
        reader.problem(f"{key}.url", "is missing", f"Give it, or {keys} where it is a secret.")
    elif receiver.url and receiver.secret_url:
        reader.problem(f"{key}.url", "is set beside secret_url", "Keep one of them.")
    elif not _is_http(receiver.address):
        reader.problem(
            f"{key}.{reader.secret_key(key, 'secret_url')}", "names no http:// or https:// URL", "Put one there."
        )
    elif not sandbox and _is_open(receiver.address):
        at = "url" if receiver.url else reader.secret_key(key, "secret_url")
        reader.problem(f"{key}.{at}", "is http:// and would send everything unencrypted", "Use https://.")


def _secret(reader: Reader, receiver: Notify) -> None:
    key, keys = f"notify[{receiver.name}]", " or ".join(secret_keys("secret"))
    if receiver.kind != "webhook":
        if receiver.secret:
            reader.problem(f"{key}.secret_env", "is for webhooks only: chats take no signature", "Take it out.")
        return
    if receiver.secret is None:
        reader.problem(f"{key}.secret_env", "is missing", f"Set {keys}: webhooks are signed.")
        return
    value = receiver.secret.get_secret_value()
    fault = secret_problem(SCHEMES["standard-webhooks"], value.encode())
    if not value.startswith(_WHSEC):
        fault = f"the secret does not begin with {_WHSEC}"
    if fault:
        fix = 'Make one by: echo "whsec_$(openssl rand -base64 32)"'
        reader.problem(f"{key}.{reader.secret_key(key, 'secret')}", f"names a secret that cannot be used: {fault}", fix)


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False


def _is_open(address: str) -> bool:
    """True for http:// to another machine."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return parts.scheme == "http" and not here
