"""The shipped nginx configuration under a real nginx: what a client and the upstreams see of it."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.nginx_world import PRIVATE, PUBLIC, Front, needs_nginx, nginx, wait_for
from tests.sandbox.bad_servers import module_pages, redirect, text
from tests.sandbox.processes import run

pytestmark = needs_nginx

BASE = f"/{PRIVATE}/@v"
PUBLIC_BASE = "/github.com/!public/lib/@v"
DOCS = Path(__file__).parents[2] / "docs"
YEAR = "public, max-age=31536000, immutable"
BRIEF = "public, max-age=30"
MISS = "public, max-age=5"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """For tests that leave no state behind but entries of their own in the cache."""
    with nginx(tmp_path_factory.mktemp("front")) as front:
        yield front


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with nginx(tmp_path) as front:
        yield front


def test_go_downloads_private_and_public_modules_through_it(front: Front) -> None:
    front.public.pages.update(module_pages("github.com/Public/lib/v2", "v2.0.0"))
    machine = front.machine(GONOSUMDB="go.corp.example,github.com/Public")
    for query in (f"{PRIVATE}@v1.0.0", f"{PRIVATE}@latest", f"{PUBLIC}@v1.0.0", f"{PUBLIC}/v2@v2.0.0"):
        done = machine.go("mod", "download", query)
        assert done.returncode == 0, done.stderr
    assert all(path.startswith(f"/{PRIVATE}/") for path in front.private.asked)
    assert all(path.startswith("/github.com/%21public/lib/") for path in front.public.asked)


def test_the_second_go_is_served_from_the_cache_with_the_upstreams_down(front: Front) -> None:
    machine = front.machine()
    assert machine.go("mod", "download", f"{PRIVATE}@v1.0.0").returncode == 0
    asked = list(front.private.asked)
    front.servers["private"].stop()
    assert machine.go("mod", "download", f"{PRIVATE}@v1.0.0").returncode == 0
    assert front.private.asked == asked
    assert "502" in machine.download(f"{PRIVATE}@v1.1.0")


CONTROL = [
    (f"{BASE}/v1.0.0.info", 200, YEAR),
    (f"{BASE}/v1.0.0.mod", 200, YEAR),
    (f"{BASE}/v1.0.0.zip", 200, YEAR),
    (f"{BASE}/list", 200, BRIEF),
    (f"/{PRIVATE}/@latest", 200, BRIEF),
    (f"{BASE}/v9.9.9.info", 404, MISS),
    (f"{BASE}/v9.9.9.zip", 404, MISS),
    (f"{PUBLIC_BASE}/v1.0.0.zip", 200, YEAR),
    ("/sumdb/sum.golang.org/latest", 200, BRIEF),
    ("/sumdb/sum.golang.org/supported", 200, "public, max-age=300"),
]


@pytest.mark.parametrize(("path", "status", "control"), CONTROL)
def test_cache_control_by_kind(shared: Front, path: str, status: int, control: str) -> None:
    for _ in range(2):
        reply = shared.get(path)
        assert (reply.status, reply.headers["cache-control"]) == (status, control)


@pytest.mark.parametrize(
    ("query", "control"),
    [
        ("v1", BRIEF),
        ("v1.2", BRIEF),
        ("main", BRIEF),
        ("v1.2.3+meta", BRIEF),
        ("v1.2.3", YEAR),
        ("v1.2.4-rc.1", YEAR),
        ("v1.2.4-!r!c1", YEAR),
        ("v2.0.0+incompatible", YEAR),
        ("v0.0.0-20260102150405-abcdefabcdef", YEAR),
    ],
)
def test_only_whole_versions_are_kept_for_long(shared: Front, query: str, control: str) -> None:
    """`v1.2`, a branch and the like ask for the newest: their answer changes."""
    shared.private.pages[f"{BASE}/{query}.info"] = text("{}", kind="application/json")
    assert shared.get(f"{BASE}/{query}.info").headers["cache-control"] == control


def test_errors_are_neither_kept_nor_said_to_be_keepable(front: Front) -> None:
    front.private.pages[f"{BASE}/v3.0.0.info"] = text("broken", status=500)
    reply = front.get(f"{BASE}/v3.0.0.info")
    assert (reply.status, reply.headers["cache-control"]) == (500, "no-store")
    front.private.pages[f"{BASE}/v3.0.0.info"] = text("{}")
    assert front.get(f"{BASE}/v3.0.0.info").status == 200


def test_the_upstreams_own_caching_headers_do_not_count(front: Front) -> None:
    front.private.pages[f"{BASE}/v4.0.0.mod"] = text("module m\n", Cache_Control="no-store", Set_Cookie="a=b", Vary="*")
    first, second = front.get(f"{BASE}/v4.0.0.mod"), front.get(f"{BASE}/v4.0.0.mod")
    assert (first.cache, second.cache) == ("MISS", "HIT")
    assert second.headers["cache-control"] == YEAR
    assert "set-cookie" not in first.headers


def test_a_miss_is_asked_again_soon(front: Front) -> None:
    assert front.get(f"{BASE}/v1.1.0.info").status == 404
    front.private.pages.update(module_pages(PRIVATE, "v1.0.0", "v1.1.0"))
    assert front.get(f"{BASE}/v1.1.0.info").cache == "HIT"
    wait_for(lambda: front.get(f"{BASE}/v1.1.0.info").status == 200)


@pytest.mark.slow
def test_a_stale_list_serves_while_the_upstream_is_down_or_broken(tmp_path: Path) -> None:
    with nginx(tmp_path) as front:
        assert front.get(f"{BASE}/list", X_Goproxy_Refresh="1").status == 200
        front.servers["private"].stop()
        wait_for(lambda: front.get(f"{BASE}/list").cache == "STALE", 60)
        reply = front.get(f"{BASE}/list")
        assert (reply.status, reply.body) == (200, b"v1.0.0\n")
        front.private.pages[f"{BASE}/list"] = text("broken", status=503)
        front.servers["private"].start()
        assert front.get(f"{BASE}/list").body == b"v1.0.0\n"
        front.private.pages[f"{BASE}/list"] = text("v1.0.0\nv1.1.0\n")
        assert front.get(f"{BASE}/list").body == b"v1.0.0\nv1.1.0\n"


def test_nothing_kept_and_the_upstream_down_is_an_error(front: Front) -> None:
    front.servers["private"].stop()
    assert front.get(f"{BASE}/list").status == 502


def test_a_refresh_replaces_what_is_kept(front: Front) -> None:
    assert front.get(f"{BASE}/v1.0.0.mod").cache == "MISS"
    front.private.pages[f"{BASE}/v1.0.0.mod"] = text("module mended\n")
    assert front.get(f"{BASE}/v1.0.0.mod").body != b"module mended\n"
    assert front.get(f"{BASE}/v1.0.0.mod", X_Goproxy_Refresh="1").cache == "BYPASS"
    again = front.get(f"{BASE}/v1.0.0.mod")
    assert (again.cache, again.body) == ("HIT", b"module mended\n")


def test_a_modules_files_can_be_dropped_from_the_cache(front: Front) -> None:
    """With the command that docs/nginx.md shows."""
    for path in (f"{BASE}/v1.0.0.mod", f"{BASE}/list", f"{PUBLIC_BASE}/v1.0.0.mod"):
        assert front.get(path).cache == "MISS"
    assert len(purge(front, "nginx", {"go.corp.example/x": PRIVATE})) == 2
    assert front.get(f"{BASE}/v1.0.0.mod").cache == "MISS"
    assert front.get(f"{PUBLIC_BASE}/v1.0.0.mod").cache == "HIT"


def purge(front: Front, guide: str, names: dict[str, str]) -> list[str]:
    """The files that are gone after the command of docs/`guide`.md was run with these names in place of its own."""
    (script,) = re.findall(r"^    (grep -rla.*)$", (DOCS / f"{guide}.md").read_text(), re.MULTILINE)
    for name, value in {**names, "/var/cache/nginx/goproxy": f"{front.root}/cache"}.items():
        script = script.replace(name, value)
    return run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, check=True).stderr.decode().split()


@pytest.mark.parametrize(
    ("module", "version"),
    [(PRIVATE, "v1.0.0"), ("github.com/!public/lib", "v1.0.0"), ("github.com/!public/lib", "v2.0.0+incompatible")],
)
def test_one_version_can_be_dropped_from_the_cache(front: Front, module: str, version: str) -> None:
    """With the command that docs/athens.md shows."""
    front.public.pages |= module_pages(PUBLIC, "v1.0.0", "v2.0.0+incompatible", "v1.0.0-0")
    gone, kept = (f"/{module}/@v/{version}.mod", f"/{module}/@v/{version}.zip"), f"{PUBLIC_BASE}/v1.0.0-0.mod"
    assert [front.get(path).cache for path in (*gone, kept)] == ["MISS"] * 3
    assert len(purge(front, "athens", {"MODULE": module, "VERSION": version})) == len(gone)
    assert [front.get(path).cache for path in (*gone, kept)] == ["MISS", "MISS", "HIT"]


def test_strangers_cannot_refresh(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "deploy/nginx/goproxy/cache.conf"
    with nginx(tmp_path, cache=shipped.read_text().replace("127.0.0.1 1;", "127.0.0.2 1;")) as front:
        front.get(f"{BASE}/v1.0.0.mod")
        assert front.get(f"{BASE}/v1.0.0.mod", X_Goproxy_Refresh="1").cache == "HIT"


def test_a_public_upstream_with_another_certificate_is_not_believed(tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[2] / "deploy/nginx/goproxy/upstreams.conf").read_text()
    wrong = shipped.replace("public  proxy.golang.org;", "public  goproxy.other.example;")
    with nginx(tmp_path, upstreams=wrong) as front:
        assert front.get(f"{PUBLIC_BASE}/list").status == 502
        assert front.public.asked == []


def test_an_artifactory_virtual_repository_as_the_public_side(tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[2] / "deploy/nginx/goproxy/upstreams.conf").read_text()
    virtual = shipped.replace(
        "public  https://goproxy_public;", "public  https://goproxy_public/artifactory/api/go/go-virtual;"
    ).replace('default "";', 'default ""; public "Bearer for-artifactory";')
    with nginx(tmp_path, upstreams=virtual) as front:
        front.get(f"{PUBLIC_BASE}/list")
        front.get(f"{BASE}/list")
        assert front.public.asked == [f"/artifactory/api/go/go-virtual{PUBLIC_BASE}/list"]
        assert front.public.headers[0]["AUTHORIZATION"] == "Bearer for-artifactory"
        assert "AUTHORIZATION" not in front.private.headers[0]


def test_a_redirect_of_an_upstream_is_passed_on_and_not_kept(shared: Front) -> None:
    shared.public.pages["/github.com/public/far/@v/v1.0.0.zip"] = redirect("https://storage.example/far.zip")
    for _ in range(2):
        reply = shared.get("/github.com/public/far/@v/v1.0.0.zip")
        assert (reply.status, reply.headers["location"]) == (302, "https://storage.example/far.zip")
        assert (reply.cache, reply.headers["cache-control"]) == ("MISS", "no-store")


def test_a_large_zip_comes_whole_and_is_kept(front: Front) -> None:
    content = bytes(range(256)) * 4096 * 60  # 60 MiB
    front.private.pages[f"{BASE}/v5.0.0.zip"] = (200, {"Content-Type": "application/zip"}, content)
    first, second = front.get(f"{BASE}/v5.0.0.zip"), front.get(f"{BASE}/v5.0.0.zip", Range="bytes=1000-1999")
    assert first.body == content
    assert (second.status, second.cache, second.body) == (206, "HIT", content[1000:2000])


def test_the_access_log_is_json_with_cache_state_and_module(front: Front) -> None:
    front.get(f"{PUBLIC_BASE}/v1.0.0.zip", User_Agent='evil"\n\\x'.replace("\n", ""))
    front.get(f"{PUBLIC_BASE}/v1.0.0.zip")
    wait_for(lambda: front.log.read_text().count("\n") >= 2)
    lines = [json.loads(line) for line in front.log.read_text().splitlines()]
    assert [line["cache"] for line in lines] == ["MISS", "HIT"]
    assert {(line["module"], line["version"], line["private"]) for line in lines} == {
        ("github.com/!public/lib", "v1.0.0", "0")
    }
    assert lines[0]["agent"] == 'evil"\\x'


def test_health_and_status(shared: Front) -> None:
    assert shared.get("/healthz").body == b"ok\n"
    assert b"Active connections" in shared.get("/nginx-status").body


def test_many_clients_make_one_fetch(front: Front) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: front.get(f"{BASE}/v1.0.0.zip").status, range(16)))
    assert replies == [200] * 16
    assert len(front.private.asked) == 1
