"""The sandbox's module platform: real git over HTTP, histories that are the same everywhere, signed webhooks."""

import hashlib
import hmac
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.modules import make_ledger, make_plain
from tests.sandbox.platform import Platform, basic
from tests.sandbox.processes import git_environment, run
from tests.sandbox.repositories import Entry, Repositories
from tests.sandbox.serve import LoopbackServer


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with Platform(tmp_path / "platform") as running:
        yield running


class Receiver:
    """A webhook target that keeps what it was sent and answers 202 and JSON."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, WSGIEnvironment]] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        self.seen.append((body, environ))
        start_response("202 Accepted", [("Content-Type", "application/json")])
        return [json.dumps({"got": len(self.seen)}).encode()]


def git(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    return run(["git", *arguments], env=git_environment(home, **settings), cwd=home)


def refs(home: Path, url: str, **settings: str) -> dict[str, str]:
    listed = git(home, "ls-remote", url, **settings)
    assert listed.returncode == 0, listed.stderr
    return {name: sha for sha, name in (line.split("\t") for line in listed.stdout.decode().splitlines())}


def with_header(value: str) -> dict[str, str]:
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: {value}",
    }


def test_a_clone_over_http_has_the_history(platform: Platform, tmp_path: Path) -> None:
    make_ledger(platform)
    cloned = git(tmp_path, "clone", "--quiet", platform.clone_url("payments/ledger"), "work")
    assert cloned.returncode == 0, cloned.stderr
    assert (tmp_path / "work/sdk/go.mod").read_text().startswith("module go.corp.example/payments/ledger/sdk\n")
    log = git(tmp_path / "work", "log", "--format=%s").stdout.decode().splitlines()
    assert len(log) == 5
    assert log[-1] == "go.corp.example/payments/ledger v1.0.0"


def test_lightweight_and_annotated_tags_are_advertised(platform: Platform, tmp_path: Path) -> None:
    ledger = make_ledger(platform)
    seen = refs(tmp_path, platform.clone_url("payments/ledger"))
    root, sdk, v2 = ledger.trio
    assert seen["refs/tags/sdk/v0.3.0"] == sdk.commit
    assert seen["refs/tags/v1.2.0^{}"] == root.commit
    assert seen["refs/tags/v1.2.0"] != root.commit
    assert seen["refs/heads/v2"] == seen["refs/tags/v2.0.0^{}"] == v2.commit


def test_hashes_are_the_same_everywhere(tmp_path: Path) -> None:
    stores = [Repositories(tmp_path / name) for name in ("one", "two")]
    first, second = (make_ledger(store) for store in stores)
    assert first.trio == second.trio
    assert first.trio[0].commit == "55b21b15dc48dd8092ea0867b0a8436abe9f196e"
    annotated = {store.resolve("payments/ledger", "refs/tags/v1.2.0") for store in stores}
    assert len(annotated) == 1


def test_the_major_version_may_live_in_a_directory(tmp_path: Path) -> None:
    store = Repositories(tmp_path)
    ledger = make_ledger(store, major="directory")
    v2 = ledger.v2.releases["v2.0.0"]
    assert v2.subdir == "v2"
    assert store.tags("payments/ledger")["v2.0.0"] == v2.commit == store.resolve("payments/ledger", "main")


def test_commit_adds_changes_and_removes_files(tmp_path: Path) -> None:
    store = Repositories(tmp_path)
    path = store.make_repository("misc")
    store.commit("misc", {"a b.txt": "one\n", "run": Entry(b"#!/bin/sh\n", "100755")}, "First")
    store.commit("misc", {"a b.txt": None, "link": Entry(b"run", "120000"), "é.bin": b"\x00\xff"}, "Second: 'ü'")
    listed = git(path, "-c", "core.quotePath=false", "ls-tree", "main").stdout.decode()
    assert [(line.split()[0], line.split("\t")[1]) for line in listed.splitlines()] == [
        ("120000", "link"),
        ("100755", "run"),
        ("100644", "é.bin"),
    ]


def test_a_commit_can_be_put_on_any_parent(tmp_path: Path) -> None:
    store = Repositories(tmp_path)
    module = make_plain(store, "misc", "v1.0.0", "v1.1.0")
    first = module.releases["v1.0.0"].commit
    patch = store.commit("misc", {"fix.go": "package misc\n"}, "Fix", branch="release-1.0", parent=first)
    assert store.resolve("misc", f"{patch}^") == first
    assert store.resolve("misc", "release-1.0") == patch


def test_tags_move_and_go(platform: Platform, tmp_path: Path) -> None:
    module = make_plain(platform, "misc", "v1.0.0", "v1.1.0", annotated=True)
    new = module.releases["v1.1.0"].commit
    platform.move_tag("misc", "v1.0.0", new)
    platform.delete_tag("misc", "v1.1.0")
    seen = refs(tmp_path, platform.clone_url("misc"))
    assert {name: sha for name, sha in seen.items() if "tags" in name} == {"refs/tags/v1.0.0": new}


def test_a_tag_is_made_once_and_only_what_exists_is_moved(tmp_path: Path) -> None:
    store = Repositories(tmp_path)
    make_plain(store, "misc", "v1.0.0")
    with pytest.raises(subprocess.CalledProcessError):
        store.tag("misc", "v1.0.0", "main")
    with pytest.raises(subprocess.CalledProcessError):
        store.move_tag("misc", "v9.9.9", "main")


@pytest.mark.parametrize("value", [basic("s3cret"), basic("s3cret", "someone"), "Bearer s3cret"])
def test_the_token_opens_a_closed_platform(platform: Platform, tmp_path: Path, value: str) -> None:
    make_plain(platform, "misc")
    platform.token = "s3cret"
    assert "refs/tags/v1.0.0" in refs(tmp_path, platform.clone_url("misc"), **with_header(value))


@pytest.mark.parametrize("value", ["", basic("wrong"), "Bearer wrong", "Basic ???", "Digest s3cret"])
def test_anything_else_is_refused(platform: Platform, tmp_path: Path, value: str) -> None:
    make_plain(platform, "misc")
    platform.token = "s3cret"
    assert git(tmp_path, "ls-remote", platform.clone_url("misc"), **with_header(value)).returncode == 128
    assert {request.status for request in platform.requests} == {401}


def test_others_cannot_push(platform: Platform, tmp_path: Path) -> None:
    make_plain(platform, "misc")
    url = platform.clone_url("misc")
    git(tmp_path, "clone", "--quiet", url, "work")
    assert git(tmp_path / "work", "push", url, "HEAD:refs/heads/theirs").returncode == 128
    assert "refs/heads/theirs" not in refs(tmp_path, url)


def test_large_pushes_arrive_where_they_are_permitted(tmp_path: Path) -> None:
    source, target = Repositories(tmp_path / "source"), Repositories(tmp_path / "target")
    commit = (source.make_repository("big"), source.commit("big", {"blob": os.urandom(3_000_000)}, "Big"))[1]
    target.make_repository("group/sub/big")
    with LoopbackServer(GitHttpBackend(target.directory, receive_pack=True)) as server:
        pushed = git(source.path("big"), "push", f"{server.url}/group/sub/big.git", "main")
    assert pushed.returncode == 0, pushed.stderr
    assert target.resolve("group/sub/big", "main") == commit


def test_hooks_see_the_environment_of_their_request(tmp_path: Path) -> None:
    source, target = Repositories(tmp_path / "source"), Repositories(tmp_path / "target")
    make_plain(source, "misc")
    hook = target.make_repository("misc") / "hooks/pre-receive"
    hook.parent.mkdir()
    hook.write_text('#!/bin/sh\necho "GitLab: $WHO may not push as $REMOTE_USER"\nexit 1\n')
    hook.chmod(0o755)
    backend = GitHttpBackend(target.directory, receive_pack=True, env={"WHO": "nobody"})

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        extra: dict[str, Any] = {"REMOTE_USER": "ada", "sandbox.git_env": {"WHO": "ada"}}
        return backend(environ | extra, start_response)

    with LoopbackServer(application) as server:
        pushed = git(source.path("misc"), "push", f"{server.url}/misc.git", "main")
    assert pushed.returncode == 1
    assert b"remote: GitLab: ada may not push as ada" in pushed.stderr
    assert b"(pre-receive hook declined)" in pushed.stderr


def test_down_is_refused_and_back_is_the_same_address(platform: Platform, tmp_path: Path) -> None:
    make_plain(platform, "misc")
    before = refs(tmp_path, platform.clone_url("misc"))
    platform.stop()
    down = git(tmp_path, "ls-remote", platform.clone_url("misc"))
    assert b"Failed to connect" in down.stderr
    platform.start()
    assert refs(tmp_path, platform.clone_url("misc")) == before


def test_the_article_s_webhook_is_signed_over_the_raw_body(platform: Platform) -> None:
    release = make_ledger(platform).trio[1]
    receiver = Receiver()
    with LoopbackServer(receiver) as target:
        delivered = platform.webhook(f"{target.url}/webhooks/platform", "key", release, delivery_id="d-1")
        again = delivered.resend()
    (body, environ), (body_again, _) = receiver.seen
    wanted = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert environ["HTTP_X_GITLAB_TOKEN"] == f"sha256={wanted}"
    assert json.loads(body) == {
        "ref": "refs/tags/sdk/v0.3.0",
        "commit_id": release.commit,
        "module_path": "go.corp.example/payments/ledger/sdk",
        "version": "v0.3.0",
        "repo_url": platform.clone_url("payments/ledger"),
        "subdir": "sdk",
        "delivery_id": "d-1",
    }
    assert body_again == body == delivered.sent
    assert (delivered.status, delivered.json, again.json) == (202, {"got": 1}, {"got": 2})


def test_webhooks_can_be_forged_and_sparse(platform: Platform) -> None:
    release = make_plain(platform, "misc").releases["v1.0.0"]
    receiver = Receiver()
    with LoopbackServer(receiver) as target:
        platform.webhook(target.url, "key", release, scheme="hub", forge=True, ref="main", version=None)
    body, environ = receiver.seen[0]
    wanted = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert environ["HTTP_X_HUB_SIGNATURE_256"].startswith("sha256=")
    assert environ["HTTP_X_HUB_SIGNATURE_256"] != f"sha256={wanted}"
    assert json.loads(body)["ref"] == "main"
    assert "version" not in json.loads(body)
