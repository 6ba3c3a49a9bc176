"""Two platforms that send the same repository's path under one rule without `clone`: one mirror is one repository's."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.modules import HOST, Release, make_plain
from tests.sandbox.platform import Platform
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, PROJECT, World


class TwoPlatforms(World):
    """A second platform with the same paths at another port; both may be cloned from, and no rule says which."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, give_up=12, patience=12)
        self.second = Platform(root / "second", token=self.clone_token)

    def start(self) -> None:
        super().start()
        self.second.start()
        text = self.config.read_text()
        for old, new in (
            (f'allow = ["{self.platform.url}/**"]', f'allow = ["{self.platform.url}/**", "{self.second.url}/**"]'),
            (f'clone = "{self.platform.url}/{{team}}/{{repo}}.git"\n', ""),
            (f'[[proxies]]\nurl = "{self.proxy.url}"\n', '[[proxies]]\nkind = "static"\ndirectory = "goproxy"\n'),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.config.write_text(text)

    def close(self) -> None:
        super().close()
        self.second.close()

    def told(self, platform: Platform, release: Release) -> str:
        """The run that a platform's signed webhook asks for."""
        sent = platform.webhook(f"{self.url}/webhooks/platform", self.secret, release)
        assert sent.status in (200, 202), sent.text
        return str(sent.json["runs"][0]["id"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoPlatforms]:
    with TwoPlatforms(tmp_path_factory.mktemp("two")) as world:
        yield world


@pytest.fixture(scope="module")
def service(world: TwoPlatforms) -> Iterator[Service]:
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


def cli(world: World, *words: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("modsync")), *words],
        cwd=PROJECT, env=world.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(240)
def test_the_second_is_rejected_until_somebody_says_that_the_repository_moved(
    world: TwoPlatforms, service: Service
) -> None:
    path, mirror = "shared/log", f"{MIRRORS}/shared/log"
    first = make_plain(world.platform, path, "v1.0.0", "v1.2.0")
    second = make_plain(world.second, path, "v1.1.0")
    done = service.wait_for(world.told(world.platform, first.releases["v1.0.0"]), "done", "failed", "rejected")
    assert (done["status"], done["error"]) == ("done", None)
    before = world.gitlab.refs(mirror)
    assert before["refs/tags/v1.0.0"] == first.releases["v1.0.0"].commit

    told = world.told(world.second, second.releases["v1.1.0"])
    refused = service.wait_for(told, "done", "failed", "rejected")

    assert (refused["status"], refused["error"]["code"]) == ("rejected", "mirror_of_another")
    one, other = (each.clone_url(path).removesuffix(".git") for each in (world.platform, world.second))
    for named in (f"{HOST}/{path}@v1.1.0", one, other, mirror):
        assert named in refused["error"]["message"]
    assert (world.gitlab.refs(mirror), world.second.requests) == (before, [])

    reason = ("--reason", "the platform has another port; INC-4711")
    said = cli(world, "mirrors", "move-source", mirror, "--to", world.second.clone_url(path), *reason)
    assert f"{mirror}: was of {one}, is of {other}" in said
    cli(world, "replay", told)
    assert service.wait_for(told, "done", "failed")["status"] == "done"
    assert world.gitlab.refs(mirror) == {
        **before, "refs/tags/v1.1.0": second.releases["v1.1.0"].commit,
        "refs/heads/ci-sync": second.releases["v1.1.0"].commit,
    }  # fmt: skip

    late = service.wait_for(world.told(world.platform, first.releases["v1.2.0"]), "done", "failed", "rejected")
    assert (late["status"], late["error"]["code"]) == ("rejected", "mirror_of_another")
    (listed,) = json.loads(cli(world, "mirrors", "list", "--json"))["items"]
    assert (listed["path"], listed["source_url"]) == (mirror, other)
    entries = [json.loads(line) for line in cli(world, "audit", "export").splitlines()]
    (entry,) = (each for each in entries if each["action"] == "mirror.source")
    assert (entry["object"], entry["before"], entry["after"], entry["reason"]) == (
        f"mirror:{mirror}", {"source": one}, {"source": other}, reason[1],
    )  # fmt: skip
