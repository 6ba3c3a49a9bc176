"""Builds what looks after mirror projects. Part of the composition root."""

from __future__ import annotations

from dataclasses import replace

from app.bootstrap import Container
from app.services.drift import Inspector, MirrorCare

# A check asks GitLab three times; the web server ends a request after 15 s (web/worker.py).
PAGE_SECONDS = 3.0
# For so long in all a command waits until GitLab takes requests again; its own limits count by the minute.
COMMAND_SECONDS = 150.0


def mirror_care(container: Container) -> MirrorCare:
    """For the command line, which waits as long as the configuration says."""
    from app.adapters.gitlab_rules import Patience  # python-gitlab takes long to import

    return _care(container, container.gitlab.inspector(Patience(COMMAND_SECONDS)))


def hurried_mirror_care(container: Container) -> MirrorCare:
    """For a page, where somebody waits."""
    from app.adapters.gitlab import GitLabApi  # python-gitlab takes long to import

    options = container._gitlab_options()
    hurried = replace(
        options, timeout_seconds=min(PAGE_SECONDS, options.timeout_seconds), total_seconds=PAGE_SECONDS
    )  # fmt: skip
    return _care(container, GitLabApi(hurried, container.gitlab_guard).inspector())


def _care(container: Container, inspector: Inspector) -> MirrorCare:
    return MirrorCare(inspector, container.audit, container.clock)
