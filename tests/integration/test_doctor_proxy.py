"""`modsync doctor proxy`: good proxies pass (the sandbox's, files under nginx and a plain server), wrong ones do not."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from click.testing import CliRunner

from app.cli_doctor import doctor
from app.domain.modules import ModulePath, Version
from app.services.checksum import zip_sums
from tests.integration.doctor_world import MODULE, QUERY, TREE, Machine
from tests.integration.nginx_world import PRIVATE, PUBLIC, needs_nginx, nginx, static_nginx
from tests.sandbox.bad_servers import LOGIN, Listener, Page, Pages, hanging, module_pages, module_zip, redirect, text
from tests.sandbox.discovery import by_root
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.modules import HOST, make_plain
from tests.sandbox.platform import Platform
from tests.sandbox.serve import LoopbackServer

UPPER, SECOND = "github.com/Corp/Tool", f"{MODULE}/v2"
PSEUDO = "v0.0.0-20260102150405-abcdefabcdef"
BASE = f"/{MODULE}/@v"


@dataclass
class World:
    machine: Machine
    up: ExitStack

    def serve(self, application: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]) -> str:
        return self.up.enter_context(LoopbackServer(application)).url

    def failed(self, url: str, *modules: str, more: tuple[str, ...] = ()) -> list[str]:
        """The names of the checks that failed; checks the exit status."""
        status, found = self.machine.doctor("proxy", url, *more, *(f"--module={each}" for each in modules or (QUERY,)))
        failed = [check["name"] for check in found["checks"] if check["result"] == "fail"]
        assert (status, found["passed"]) == ((1, False) if failed else (0, True))
        return failed


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as up:
        yield World(Machine.of(tmp_path / "machine"), up)


def everything() -> dict[str, Page]:
    """A module with all the protocol knows: two majors, upper case, a pseudo-version that no list shows."""
    pages = module_pages(MODULE, "v1.0.0", "v1.1.0") | module_pages(SECOND, "v2.0.0") | module_pages(UPPER, "v0.3.0")
    hidden = module_pages(UPPER, PSEUDO)
    return hidden | pages | {path: page for path, page in hidden.items() if PSEUDO in path}


def test_a_conforming_proxy_passes_every_check(world: World) -> None:
    pages = everything() | {"/sumdb/sum.golang.org/supported": text(""), "/sumdb/sum.golang.org/latest": text(TREE)}
    url = world.serve(Pages(pages))
    archive = zip_sums(io.BytesIO(pages[f"{BASE}/v1.0.0.zip"][2]), ModulePath(MODULE), Version("v1.0.0"))
    wanted = (QUERY, f"{SECOND}@v2.0.0", f"{UPPER}@{PSEUDO}")
    arguments = ("proxy", url, "--h1", archive.h1_zip, *(f"--module={each}" for each in wanted))
    status, found = world.machine.doctor(*arguments)
    results = {check["name"]: check["result"] for check in found["checks"]}
    assert status == 0
    assert [name for name, result in results.items() if result == "fail"] == []
    for name in (f"h1 {QUERY}", "sumdb sum.golang.org", f"info {UPPER}@{PSEUDO}", f"{UPPER} unescaped is refused"):
        assert results.get(name) == "pass", name
    assert [name for name, result in results.items() if result == "skip"] == [
        name for name in results if name.startswith("h1 ") and name != f"h1 {QUERY}"
    ]


def test_the_sandbox_proxy_conforms(world: World, tmp_path: Path) -> None:
    roots: dict[str, str] = {}
    with Platform(tmp_path / "mirror") as mirror, GoProxy(tmp_path / "proxy", by_root(roots)) as proxy:
        make_plain(mirror, "misc", "v1.0.0", "v1.1.0")
        roots[f"{HOST}/misc"] = mirror.clone_url("misc")
        roots["modsync-doctor.invalid"] = mirror.clone_url("none")
        assert world.failed(proxy.url, f"{HOST}/misc", f"{HOST}/misc@v1.0.0", more=("--timeout=60",)) == []


def write(root: Path, pages: dict[str, Page]) -> None:
    """The pages as files: what GOPROXY=file:// reads, too."""
    for path, (_, _, body) in pages.items():
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)


