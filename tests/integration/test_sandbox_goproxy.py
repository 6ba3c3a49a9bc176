"""The sandbox's private Go proxy, and `go` as its upstream and as its client; the platform stands for the mirror."""

import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import requests

from tests.sandbox.discovery import by_root
from tests.sandbox.goclient import GoClient
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.goproxy_paths import escape, order, unescape
from tests.sandbox.looked_at import arguments, named
from tests.sandbox.modules import HOST, PROGRAM, Module, make_ledger, make_plain
from tests.sandbox.platform import Platform, basic
from tests.sandbox.serve import LoopbackServer

TOKEN = "mirror-token"


@dataclass
class World:
    """A mirror that needs a token, and a proxy that has it."""

    mirror: Platform
    proxy: GoProxy
    roots: dict[str, str]
    directory: Path

    def publish(self, repository: str) -> None:
        self.roots[f"{HOST}/{repository}"] = self.mirror.clone_url(repository)

    def plain(self, *versions: str) -> Module:
        """A published module `misc`."""
        self.publish("misc")
        return make_plain(self.mirror, "misc", *versions)

    def ask(self, path: str, method: str = "GET") -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{self.proxy.url}/{path}", timeout=60)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    roots: dict[str, str] = {}
    with Platform(tmp_path / "mirror", token=TOKEN) as mirror:
        credentials = {mirror.url: basic(TOKEN)}
        with GoProxy(tmp_path / "proxy", by_root(roots), credentials=credentials) as proxy:
            yield World(mirror, proxy, roots, tmp_path)


def offspring() -> list[str]:
    """Command lines of the processes below this one that are `go` or git."""
    return arguments(named("go", "git"))


def test_a_release_is_answered_as_the_protocol_says(world: World) -> None:
    commit = world.plain("v1.0.0", "v1.1.0").releases["v1.1.0"].commit
    info = world.ask(f"{HOST}/misc/@v/v1.1.0.info")
    assert (info.status_code, info.headers["Content-Type"]) == (200, "application/json")
    assert info.json()["Version"] == "v1.1.0"
    assert info.json()["Origin"]["Hash"] == commit
    mod = world.ask(f"{HOST}/misc/@v/v1.1.0.mod")
    assert (mod.headers["Content-Type"], mod.text) == ("text/plain; charset=utf-8", f"module {HOST}/misc\n\ngo 1.21\n")
    archive = world.ask(f"{HOST}/misc/@v/v1.1.0.zip")
    assert (archive.headers["Content-Type"], archive.content[:2]) == ("application/zip", b"PK")
    assert world.proxy.fetches == [f"{HOST}/misc@v1.1.0"]


def test_list_and_latest_come_from_the_mirror_and_from_what_is_stored(world: World) -> None:
    world.plain("v1.0.0", "v1.10.0", "v1.9.0", "v2.0.0-bad")
    assert world.ask(f"{HOST}/misc/@v/list").text == "v1.0.0\nv1.9.0\nv1.10.0\n"
    assert world.ask(f"{HOST}/misc/@latest").json()["Version"] == "v1.10.0"
    world.ask(f"{HOST}/misc/@v/v1.9.0.info")
    world.proxy.upstream_list = False
    assert world.ask(f"{HOST}/misc/@v/list").text == "v1.9.0\n"
    assert world.ask(f"{HOST}/misc/@latest").json()["Version"] == "v1.9.0"


def test_stored_versions_are_listed_when_the_mirror_is_gone(world: World) -> None:
    world.plain("v1.0.0", "v1.1.0")
    world.ask(f"{HOST}/misc/@v/v1.0.0.info")
    world.mirror.stop()
    assert world.ask(f"{HOST}/misc/@v/list").text == "v1.0.0\n"
    assert world.ask(f"{HOST}/misc/@v/v1.0.0.zip").status_code == 200
    assert world.ask(f"{HOST}/other/@v/list").status_code == 404


def test_a_branch_is_answered_with_the_version_it_stands_for(world: World) -> None:
    world.plain("v1.0.0")
    world.mirror.commit("misc", {"more.go": "package misc\n"}, "More")
    assert world.ask(f"{HOST}/misc/@v/main.info").json()["Version"].startswith("v1.0.1-0.2026010509")
    assert world.ask(f"{HOST}/misc/@v/list").text == "v1.0.0\n"


