"""A registry as the source, through real processes: what a developer gets is what the registry served."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
import requests

from app.domain.modules import ModulePath, Version
from app.services.checksum import zip_sums
from tests.sandbox.discovery import by_root
from tests.sandbox.goclient import GoClient
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.goproxy_paths import escape
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


def _changed(registry: GoProxy, module: str, version: str) -> tuple[str, str]:
    """The registry serves another zip of a version from now on; h1 before and after."""
    before = requests.get(f"{registry.url}/{escape(module)}/@v/{version}.zip", timeout=30).content
    after = io.BytesIO()
    with ZipFile(io.BytesIO(before)) as old, ZipFile(after, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b"// rebuilt\n" if name.endswith(".go") else b""))
    registry.serve_other_content(module, version, after.getvalue())
    return _h1(before, module, version), _h1(after.getvalue(), module, version)


def _h1(zipped: bytes, module: str, version: str) -> str:
    return zip_sums(io.BytesIO(zipped), ModulePath.parse(module), Version.parse(version)).h1_zip


def _modsync(world: Registered, *words: str) -> str:
    command = [str(Path(sys.executable).with_name("modsync")), *words]
    done = subprocess.run(command, env=world.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_changed_zip_is_rejected_and_the_commit_that_it_names_is_accepted(
    registered: Registered, modsync: Service
) -> None:
    """A registry has no commits: the rejection is where the operator learns the one that accept-move wants."""
    module = registered.module("reg/moved", "v1.0.0")
    path, release = f"{MIRRORS}/reg/moved", module.releases["v1.0.0"]
    registered.mirrors[module.path] = f"{registered.gitlab.url}/{path}.git"
    first = modsync.wait_for(_send(registered, release), "done", "failed", "rejected")
    assert first["status"] == "done", first["error"]

    before, after = _changed(registered.registry, module.path, "v1.0.0")
    run = modsync.wait_for(_send(registered, release, ref="v1.0.0"), "rejected", "done", "failed")
    assert (run["error"]["code"], run["commit"]) == ("version_moved", "")
    found = re.search(
        r"pushed at (\w{40}) \((\S+)\), by run \w+; now asked for at (\w{40}) \((\S+)\)", run["error"]["message"]
    )
    assert found is not None, run["error"]["message"]
    old, old_h1, new, new_h1 = found.groups()
    assert (old, old_h1, new_h1) == (first["commit"], before, after)
    assert run["facts"]["conflict"] == {"old_commit": old, "old_h1": before, "new_commit": new, "new_h1": after}
    assert registered.gitlab.refs(path)["refs/tags/v1.0.0"] == old

    reason = ("--reason", "the registry was rebuilt")
    printed = _modsync(registered, "accept-move", f"{module.path}@v1.0.0", "--commit", new, *reason)
    named = re.search(r"r[0-9a-z]{19}", printed)
    assert named is not None, printed
    moved = named[0]
    held = modsync.wait_for(moved, "failed", "done", "rejected")
    assert held["error"]["code"] == "proxy_holds_old"
    for part in (old, new, before, after):
        assert part in held["error"]["message"]

    for file in (registered.root / "proxy/store" / escape(module.path) / "@v").glob("v1.0.0.*"):
        file.unlink()
    _modsync(registered, "replay", moved, "--reason", "purged")
    modsync.until(lambda: modsync.run(moved)["status"] == "done", "the replay's end", 60)
    assert registered.gitlab.refs(path)["refs/tags/v1.0.0"] == new
    fresh = GoClient(registered.root / "after-the-move", registered.proxy.url)
    assert fresh.download(f"{module.path}@v1.0.0")["Sum"] == after == modsync.run(moved)["facts"]["proof"]["h1"]