def files_below(root: Path) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = root / str(environ["PATH_INFO"])[1:]
        known = path.is_file()
        body = path.read_bytes() if known else b"no such file\n"
        headers = [
            ("Content-Type", "application/octet-stream" if known else "text/plain"),
            ("Content-Length", str(len(body))),
        ]
        start_response("200 OK" if known else "404 Not Found", headers)
        return [body]

    return serve


def test_plain_files_conform_and_go_reads_them_without_a_server_too(world: World, tmp_path: Path) -> None:
    write(tmp_path / "files", everything())
    assert world.failed(world.serve(files_below(tmp_path / "files")), QUERY, UPPER, SECOND) == []
    machine = Machine.of(tmp_path / "other", GOPROXY=f"file://{tmp_path}/files")
    assert machine.go("mod", "download", QUERY).returncode == 0


@needs_nginx
def test_plain_files_under_nginx_conform(world: World, tmp_path: Path) -> None:
    write(tmp_path / "files", module_pages(MODULE, "v1.0.0") | module_pages(UPPER, "v0.3.0"))
    with static_nginx(tmp_path / "nginx", tmp_path / "files") as url:
        assert world.failed(url, QUERY, UPPER) == []
        machine = Machine.of(tmp_path / "other", GOPROXY=url)
        assert machine.go("mod", "download", QUERY).returncode == 0


@needs_nginx
def test_the_shipped_front_conforms(tmp_path: Path) -> None:
    with nginx(tmp_path / "front") as front:
        world = World(front.machine(), ExitStack())
        assert world.failed(front.url, f"{PRIVATE}@v1.0.0", PUBLIC) == []


def changing() -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """Serves another zip at each request."""
    numbers, good = count(), Pages(everything())

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        files = {"go.mod": f"module {MODULE}\n", "n.go": f"package n // {next(numbers)}\n"}
        good.pages[f"{BASE}/v1.0.0.zip"] = (200, {}, module_zip(MODULE, "v1.0.0", files))
        return good(environ, start_response)

    return serve


ZIP = f"{BASE}/v1.0.0.zip"
WRONG: list[tuple[str, dict[str, Page], list[str]]] = [
    ("list is a web page", {f"{BASE}/list": LOGIN}, [f"list {MODULE}"]),
    ("list with a pseudo-version", {f"{BASE}/list": text(f"v1.0.0\n{PSEUDO}\n")}, [f"list {MODULE}"]),
    ("list with a branch", {f"{BASE}/list": text("v1.0.0\nmain\n")}, [f"list {MODULE}"]),
    ("list missing", {f"{BASE}/list": text("", status=404)}, [f"list {MODULE}"]),
    (
        "list kept for a day",
        {f"{BASE}/list": text("v1.0.0\n", Cache_Control="max-age=86400")},
        [f"caching list, latest {MODULE}"],
    ),
    ("latest broken", {f"/{MODULE}/@latest": text("{}")}, [f"latest {MODULE}"]),
    ("info of another version", {f"{BASE}/v1.0.0.info": text('{"Version":"v1.0.1"}')}, [f"info {QUERY}"]),
    ("info with a broken time", {f"{BASE}/v1.0.0.info": text('{"Version":"v1.0.0","Time":"soon"}')}, [f"info {QUERY}"]),
    ("info is not JSON", {f"{BASE}/v1.0.0.info": text("v1.0.0")}, [f"info {QUERY}"]),
    ("mod of another module", {f"{BASE}/v1.0.0.mod": text("module a.b/c\n")}, [f"mod {QUERY}", f"go.mod {QUERY}"]),
    ("mod unlike the zip's", {f"{BASE}/v1.0.0.mod": text(f"module {MODULE}\n\ngo 1.21\n")}, [f"go.mod {QUERY}"]),
    ("zip is a web page", {ZIP: LOGIN}, [f"zip {QUERY}", f"content types {QUERY}"]),
    (
        "zip of another module",
        {ZIP: (200, {}, module_zip("a.b/c", "v1.0.0", {"go.mod": "module a.b/c\n"}))},
        [f"zip {QUERY}"],
    ),
    ("zip is cut off", {ZIP: (200, {}, module_pages(MODULE, "v1.0.0")[ZIP][2][:-40])}, [f"zip {QUERY}"]),
    (
        "zip never kept",
        {ZIP: (200, {"Cache-Control": "no-store"}, module_pages(MODULE, "v1.0.0")[ZIP][2])},
        [f"caching info, mod, zip {QUERY}"],
    ),
    ("sumdb claimed, not passed", {"/sumdb/sum.golang.org/supported": text("")}, ["sumdb sum.golang.org"]),
    ("sumdb question refused", {"/sumdb/sum.golang.org/supported": text("", status=403)}, ["sumdb sum.golang.org"]),
]


