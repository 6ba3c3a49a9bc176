"""Checks across tables, after each was read: names, credentials, URLs, times. Rules have their own module."""

from __future__ import annotations

import ipaddress
import re
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.config_athens import Athens, ClientSetup, certificates
from app.config_gitlab import Discovery, GitLab
from app.config_models import Outgoing, Proxy, RuleTable, Source, Web, Worker
from app.config_read import Reader
from app.config_upkeep import Retries
from app.domain.schemes import SCHEMES, secret_problem
from app.domain.urls import AllowPattern, is_local

SHORTEST_SECRET = 16
DEMO_ONLY = "It is allowed with [sandbox] enabled = true only, for tests and the demo."


LEASE_IN_TIME = 8.0


@dataclass(frozen=True)
class Draft:
    """What could be read of a file. `*_names` hold the names of broken tables too, so that nothing wrong follows."""

    reader: Reader
    web: Web | None
    gitlab: GitLab | None
    discovery: Discovery | None
    athens: Athens | None
    setup: ClientSetup | None
    outgoing: Outgoing | None
    retry: Retries | None
    worker: Worker | None
    proxies: tuple[Proxy, ...]
    sources: tuple[Source, ...]
    rules: tuple[RuleTable, ...]
    sandbox: bool
    proxy_names: frozenset[str]
    source_names: frozenset[str]

    @classmethod
    def of(cls, reader: Reader, values: dict[str, Any], raw: dict[str, Any]) -> Draft:
        """Gather the read tables (None or left out where broken) and the names as they are written."""
        same = {
            name: values[name]
            for name in (
                "web",
                "worker",
                "gitlab",
                "discovery",
                "athens",
                "setup",
                "outgoing",
                "retry",
                "proxies",
                "sources",
                "rules",
            )
        }
        return cls(
            reader=reader,
            sandbox=bool(values["sandbox"] and values["sandbox"].enabled),
            proxy_names=_names(raw.get("proxies"), "default"),
            source_names=_names(raw.get("sources"), ""),
            **same,
        )


def _names(raw: object, unnamed: str) -> frozenset[str]:
    tables = [item for item in raw if isinstance(item, dict)] if isinstance(raw, list) else []
    return frozenset(str(table.get("name", unnamed)) for table in tables)


def check_tables(draft: Draft) -> None:
    """Record the problems and warnings of all that are not rules."""
    _unique(draft.reader, "proxies", [proxy.name for proxy in draft.proxies])
    _unique(draft.reader, "sources", [source.name for source in draft.sources])
    _web(draft)
    _gitlab(draft)
    _discovery(draft)
    _athens(draft)
    _setup(draft)
    _times(draft)
    _lease(draft)
    _ssh_key(draft)
    for proxy in draft.proxies:
        _proxy(draft, proxy)
    for source in draft.sources:
        _source(draft, source)


