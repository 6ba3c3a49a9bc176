"""The smallest private proxy: modsync writes it, a real `go` reads the files; and a released version that moves."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters import drafts
from tests.sandbox.goclient import GoClient
from tests.sandbox.modules import HOST, make_plain
from tests.sandbox.service import Service
from tests.sandbox.world import MIRRORS, PROJECT, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("static"), give_up=12, patience=12) as world:
        config = world.config.read_text()
        url = f'[[proxies]]\nurl = "{world.proxy.url}"\n'
        assert url in config
        world.config.write_text(config.replace(url, '[[proxies]]\nkind = "static"\ndirectory = "goproxy"\n'))
        yield world


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[Service]:
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


def _cli(world: World, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(Path(sys.executable).with_name("modsync")), *words],
        cwd=PROJECT, env=world.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_release_is_written_and_a_go_developer_gets_it(world: World, service: Service, tmp_path: Path) -> None:
    module = make_plain(world.platform, "static/first", "v1.0.0")
    sent = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, module.releases["v1.0.0"])
    done = service.wait_for(str(sent.json["runs"][0]["id"]), "done", "failed", "rejected")

    assert (done["status"], done["error"]) == ("done", None)
    assert done["facts"]["pipeline"] == {"kind": "static", "status": "published", "new": True}
    assert {each.status for each in world.gitlab.pipelines(f"{MIRRORS}/static/first")} == {"skipped"}  # the push's own
    go = GoClient(tmp_path / "go", f"file://{world.root / 'goproxy'}", private=HOST)
    found = go.download(f"{module.path}@v1.0.0")
    assert done["facts"]["go_sum"][0] == f"{module.path} v1.0.0 {found['Sum']}"
    assert done["facts"]["go_sum"][1] == f"{module.path} v1.0.0/go.mod {found['GoModSum']}"


def test_a_draft_of_a_killed_worker_goes_by_itself(world: World, service: Service) -> None:
    draft = world.root / "goproxy" / drafts.DIRECTORY / "left"
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_bytes(b"PK half")
    os.utime(draft, (0, time.time() - 3600))
    service.until(lambda: not draft.exists(), "the draft to be swept", 120)


def test_a_moved_version_is_rejected_until_an_operator_accepts_it(
    world: World, service: Service, tmp_path: Path
) -> None:
    module = make_plain(world.platform, "static/moves", "v1.0.0")
    hook = f"{world.url}/webhooks/platform"
    old = module.releases["v1.0.0"]
    first = service.wait_for(
        str(world.platform.webhook(hook, world.secret, old).json["runs"][0]["id"]), "done", "failed"
    )
    commit = world.platform.commit("static/moves", {"moves.go": "package moves\n\nconst Moved = true\n"}, "Oops")
    world.platform.move_tag("static/moves", "v1.0.0", commit)
    sent = world.platform.webhook(hook, world.secret, old, commit_id=commit)
    rejected = service.run(str(sent.json["runs"][0]["id"]))
    assert (rejected["status"], rejected["error"]["code"]) == ("rejected", "version_moved")
    assert old.commit in rejected["error"]["message"]
    assert first["facts"]["proof"]["h1"] in rejected["error"]["message"]

    done = _cli(
        world, "accept-move", f"{module.path}@v1.0.0", "--commit", commit, "--reason", "the wrong branch was tagged"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert rejected["id"] in done.stdout
    moved = service.wait_for(rejected["id"], "done", "failed")

    assert (moved["status"], moved["error"]) == ("done", None)
    assert (moved["attempts"][1]["kind"], moved["attempts"][1]["reason"]) == (
        "accept-move",
        "the wrong branch was tagged",
    )
    assert world.gitlab.refs(f"{MIRRORS}/static/moves")["refs/tags/v1.0.0"] == commit
    go = GoClient(tmp_path / "go", f"file://{world.root / 'goproxy'}", private=HOST)
    assert f"{module.path} v1.0.0 {go.download(f'{module.path}@v1.0.0')['Sum']}" == moved["facts"]["go_sum"][0]
    assert moved["facts"]["go_sum"] != first["facts"]["go_sum"]


def test_an_order_that_cannot_be_is_told_by_status_and_message(world: World, service: Service) -> None:
    unknown = _cli(world, "accept-move", f"{HOST}/no/body@v1.0.0", "--commit", "a" * 40, "--reason", "why")
    assert (unknown.returncode, unknown.stderr.startswith("error: not_found: ")) == (1, True)
    short = _cli(world, "accept-move", f"{HOST}/no/body@v1.0.0", "--commit", "abc1234", "--reason", "why")
    assert (short.returncode, short.stderr.startswith("error: bad_request: commit")) == (2, True)
    assert _cli(world, "accept-move", f"{HOST}/no/body", "--commit", "a" * 40, "--reason", "why").returncode == 2
