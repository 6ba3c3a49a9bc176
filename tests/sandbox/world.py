"""Everything around modsync on one machine: platform, GitLab with a runner, private proxy, and a configuration for it."""

import secrets
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.sandbox.discovery import by_root
from tests.sandbox.gitlab import GitLab
from tests.sandbox.goclient import GoClient
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.modules import HOST, Ledger, make_ledger
from tests.sandbox.platform import Platform, basic
from tests.sandbox.runner import Runner

PROJECT = Path(__file__).resolve().parents[2]
PIPELINE = PROJECT / "deploy/gitlab/precache.gitlab-ci.yml"
TEMPLATES = "platform/ci-templates"
MIRRORS = "go-mirrors"

_CONFIG = """\
data_dir = "data"

[web]
listen = "127.0.0.1:{port}"
base_url = "http://127.0.0.1:{port}"
workers = 1

[access]
admin_token_env = "MODSYNC_ADMIN_TOKEN"

[gitlab]
url = "{gitlab}"
token_env = "MODSYNC_GITLAB_TOKEN"
ci_config_path = "{pipeline}@{templates}"
poll_first_seconds = 0.3
timeout_seconds = 10

[[proxies]]
url = "{proxy}"
timeout_seconds = 30

[[sources]]
name = "platform"
scheme = "article"
secrets = [{{ id = "demo", env = "MODSYNC_WEBHOOK_SECRET" }}]
allow = ["{platform}/**"]
clone_token_env = "MODSYNC_CLONE_TOKEN"

[[rules]]
modules = "{host}/{{team}}/{{repo}}"
clone = "{platform}/{{team}}/{{repo}}.git"
mirror = "{mirrors}/{{team}}/{{repo}}"

[retry]
first_seconds = 0.3
longest_seconds = 2
give_up_seconds = {give_up}
patience_seconds = {patience}

[log]
format = "{log_format}"

[sandbox]
enabled = true
"""


class World:
    """A context manager: entering starts everything but modsync itself; `config` and `environment` are for that."""

    def __init__(
        self,
        root: Path,
        *,
        port: int | None = None,
        give_up: float = 20.0,
        patience: float = 20.0,
        log_format: str = "json",
        pipeline: str = "",
        more: str = "",
    ) -> None:
        """`pipeline` is a CI file's text in place of the real one, `more` is added to modsync's configuration."""
        self.root = root
        self.admin_token, self.secret, self.clone_token = (secrets.token_urlsafe(24) for _ in range(3))
        self.gitlab = GitLab(root / "gitlab")
        self.platform = Platform(root / "platform", token=self.clone_token)
        self.runner = Runner(self.gitlab)
        self.mirrors: dict[str, str] = {}
        self.gitlab_token = self.gitlab.create_token()
        credentials = {self.gitlab.url: basic(self.gitlab_token, "oauth2")}
        self.proxy = GoProxy(root / "proxy", by_root(self.mirrors), credentials=credentials)
        self.port = port or free_port()
        self.config = root / "modsync.toml"
        self._pipeline, self._more = pipeline or PIPELINE.read_text(encoding="utf-8"), more
        self._settings = {"give_up": give_up, "patience": patience, "log_format": log_format}

    @property
    def url(self) -> str:
        """Where modsync will listen."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What modsync needs in its environment: where its configuration is, and the secrets."""
        return {
            "MODSYNC_CONFIG": str(self.config),
            "MODSYNC_ADMIN_TOKEN": self.admin_token,
            "MODSYNC_GITLAB_TOKEN": self.gitlab_token,
            "MODSYNC_WEBHOOK_SECRET": self.secret,
            "MODSYNC_CLONE_TOKEN": self.clone_token,
        }

    @property
    def secrets(self) -> list[str]:
        """Every secret of this world, to look for where none may be."""
        return [self.admin_token, self.secret, self.clone_token, self.gitlab_token]

    def start(self) -> None:
        """Start the servers and write the configuration."""
        self.gitlab.create_group(MIRRORS)
        self.gitlab.create_project(TEMPLATES, {PIPELINE.name: self._pipeline})
        for server in (self.gitlab, self.platform, self.runner, self.proxy):
            server.start()
        self.config.write_text(
            _CONFIG.format(
                port=self.port, gitlab=self.gitlab.url, proxy=self.proxy.url, platform=self.platform.url,
                pipeline=PIPELINE.name, templates=TEMPLATES, mirrors=MIRRORS, host=HOST, **self._settings,
            ) + self._more,
            encoding="utf-8",
        )  # fmt: skip

    def close(self) -> None:
        """Stop for good; runner first, so that no pipeline asks a proxy that is gone."""
        self.runner.stop()
        for server in (self.proxy, self.platform, self.gitlab):
            server.close()

    def ledger(self) -> Ledger:
        """The demo's module repository at the platform, known to the proxy's discovery under its mirror."""
        return make_ledger(self.platform, self.mirrored("payments/ledger"))

    def mirrored(self, repository: str) -> str:
        """Tell the proxy that `go` finds this repository's modules in its GitLab mirror; the repository again."""
        self.mirrors[f"{HOST}/{repository}"] = f"{self.gitlab.url}/{MIRRORS}/{repository}.git"
        return repository

    def go_client(self, name: str = "developer") -> GoClient:
        """A Go developer who knows nothing but the private proxy."""
        return GoClient(self.root / name, self.proxy.url)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def free_port() -> int:
    """A TCP port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