def test_head_has_no_body(world: World) -> None:
    world.plain()
    answer = world.ask(f"{HOST}/misc/@v/v1.0.0.zip", "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


def test_a_miss_is_a_short_404_and_is_not_remembered(world: World) -> None:
    make_plain(world.mirror, "misc")
    early = world.ask(f"{HOST}/misc/@v/v1.0.0.info")
    assert (early.status_code, early.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
    assert len(early.text) < 80
    assert "go-get=1: 404 Not Found" in world.proxy.failures[f"{HOST}/misc@v1.0.0"]
    world.publish("misc")
    assert world.ask(f"{HOST}/misc/@v/v1.0.0.info").status_code == 200
    assert [request.status for request in world.proxy.requests] == [404, 200]


def test_without_its_token_the_proxy_gets_nothing(world: World) -> None:
    world.plain()
    world.mirror.token = "another"
    assert world.ask(f"{HOST}/misc/@v/v1.0.0.info").status_code == 404
    assert "terminal prompts disabled" in world.proxy.failures[f"{HOST}/misc@v1.0.0"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{HOST}/Misc/@v/list", 400),
        ("GET", f"{HOST}/misc!/@v/list", 400),
        ("GET", f"{HOST}/../@v/list", 400),
        ("GET", "misc/@latest", 400),
        ("GET", f"{HOST}/misc/@v/V1.info", 400),
        ("GET", f"{HOST}/misc/@v/-x.info", 400),
        ("GET", f"{HOST}/misc/@v/v1.0.0.exe", 404),
        ("GET", f"{HOST}/misc", 404),
        ("GET", "sumdb/sums.example/supported", 404),
        ("POST", f"{HOST}/misc/@v/v1.0.0.info", 405),
        ("GET", "healthz", 200),
    ],
)
def test_other_paths(world: World, method: str, path: str, status: int) -> None:
    prepared = requests.Request(method, world.proxy.url).prepare()
    prepared.url = f"{world.proxy.url}/{path}"  # `..` must arrive as it is
    with requests.Session() as session:
        assert session.send(prepared, timeout=30, proxies={}).status_code == status
    assert world.proxy.fetches == []


def test_upper_case_is_escaped(world: World) -> None:
    make_plain(world.mirror, "Payments/Core", "v1.0.0-RC1", path=f"{HOST}/Payments/Core")
    world.publish("Payments/Core")
    answer = world.ask(f"{HOST}/!payments/!core/@v/v1.0.0-!r!c1.info")
    assert answer.json()["Version"] == "v1.0.0-RC1"
    client = GoClient(world.directory / "client", world.proxy.url)
    assert client.download(f"{HOST}/Payments/Core@v1.0.0-RC1").get("Error") is None


def test_concurrent_misses_of_one_version_fetch_once(world: World) -> None:
    world.plain()
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(world.ask, [f"{HOST}/misc/@v/v1.0.0.{kind}" for kind in ("info", "mod", "zip") * 3]))
    assert {answer.status_code for answer in answers} == {200}
    assert world.proxy.fetches == [f"{HOST}/misc@v1.0.0"]


def test_a_moved_tag_changes_nothing_that_is_stored(world: World) -> None:
    releases = world.plain("v1.0.0", "v1.1.0").releases
    client = GoClient(world.directory / "client", world.proxy.url)
    before = client.download(f"{HOST}/misc@v1.0.0")
    world.mirror.move_tag("misc", "v1.0.0", releases["v1.1.0"].commit)
    client.forget()
    after = client.download(f"{HOST}/misc@v1.0.0")
    assert (after["Sum"], after["Origin"]["Hash"]) == (before["Sum"], releases["v1.0.0"].commit)
    assert world.proxy.fetches == [f"{HOST}/misc@v1.0.0"]


def test_down_is_refused_and_what_was_stored_is_back(world: World) -> None:
    world.plain()
    world.ask(f"{HOST}/misc/@v/v1.0.0.info")
    world.proxy.stop()
    client = GoClient(world.directory / "client", world.proxy.url)
    assert "connection refused" in client.download(f"{HOST}/misc@v1.0.0")["Error"]
    world.proxy.start()
    assert client.download(f"{HOST}/misc@v1.0.0")["Version"] == "v1.0.0"
    assert len(world.proxy.fetches) == 1


def test_async_mode_answers_404_until_the_version_is_there(world: World) -> None:
    world.plain()
    world.proxy.mode = "async"
    assert world.ask(f"{HOST}/misc/@v/v1.0.0.info").status_code == 404
    world.proxy.settle()
    assert world.ask(f"{HOST}/misc/@v/v1.0.0.info").status_code == 200
    assert len(world.proxy.fetches) == 1