def _unique(reader: Reader, key: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            reader.problem(f"{key}[{name}]", f"stands in the file {count} times", "Give each its own name.")


def _web(draft: Draft) -> None:
    if draft.web and _is_plain_http(draft.web.base_url) and not draft.sandbox:
        fix = "Put a TLS proxy in front and give its https:// address."
        draft.reader.warning("web.base_url", "is http://: tokens and releases travel unencrypted", fix)


def _gitlab(draft: Draft) -> None:
    if draft.gitlab and _is_plain_http(draft.gitlab.url) and not draft.sandbox:
        draft.reader.problem("gitlab.url", "is http:// and would send the token unencrypted", "Use https://.")
    if draft.gitlab:
        _hook_secrets(draft, draft.gitlab)


def _hook_secrets(draft: Draft, gitlab: GitLab) -> None:
    _unique(draft.reader, "gitlab.hook_secrets", [secret.id for secret in gitlab.hook_secrets])
    for secret in gitlab.hook_secrets:
        value = secret.value.get_secret_value()
        signs = "standard-webhooks" if value.startswith("whsec_") else "gitlab-token"
        _usable(draft.reader, f"gitlab.hook_secrets[{secret.id}]", signs, value)


def _discovery(draft: Draft) -> None:
    found, problem = draft.discovery, draft.reader.problem
    if found is None:
        return
    if found.mode == "token" and found.token is None:
        problem("discovery.token_env", "is missing, and mode is token", "Set token_env or token_file.")
    if found.mode == "networks" and not found.networks:
        problem("discovery.networks", "is empty, and mode is networks", "List at least one, like 10.0.0.0/8.")
    if found.token is not None:
        _long_enough(draft.reader, "discovery", "token", found.token.get_secret_value())


def _athens(draft: Draft) -> None:
    """The secret is a part of an address, so it has to be one that an address can hold."""
    if draft.athens is None or draft.athens.secret is None:
        return
    value = draft.athens.secret.get_secret_value()
    _long_enough(draft.reader, "athens", "secret", value)
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", value):
        fix = "Use letters, digits, - and _ only, for example by: openssl rand -hex 32"
        draft.reader.problem("athens.secret_env", "has characters that do not fit into an address", fix)


def _setup(draft: Draft) -> None:
    if draft.setup and draft.setup.ca_file and not certificates(draft.setup.ca_file):
        draft.reader.problem("setup.ca_file", "has no certificate that can be read", "Name a PEM file.")


def _times(draft: Draft) -> None:
    gitlab, retry = draft.gitlab, draft.retry
    if gitlab and gitlab.poll_first_seconds > gitlab.poll_longest_seconds:
        draft.reader.problem("gitlab.poll_first_seconds", "is above poll_longest_seconds", "Make it smaller.")
    if retry and retry.first_seconds > retry.longest_seconds:
        draft.reader.problem("retry.first_seconds", "is above longest_seconds", "Make it smaller.")


def _lease(draft: Draft) -> None:
    """A dead worker's run waits for its lease to end, then for the sweeper's next look."""
    if draft.worker and draft.worker.lease_seconds > LEASE_IN_TIME:
        said = f"is above {LEASE_IN_TIME:g}: runs of a dead worker stand still for longer than the ten seconds that are promised"
        draft.reader.warning("worker.lease_seconds", said, f"Leave it at 6, or make it {LEASE_IN_TIME:g} at most.")


def _ssh_key(draft: Draft) -> None:
    """ssh itself refuses a key that others can read, with a message that nobody sees."""
    key = draft.outgoing.ssh_key_file if draft.outgoing else None
    try:
        mode = key.stat().st_mode if key else 0
    except (OSError, ValueError):
        return  # the reader has told why
    if stat.S_ISREG(mode) and mode & 0o077:
        draft.reader.warning("outgoing.ssh_key_file", "is readable for others: ssh refuses it", "chmod 600 that file.")


def _proxy(draft: Draft, proxy: Proxy) -> None:
    key, problem = f"proxies[{proxy.name}]", draft.reader.problem
    _place(draft, proxy, key)
    if proxy.token and (proxy.password or proxy.username):
        problem(f"{key}.token_env", "is set beside a user name or password", "Keep one way to log in.")
    elif bool(proxy.username) != bool(proxy.password):
        problem(f"{key}.username", "and a password go together", "Set both, or neither.")
    if (proxy.token or proxy.password) and _is_plain_http(proxy.url) and not draft.sandbox:
        problem(f"{key}.url", "is http:// and would send the credentials unencrypted", "Use https://.")


def _place(draft: Draft, proxy: Proxy, key: str) -> None:
    """Where the proxy is: an address, and for a static one the directory that modsync writes."""
    problem = draft.reader.problem
    if proxy.kind == "static" and not proxy.directory:
        problem(f"{key}.directory", "is missing", "Name the directory that modsync writes and nginx serves.")
    elif proxy.kind != "static" and proxy.directory:
        problem(f"{key}.directory", "is for static proxies only", 'Take it out, or set kind = "static".')
    elif not proxy.url and proxy.kind != "static":
        problem(f"{key}.url", "is missing", "Give the GOPROXY base URL, as clients set it.")


def _source(draft: Draft, source: Source) -> None:
    key = f"sources[{source.name}]"
    if source.signatures != "off" and not (source.ssh_signers_file or source.gpg_keys_file):
        fix = "Name the keys in ssh_signers_file or gpg_keys_file."
        draft.reader.problem(f"{key}.signatures", "looks at signed tags, and no key is known", fix)
    _unique(draft.reader, f"{key}.secrets", [secret.id for secret in source.secrets])
    for secret in source.secrets:
        _usable(draft.reader, f"{key}.secrets[{secret.id}]", source.scheme, secret.value.get_secret_value())
    for pattern in source.allow:
        _allow(draft, f"{key}.allow", pattern)


def check_admin_token(reader: Reader, value: str) -> None:
    """The admin token is as long as a webhook secret has to be."""
    _long_enough(reader, "access", "admin_token", value)


def _long_enough(reader: Reader, key: str, name: str, value: str) -> None:
    if len(value) >= SHORTEST_SECRET:
        return
    what = f"names a secret shorter than {SHORTEST_SECRET} characters"
    reader.problem(
        f"{key}.{reader.secret_key(key, name)}", what, "Make a long one, for example by: openssl rand -hex 32"
    )


def _usable(reader: Reader, key: str, scheme: str, value: str) -> None:
    """A secret of a webhook: long enough, and one that the scheme can make a key of."""
    _long_enough(reader, key, "value", value)
    fault = secret_problem(SCHEMES[scheme], value.encode()) if len(value) >= SHORTEST_SECRET else None
    if fault:
        what, fix = (
            f"names a secret that cannot be used: {fault}",
            "Give it as the platform shows it, or make another one there.",
        )
        reader.problem(f"{key}.{reader.secret_key(key, 'value')}", what, fix)


def _allow(draft: Draft, key: str, text: str) -> None:
    try:
        pattern = AllowPattern.parse(text)
    except ValueError as error:
        draft.reader.problem(key, f"has an entry that {error}", "Write entries like https://git.corp.example/**.")
        return
    if not draft.sandbox and (pattern.scheme not in ("https", "ssh") or is_local(urlsplit(text).hostname or "")):
        draft.reader.problem(key, "permits http, file or an inside address", f"Use https or ssh. {DEMO_ONLY}")


def _is_plain_http(url: str) -> bool:
    """True for http:// to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
