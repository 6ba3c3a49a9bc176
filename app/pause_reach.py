"""What a pause can hold, by the configuration."""

from __future__ import annotations

from app.config_models import Settings
from app.domain.pause import hosts_of
from app.services.pausing import Reach


def pause_reach(settings: Settings) -> Reach:
    """The configured sources, and the hosts that releases go to only."""
    return Reach([source.name for source in settings.sources], _targets(settings))


def _targets(settings: Settings) -> dict[str, str]:
    """GitLab's and the proxies' hosts that no source may clone from, and what each is."""
    found = {host: f"the proxy {proxy.name}'s host" for proxy in settings.proxies for host in hosts_of(proxy.url)}
    found |= dict.fromkeys(hosts_of(settings.gitlab.url), "GitLab's host")
    cloned = {host for source in settings.sources for allow in source.allow for host in hosts_of(allow)}
    return {host: what for host, what in found.items() if host and host not in cloned}
