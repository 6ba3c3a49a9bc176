"""Runs full of failures with known secret values: none of them is in a log, a row, a page, an argument or a git config.

The same goes for the person whom a careless server names in what it refuses.
"""

import secrets
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.e2e import secret_places
from tests.e2e.secret_places import Place
from tests.sandbox.gitlab import faults
from tests.sandbox.modules import HOST, make_plain
from tests.sandbox.platform import basic
from tests.sandbox.service import Service
from tests.sandbox.webhook import Delivered
from tests.sandbox.world import MIRRORS, World
from tests.unit.test_web_routes import ROUTES

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
        self.proxy.token = self.more["MODSYNC_PROXY"]
        self.gitlab.set_variable("MODSYNC_PROXY_TOKEN", self.proxy.token, masked=True)
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


def send(world: World, repository: str, **fields: Any) -> Delivered:
    release = make_plain(world.platform, world.mirrored(repository)).releases["v1.0.0"]
    return world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release, **fields)


def code(service: Service, delivered: Delivered) -> str:
    """How the run ended."""
    run = service.wait_for(delivered.json["runs"][0]["id"], "done", "failed", "rejected", seconds=90)
    return str(run["error"]["code"]) if run["error"] else str(run["status"])


def echo(world: World) -> str:
    """What a careless GitLab could answer: whom it knows, and the credentials that it got, as they are and as git sends them."""
    person = f"author {PERSON[0]} <{PERSON[1]}>, {PERSON[1]}"
    return f"{person}; {world.gitlab_token}; Authorization: {basic(world.gitlab_token, 'oauth2')}"


def refused_by_gitlab(world: SecretWorld, service: Service) -> str:
    """By its hook: somebody turned Git LFS on in the mirror, and did not push the objects."""
    module = make_plain(world.platform, world.mirrored("bad/lfs"))
    first = world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, module.releases["v1.0.0"])
    assert code(service, first) == "done"
    world.gitlab.project(f"{MIRRORS}/bad/lfs").settings["lfs_enabled"] = True
    release = module.release("v1.1.0", LFS)
    return code(service, world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release))


def fail_in_every_way(world: SecretWorld, service: Service) -> list[str]:
    """The codes of the runs, in order."""
    ends = [refused_by_gitlab(world, service)]
    world.proxy.stop()
    ends.append(code(service, send(world, "bad/proxy")))
    world.proxy.start()
    world.gitlab.faults.add("POST .*/pipeline$", faults.status(400, f'{{"message":{{"base":["{echo(world)}"]}}}}'))
    ends.append(code(service, send(world, "bad/refused")))
    world.gitlab.faults.add("git-receive-pack", faults.status(500, echo(world)), times=99)
    ends.append(code(service, send(world, "bad/push")))
    world.gitlab.faults.clear()
    ends += fail_at_the_end(world, service)
    world.gitlab.revoke(world.gitlab_token)
    ends.append(waits(service, send(world, "bad/login")))  # until GitLab may be asked again
    world.platform.token = "another"
    ends += refused_by_the_source(world, service)
    world.platform.token = world.clone_token
    return ends


def refused_by_the_source(world: SecretWorld, service: Service) -> list[str]:
    """The clone token: one release ends, the repository's next waits until it may be asked with this token again."""
    module = make_plain(world.platform, world.mirrored("bad/source"), "v1.0.0", "v1.1.0")
    hook = f"{world.url}/webhooks/platform"
    first = code(service, world.platform.webhook(hook, world.secret, module.releases["v1.0.0"]))
    return [first, waits(service, world.platform.webhook(hook, world.secret, module.releases["v1.1.0"]))]


def waits(service: Service, delivered: Delivered) -> str:
    """The error that its run waits with."""
    run = delivered.json["runs"][0]["id"]
    service.until(lambda: bool(service.run(run)["error"]), f"run {run} to meet its error")
    return str(service.run(run)["error"]["code"])


def fail_at_the_end(world: SecretWorld, service: Service) -> list[str]:
    """In stage verify, with the proxy's token: taken, and then said back by a careless proxy."""
    ends = [code(service, send(world, "good/one"))]
    said = f"{PERSON[0]} <{PERSON[1]}>: {{authorization}}"
    for status, body in ((403, said), (500, said), (418, said), (200, f'{{"Sent": "{said}"}}'), (200, said)):
        world.proxy.answer_agent("modsync/", status, body)
        ends.append(code(service, send(world, f"bad/answer-{len(ends)}")))
    world.proxy.answer_agent("modsync/", None)
    world.proxy.serve_other_content(f"{HOST}/bad/other", "v1.0.0", b"PK: no zip " + world.proxy.token.encode())
    return [*ends, code(service, send(world, "bad/other"))]


