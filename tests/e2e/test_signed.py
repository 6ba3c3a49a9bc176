"""Signed tags from webhook to proxy, through real processes: who signed is shown, what nobody known signed goes nowhere."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.signing_keys import Keys
from tests.sandbox.modules import Release, make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, World


class SignedWorld(World):
    """Source "platform" requires signed tags; `keys` are its release manager's."""

    def start(self) -> None:
        (self.root / "keys").mkdir(parents=True)
        self.keys = Keys(self.root / "keys")
        super().start()
        policy = 'signatures = "require"\n'
        policy += f'ssh_signers_file = "{self.keys.signers}"\ngpg_keys_file = "{self.keys.gpg_keys}"\n'
        config, scheme = self.config.read_text(), 'scheme = "article"\n'
        assert config.count(scheme) == 1
        self.config.write_text(config.replace(scheme, scheme + policy))

    def close(self) -> None:
        super().close()
        self.keys.close()

    def release(self, repository: str, key: str) -> Release:
        """A new repository's v1.0.0 with a tag that this key signed ("": an annotated tag that none did)."""
        module = make_plain(self.platform, self.mirrored(repository), "v1.0.0", annotated=not key)
        release = module.releases["v1.0.0"]
        if key:
            self.platform.delete_tag(repository, release.tag)
            self.keys.sign(self.platform.path(repository), release.tag, release.commit, key)
        return release


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedWorld]:
    with SignedWorld(tmp_path_factory.mktemp("signed"), give_up=12, patience=12) as world:
        yield world


@pytest.fixture(scope="module")
def service(world: SignedWorld) -> Iterator[Service]:
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


def brought(world: SignedWorld, service: Service, release: Release) -> dict[str, Any]:
    """A signed webhook, and the run at its end."""
    sent = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release)
    assert sent.status in (200, 202), sent.text
    return service.wait_for(str(sent.json["runs"][0]["id"]), "done", "failed", "rejected", seconds=90)


def shown(world: SignedWorld, run: str) -> tuple[str, str]:
    """(the run's page, what `modsync show` prints)."""
    bearer = {"Authorization": f"Bearer {world.admin_token}"}
    page = requests.get(f"{world.url}/runs/{run}", headers=bearer, timeout=10)
    assert (page.status_code, page.url) == (200, f"{world.url}/runs/{run}")
    command = [str(Path(sys.executable).with_name("modsync")), "show", run]
    done = subprocess.run(command, env=world.environment, capture_output=True, text=True, timeout=60, check=True)
    return page.text, done.stdout


@pytest.mark.parametrize("key", ["release", "gpg"], ids=["ssh", "gpg"])
def test_a_signed_release_is_done_and_its_signer_is_shown_everywhere(
    world: SignedWorld, service: Service, key: str
) -> None:
    release = world.release(f"signed/{key}", key)
    run = brought(world, service, release)
    assert run["status"] == "done", run["error"]
    found = run["facts"]["signature"]
    who = {"release": ("ssh", "release@corp.example"), "gpg": ("gpg", "Release Manager <r@corp.example>")}[key]
    assert (found["state"], found["kind"], found["signer"]) == ("good", *who)
    page, printed = shown(world, run["id"])
    for part in (who[1].replace("<", "&lt;").replace(">", "&gt;"), found["key"]):
        assert part in page.partition("The tag's signature")[2]
    (line,) = [line for line in printed.splitlines() if line.strip().startswith("signature")]
    assert who[1] in line
    # The tag object itself, with its signature, is what the mirror has.
    name, mirror = f"refs/tags/{release.tag}", world.gitlab.project(f"{MIRRORS}/{release.repository}")
    there = world.gitlab.world.repository(mirror).ref(name)
    assert there is not None
    assert there.target == world.platform.resolve(release.repository, name) != release.commit


@pytest.mark.parametrize(("key", "code"), [("", "tag_unsigned"), ("stranger", "signature_bad")])
def test_what_nobody_known_signed_is_rejected_and_nothing_is_pushed(
    world: SignedWorld, service: Service, key: str, code: str
) -> None:
    release = world.release(f"signed/{code.replace('_', '-')}", key)
    run = brought(world, service, release)
    assert (run["status"], run["error"]["code"], run["stage"]) == ("rejected", code, "mirror")
    assert run["facts"]["signature"]["state"] != "good"
    page, printed = shown(world, run["id"])
    for text in (page, printed):
        assert code in text
    assert not world.gitlab.has_project(f"{MIRRORS}/{release.repository}")
    assert not [
        each for each in world.gitlab.faults.requests if f"/{release.repository}.git/git-receive-pack" in each.path
    ]
    assert not [each for each in world.proxy.requests if release.repository in str(each)]


def test_a_signed_tag_of_another_version_is_rejected(world: SignedWorld, service: Service) -> None:
    """The signature is good, and of v1.0.0: at v1.1.0's place it proves nothing."""
    release = world.release("signed/borrowed", "release")
    taken = world.platform.resolve(release.repository, "refs/tags/v1.0.0")
    world.platform._git(world.platform.path(release.repository), "update-ref", "refs/tags/v1.1.0", taken)
    borrowed = Release(release.repository, release.module_path, "v1.1.0", "v1.1.0", release.commit, "")
    run = brought(world, service, borrowed)
    assert (run["status"], run["error"]["code"]) == ("rejected", "signature_bad")
    assert not world.gitlab.has_project(f"{MIRRORS}/{release.repository}")
