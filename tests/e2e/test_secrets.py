"""A run full of failures with known secret values: none of them is in a log, a row, a page, an argument or a git config.

The same goes for the person whom a careless server names in what it refuses.
"""

import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.sandbox.gitlab import faults
from tests.sandbox.modules import make_plain
from tests.sandbox.platform import basic
from tests.sandbox.service import Service
from tests.sandbox.webhook import Delivered
from tests.sandbox.world import MIRRORS, World

PERSON = ("Jane Doe", "jane.doe@corp.example")
LFS = {
    ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    "big.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n",
}


class SecretWorld(World):
    """A world with every kind of secret that the configuration knows."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, give_up=3, patience=3)
        self.more = {f"MODSYNC_{name}": secrets.token_urlsafe(24) for name in ("PROXY", "HOOK", "DISCOVERY")}

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.more}

    @property
    def secrets(self) -> list[str]:
        plain = [*super().secrets, *self.more.values(), *PERSON]
        return [*plain, *(basic(token, "oauth2").split()[1] for token in (self.gitlab_token, self.clone_token))]

    def start(self) -> None:
        super().start()
        text = self.config.read_text(encoding="utf-8")
        text = text.replace("[[proxies]]\n", '[[proxies]]\ntoken_env = "MODSYNC_PROXY"\n')
        text = text.replace("[gitlab]\n", '[gitlab]\nhook_secrets = [{ id = "one", env = "MODSYNC_HOOK" }]\n')
        text += '\n[discovery]\nmode = "token"\ntoken_env = "MODSYNC_DISCOVERY"\n'
        self.config.write_text(text, encoding="utf-8")


class Arguments:
    """Looks at every process's arguments all the time; `found` are those that hold a secret."""

    def __init__(self, wanted: list[str]) -> None:
        self._wanted, self._stop = wanted, threading.Event()
        self.found: set[str] = set()
        self.looks = 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Arguments":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            for process in psutil.process_iter(["cmdline"]):
                line = " ".join(process.info["cmdline"] or [])
                if any(secret in line for secret in self._wanted):
                    self.found.add(line[:60])
            self.looks += 1


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretWorld]:
    with SecretWorld(tmp_path_factory.mktemp("secrets")) as world:
        world.gitlab.set_variable("MODSYNC_WAIT", "1")
        world.gitlab.set_variable("MODSYNC_POLL", "1")
        yield world


@pytest.fixture(scope="module")
def service(world: SecretWorld) -> Iterator[Service]:
    with Service(world.url, world.environment, world.root / "logs", world.admin_token) as service:
        yield service


def send(world: World, repository: str, files: dict[str, str] | None = None, **fields: Any) -> Delivered:
    module = make_plain(world.platform, world.mirrored(repository))
    release = module.release("v1.1.0", files or {}) if files else module.releases["v1.0.0"]
    return world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release, **fields)


def code(service: Service, delivered: Delivered) -> str:
    """How the run ended."""
    run = service.wait_for(delivered.json["runs"][0]["id"], "done", "failed", "rejected", seconds=90)
    return str(run["error"]["code"]) if run["error"] else str(run["status"])


def echo(world: World) -> str:
    """What a careless GitLab could answer: whom it knows, and the credentials that it got, as they are and as git sends them."""
    person = f"author {PERSON[0]} <{PERSON[1]}>, {PERSON[1]}"
    return f"{person}; {world.gitlab_token}; Authorization: {basic(world.gitlab_token, 'oauth2')}"


def fail_in_every_way(world: SecretWorld, service: Service) -> list[str]:
    """The codes of the runs, in order."""
    ends = [code(service, send(world, "bad/lfs", LFS))]
    world.proxy.stop()
    ends.append(code(service, send(world, "bad/proxy")))
    world.proxy.start()
    world.gitlab.faults.add("POST .*/pipeline$", faults.status(400, f'{{"message":{{"base":["{echo(world)}"]}}}}'))
    ends.append(code(service, send(world, "bad/refused")))
    world.gitlab.faults.add("git-receive-pack", faults.status(500, echo(world)), times=99)
    ends.append(code(service, send(world, "bad/push")))
    world.gitlab.faults.clear()
    world.platform.token = "another"
    ends.append(code(service, send(world, "bad/source")))
    world.platform.token = world.clone_token
    world.gitlab.revoke(world.gitlab_token)
    waiting = send(world, "bad/login").json["runs"][0]["id"]  # it waits until GitLab may be asked again
    service.until(lambda: bool(service.run(waiting)["error"]), "the refused login")
    return [*ends, str(service.run(waiting)["error"]["code"])]


def test_no_secret_is_anywhere_after_a_run_full_of_failures(world: SecretWorld, service: Service) -> None:
    with Arguments(world.secrets) as arguments:
        assert send(world, "bad/forged", forge=True).status == 401
        ask(world, "/hooks/gitlab", "post", {"X-Gitlab-Token": world.more["MODSYNC_HOOK"] + "x"})
        ask(world, "/bad/lfs?go-get=1", "get", {"Authorization": f"Bearer {world.more['MODSYNC_DISCOVERY']}"})
        ends = fail_in_every_way(world, service)
    assert ends == [
        "lfs_missing", "pipeline_failed", "pipeline_refused", "gitlab_unavailable", "source_denied", "token_expired",
    ]  # fmt: skip
    assert arguments.looks > 20
    assert arguments.found == set()
    in_files(world)
    in_answers(world, service)
    assert not world.gitlab.refs(f"{MIRRORS}/bad/lfs")


def in_files(world: SecretWorld) -> None:
    """Logs, the database, Redis' files, caches, git's configurations."""
    paths = [path for name in ("data", "logs") for path in (world.root / name).rglob("*") if path.is_file()]
    assert any(path.name == "config" for path in paths), "no git configuration was looked at"
    assert any(path.suffix == ".db" for path in paths)
    for path in paths:
        content = path.read_bytes()
        found = [secret for secret in world.secrets if secret.encode() in content]
        assert not found, f"a secret is in {path.relative_to(world.root)}"


def in_answers(world: SecretWorld, service: Service) -> None:
    """Pages, the API, the metrics."""
    runs = requests.get(f"{world.url}/api/runs", headers=service.authorization, timeout=10).json()["runs"]
    places = ["/", "/metrics", "/api/runs", "/api/gitlab", *(f"/api/runs/{run['id']}" for run in runs)]
    places += [f"/runs/{run['id']}" for run in runs]
    for place in places:
        text = ask(world, place, "get", {**service.authorization, "Accept": "text/html"})
        assert not [secret for secret in world.secrets if secret in text], place


def ask(world: World, path: str, method: str, headers: dict[str, str]) -> str:
    """What modsync answers, headers included."""
    answer = requests.request(method, world.url + path, headers=headers, timeout=10)
    return f"{answer.headers}\n{answer.text}"
