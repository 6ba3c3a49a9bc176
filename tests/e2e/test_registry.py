"""A registry as the source, through real processes: what a developer gets is what the registry served."""

from collections.abc import Iterator

import pytest

from tests.sandbox.discovery import by_root
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.modules import HOST, Module, make_plain
from tests.sandbox.platform import basic
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World


class Registered(World):
    """The platform's modules are behind a registry: modsync knows that one, and no git."""

    def start(self) -> None:
        self.roots: dict[str, str] = {}
        credentials = {self.platform.url: basic(self.clone_token)}
        self.registry = GoProxy(self.root / "registry", by_root(self.roots), credentials=credentials)
        self.registry.start()
        super().start()
        clone = f'clone = "{self.platform.url}/{{team}}/{{repo}}.git"'
        config = self.config.read_text()
        assert clone in config
        config = config.replace(clone, f'clone = "{self.registry.url}"\ncontent = "goproxy"')
        self.config.write_text(config.replace(f'["{self.platform.url}/**"]', f'["{self.registry.url}/**"]'))

    def close(self) -> None:
        super().close()
        self.registry.close()

    def module(self, repository: str, *versions: str) -> Module:
        self.roots[f"{HOST}/{repository}"] = self.platform.clone_url(repository)
        return make_plain(self.platform, repository, *versions)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    with Registered(tmp_path_factory.mktemp("registered"), give_up=12, patience=12) as world:
        world.gitlab.set_variable("MODSYNC_WAIT", "2")
        world.gitlab.set_variable("MODSYNC_POLL", "1")
        yield world


@pytest.fixture(scope="module")
def modsync(registered: Registered) -> Iterator[Service]:
    with Service(
        registered.url, registered.environment, registered.root / "logs", registered.admin_token
    ) as service:  # fmt: skip
        yield service


def _send(world: Registered, release: object, **fields: object) -> str:
    sent = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release, **fields)  # type: ignore[arg-type]
    assert sent.status in (200, 202), sent.text
    return str(sent.json["runs"][0]["id"])


def test_a_registrys_release_reaches_the_developer(registered: Registered, modsync: Service) -> None:
    module = registered.module("reg/lib", "v1.0.0", "v1.1.0")
    registered.mirrors[module.path] = f"{registered.gitlab.url}/{MIRRORS}/reg/lib.git"
    runs = [_send(registered, module.releases[version]) for version in ("v1.0.0", "v1.1.0")]
    done = [modsync.wait_for(run, "done", "failed", "rejected") for run in runs]

    assert [(each["status"], each["error"]) for each in done] == [("done", None)] * 2
    go = registered.go_client()
    for each, version in zip(done, ("v1.0.0", "v1.1.0"), strict=True):
        assert each["facts"]["go_sum"][0] == f"{module.path} {version} {go.download(f'{module.path}@{version}')['Sum']}"
        # The commit is of modsync's own making: the platform's is in no repository of GitLab's.
        assert each["commit"] != module.releases[version].commit
        assert each["target"]["content"] == "goproxy"
    refs = registered.gitlab.refs(f"{MIRRORS}/reg/lib")
    assert set(refs) == {"refs/heads/ci-sync", "refs/tags/v1.0.0", "refs/tags/v1.1.0"}


def test_the_same_release_again_is_the_same_run(registered: Registered, modsync: Service) -> None:
    module = registered.module("reg/twice", "v1.0.0")
    registered.mirrors[module.path] = f"{registered.gitlab.url}/{MIRRORS}/reg/twice.git"
    first = modsync.wait_for(_send(registered, module.releases["v1.0.0"]), "done", "failed", "rejected")
    again = modsync.wait_for(
        _send(registered, module.releases["v1.0.0"], ref="v1.0.0", commit_id="a" * 40), "done", "rejected", "failed"
    )
    assert first["status"] == "done"
    assert again["id"] == first["id"] or again["error"]["code"] == "duplicate_release"


def test_what_the_registry_does_not_have_is_waited_for_and_named(registered: Registered, modsync: Service) -> None:
    module = registered.module("reg/none", "v1.0.0")
    failed = modsync.wait_for(_send(registered, module.releases["v1.0.0"], version="v1.5.0", ref="v1.5.0"), "failed")
    assert failed["error"]["code"] == "not_in_registry"
    assert not registered.gitlab.has_project(f"{MIRRORS}/reg/none")