def test_faults_and_delays_can_be_switched_on(world: World) -> None:
    world.plain()
    world.proxy.delay_seconds = 0.05
    world.proxy.fail_next(2, 502)
    statuses = [world.ask(f"{HOST}/misc/@v/v1.0.0.info").status_code for _ in range(3)]
    assert statuses == [502, 502, 200]
    assert min(request.seconds for request in world.proxy.requests) >= 0.05


def test_other_content_is_served_as_long_as_it_is_told(world: World) -> None:
    world.plain()
    path = f"{HOST}/misc/@v/v1.0.0.zip"
    genuine = world.ask(path).content
    world.proxy.serve_other_content(f"{HOST}/misc", "v1.0.0", b"not a zip")
    assert world.ask(path).content == b"not a zip"
    client = GoClient(world.directory / "client", world.proxy.url)
    assert "not a valid zip file" in client.download(f"{HOST}/misc@v1.0.0")["Error"]
    world.proxy.serve_other_content(f"{HOST}/misc", "v1.0.0", None)
    assert world.ask(path).content == genuine


@pytest.mark.parametrize("major", ["branch", "directory"])
def test_three_kinds_of_module_come_through(world: World, major: str) -> None:
    ledger = make_ledger(world.mirror, major=major)
    world.publish("payments/ledger")
    client = GoClient(world.directory / "client", world.proxy.url)
    answers = [client.download(release.query) for release in ledger.trio]
    assert [answer.get("Error") for answer in answers] == [None] * 3
    assert [answer["Origin"]["Hash"] for answer in answers] == [release.commit for release in ledger.trio]
    declared = [Path(answer["GoMod"]).read_text().splitlines()[0] for answer in answers]
    assert declared == [f"module {release.module_path}" for release in ledger.trio]


def test_a_program_is_built_from_three_releases_through_the_proxy_alone(world: World) -> None:
    ledger = make_ledger(world.mirror)
    world.publish("payments/ledger")
    client = GoClient(world.directory / "client", world.proxy.url)
    built = client.build(PROGRAM)
    assert built.returncode == 0, built.stderr.decode()
    assert client.run_program().stderr == b"v1.2.0 v0.3.0 v2.0.0 250\n"
    assert sorted(world.proxy.fetches) == sorted(release.query for release in ledger.trio)


def test_a_proxy_that_goes_down_ends_its_fetches(tmp_path: Path) -> None:
    asked, over = threading.Event(), threading.Event()

    def hanging_mirror(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked.set()
        over.wait(60)
        start_response("503 Service Unavailable", [])
        return []

    with LoopbackServer(hanging_mirror) as mirror, ThreadPoolExecutor(1) as pool:
        proxy = GoProxy(tmp_path / "proxy", by_root({f"{HOST}/misc": f"{mirror.url}/misc.git"}))
        proxy.start()
        waiting = pool.submit(requests.get, f"{proxy.url}/{HOST}/misc/@v/v1.0.0.info", timeout=60)
        assert asked.wait(60)
        assert offspring()
        proxy.stop()
        assert offspring() == []
        assert isinstance(waiting.exception(), requests.ConnectionError)
        over.set()
        proxy.close()


def test_nothing_is_left_behind(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "GOPATH", "GOCACHE"):
        monkeypatch.setenv(name, str(elsewhere))
    world.plain()
    GoClient(world.directory / "client", world.proxy.url).download(f"{HOST}/misc@v1.0.0")
    world.proxy.close()
    world.mirror.close()
    assert offspring() == []
    assert list(elsewhere.iterdir()) == []
    assert list((tmp_path / "proxy/fetch").glob("fetch-*")) == []


def test_versions_sort_as_go_sorts_them() -> None:
    in_order = ["main", "v0.9.0", "v1.0.0-1", "v1.0.0-2", "v1.0.0-10", "v1.0.0-rc", "v1.0.0-rc.1", "v1.0.0", "v1.10.0"]
    shuffled = in_order[4:] + in_order[:4]
    assert sorted(shuffled, key=order) == in_order


@pytest.mark.parametrize("text", ["plain", "Two.Words", "ABC"])
def test_escaping_is_undone(text: str) -> None:
    assert unescape(escape(text)) == text


def test_go_gets_what_it_needs_from_json(world: World) -> None:
    world.plain()
    answer: dict[str, Any] = GoClient(world.directory / "client", world.proxy.url).download(f"{HOST}/misc@v1.0.0")
    assert json.loads(Path(answer["Info"]).read_text())["Version"] == "v1.0.0"
    assert answer["Sum"].startswith("h1:")