def test_no_secret_is_anywhere_after_runs_full_of_failures(world: SecretWorld, service: Service) -> None:
    with Arguments(world.secrets) as arguments:
        assert send(world, "bad/forged", forge=True).status == 401
        ask(world, "/hooks/gitlab", "post", {"X-Gitlab-Token": world.more["MODSYNC_HOOK"] + "x"})
        ask(world, "/bad/lfs?go-get=1", "get", {"Authorization": f"Bearer {world.more['MODSYNC_DISCOVERY']}"})
        ends = fail_in_every_way(world, service)
        in_pages(world, service)
    assert ends == [
        "lfs_missing", "pipeline_failed", "pipeline_refused", "gitlab_unavailable",
        "done", "proxy_denied", "proxy_unreachable", "proxy_not_goproxy", "proxy_not_goproxy", "proxy_not_goproxy",
        "zip_not_a_module", "token_expired", "source_denied", "source_unreachable",
    ]  # fmt: skip
    assert arguments.looks > 20
    assert arguments.found == set()
    in_files(world, service)
    in_rows(world)
    in_redis(world)
    assert "refs/tags/v1.1.0" not in world.gitlab.refs(f"{MIRRORS}/bad/lfs")


def nothing_in(world: SecretWorld, places: Iterable[Place]) -> list[Place]:
    """The places again; none of them may hold a secret."""
    wanted = [secret.encode() for secret in world.secrets]
    looked = list(places)
    assert [name for name, content in looked if any(secret in content for secret in wanted)] == []
    return looked


def in_files(world: SecretWorld, service: Service) -> None:
    """All logs, the database, Redis' files, caches, git's configurations."""
    names = [name for name, _ in nothing_in(world, secret_places.files(world.root, "data", "logs"))]
    assert any(name.endswith("/config") for name in names), "no git configuration was looked at"
    assert any(name.endswith(".db") for name in names)
    assert {f"logs/{role}.log" for role in service.processes} <= set(names)


def in_rows(world: SecretWorld) -> None:
    """Every value of the database."""
    (database,) = (world.root / "data").glob("*.db")
    tables = {name for name, _ in nothing_in(world, secret_places.rows(database))}
    assert {"table runs", "table attempts", "table steps", "table deliveries", "table releases"} <= tables


def in_redis(world: SecretWorld) -> None:
    """Jobs, and the exceptions of those that failed."""
    looked = nothing_in(world, secret_places.redis_values(world.root / "data"))
    raised = [content for _, content in looked if b"Traceback" in content and b"RunFailedError" in content]
    assert len(raised) >= 10


def in_pages(world: SecretWorld, service: Service) -> None:
    """Every page, the API, the metrics, RQ's dashboard: for each run, delivery, job and module that there is."""
    answered = set[str]()
    nothing_in(world, secret_places.pages(world.url, service.authorization, values(world, service), answered))
    rules = {rule for rule, methods in ROUTES.items() if "GET" in methods}
    assert rules - answered == {"/rq/requeue/<queue_name>"}, "nothing was shown by these"


def values(world: SecretWorld, service: Service) -> dict[str, list[str]]:
    """What the routes' parts can be here."""
    runs = listed(world, service, "runs")
    jobs = [str(run["job"]) for run in runs if run["job"]]
    names = [
        f"{place}/{repository}" for place in (HOST, MIRRORS) for repository in ("good/one", "bad/other", "bad/push")
    ]
    fixed = {
        "source": "platform", "instance_number": "0", "queue_name": "live", "per_page": "50", "order": "asc", "page": "1",
    }  # fmt: skip
    return {
        **{name: [value] for name, value in fixed.items()},
        "identifier": [str(each["id"]) for each in (*runs, *listed(world, service, "deliveries"))],
        "job_id": jobs, "name": names, "filename": ["style.css", "css/main.css"],
        "registry_name": ["queued", "failed", "finished", "started"],
    }  # fmt: skip


def listed(world: SecretWorld, service: Service, what: str) -> list[dict[str, Any]]:
    answer = requests.get(f"{world.url}/api/{what}?limit=100", headers=service.authorization, timeout=10)
    found: list[dict[str, Any]] = answer.json()[what]
    assert found
    return found


def ask(world: World, path: str, method: str, headers: dict[str, str]) -> str:
    """What modsync answers, headers included."""
    answer = requests.request(method, world.url + path, headers=headers, timeout=10)
    return f"{answer.headers}\n{answer.text}"