@pytest.mark.parametrize(("pages", "wanted"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_a_wrong_proxy_fails(world: World, pages: dict[str, Page], wanted: list[str]) -> None:
    assert world.failed(world.serve(Pages(everything() | pages))) == wanted


MISSES = [
    "miss: a version that is not there (info)",
    "miss: the same (mod)",
    "miss: the same (zip)",
    "miss: a module that is not there",
    "miss: a major version that is not there",
]


@pytest.mark.parametrize(
    "other",
    [text("no", status=500), text("no", status=403), LOGIN, redirect("/login")],
    ids=["500", "403", "page", "redirect"],
)
def test_a_miss_must_be_404_or_410(world: World, other: Page) -> None:
    failed = world.failed(world.serve(Pages(everything() | {"/login": LOGIN}, other=other)))
    assert [name for name in failed if name.startswith("miss")] == MISSES
    assert "unknown kind of file is refused" in failed


def test_a_miss_kept_for_long(world: World) -> None:
    other = text("no", status=404, Cache_Control="public, max-age=1800")
    assert world.failed(world.serve(Pages(everything(), other=other))) == ["caching of a miss"]


def test_bytes_that_change(world: World) -> None:
    assert world.failed(world.serve(changing())) == [f"repeat zip {QUERY}"]


def test_an_h1_that_differs(world: World) -> None:
    wrong = "h1:" + "A" * 43 + "="
    assert world.failed(world.serve(Pages(everything())), more=("--h1", wrong)) == [f"h1 {QUERY}"]


def test_escaping_that_is_not_understood(world: World) -> None:
    """A server that knows the unescaped path only, as one does that serves a repository's own directories."""
    pages = everything()
    wrong = {path.replace("!c", "C").replace("!t", "T"): page for path, page in pages.items()}
    failed = world.failed(world.serve(Pages(wrong)), f"{UPPER}@v0.3.0")
    assert f"list {UPPER}" in failed
    assert f"{UPPER} unescaped is refused" in failed


def test_a_proxy_that_is_down_fails_everything_quickly(world: World) -> None:
    with Listener(hanging) as gone:
        url = gone.url
    assert f"list {MODULE}" in world.failed(url)


@pytest.mark.parametrize(
    "arguments", [("ftp://x",), ("http://x", "--module", "UPPER"), ("http://x", "--module", "a.b/c@1")]
)
def test_wrong_usage(world: World, arguments: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match="Usage"):
        world.machine.doctor("proxy", *arguments)


@pytest.mark.parametrize("module", ["x@1.4.0", "golang.org/x/mod@latest", "https://golang.org/x/mod", "foo"])
def test_what_is_no_module_is_not_replaced_by_another(module: str) -> None:
    done = CliRunner().invoke(doctor, ["--module", "golang.org/x/mod", "--module", module])
    assert done.exit_code == 2
    assert "Invalid value for --module" in done.output


def test_digests_are_of_the_whole_answer(world: World) -> None:
    """Repeats are compared to their end, not only in the beginning that other probes read."""
    big = module_zip(MODULE, "v1.0.0", {"go.mod": f"module {MODULE}\n", "b.go": "package b\n" + "// x\n" * 200_000})
    assert len(big) > 512 * 1024
    assert hashlib.sha256(big).digest() != hashlib.sha256(big[:65536]).digest()
    assert world.failed(world.serve(Pages(everything() | {ZIP: (200, {}, big)}))) == []
