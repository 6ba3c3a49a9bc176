"""`modsync doctor proxy`: one wrong proxy for each kind of check, which fails that check and no other."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.integration.doctor_world import MODULE, QUERY, Machine
from tests.integration.test_doctor_proxy import (
    BASE,
    MISSES,
    PSEUDO,
    SECOND,
    UPPER,
    WRONG,
    ZIP,
    World,
    changing,
    everything,
)
from tests.integration.test_go_info import REFUSED, of_version
from tests.sandbox.bad_servers import LOGIN, Page, Pages, module_pages, module_zip, text

Application = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]
ABSENT = f"{BASE}/v0.0.0-modsync-doctor"
NOWHERE = "/modsync-doctor.invalid/nothing/here/@v/v1.0.0.info"
FAR = f"/{MODULE}/v987654/@v/v987654.0.0.info"
TOP, HIDDEN = f"{SECOND}@v2.0.0", f"{UPPER}@{PSEUDO}"
PSEUDO_BASE = f"/github.com/!corp/!tool/@v/{PSEUDO}"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as up:
        yield World(Machine.of(tmp_path / "machine"), up)


def with_pages(pages: dict[str, Page]) -> Callable[[], Application]:
    return lambda: Pages(everything() | pages)


def another_go_mod_each_time() -> Application:
    """The same meaning, but other bytes; the zip is what it was."""
    numbers, good = count(), Pages(everything())

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        spaces = " " * (next(numbers) + 1)
        good.pages[f"{BASE}/v1.0.0.mod"] = text(f"module{spaces}{MODULE}\n")
        return good(environ, start_response)

    return serve


def one_spelling_only() -> Application:
    """Knows `!`, and not %21, which is what go sends."""
    good = Pages(everything())

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        encoded = "%21" in str(environ["REQUEST_URI"])
        return Pages()(environ, start_response) if encoded else good(environ, start_response)

    return serve


def any_letter_case() -> Application:
    """Files on a disk that does not tell upper case from lower: the unescaped path finds one, too."""
    pages = everything()
    return Pages(pages | {path.replace("!c", "C").replace("!t", "T"): page for path, page in pages.items()})


def typed(kind: str) -> Page:
    return 200, {"Content-Type": kind}, module_pages(MODULE, "v1.0.0")[ZIP][2]


INFO = text('{"Version":"v0.0.0-modsync-doctor","Time":"2026-01-02T15:04:05Z"}')
LATEST = text('{"Version":"v1.0.0","Time":"2026-01-02T15:04:05Z"}', Cache_Control="max-age=60, s-maxage=86400")
OTHERS = ("UTF-16", "a no-break space", "NaN")
ONE: list[tuple[str, Callable[[], Application], tuple[str, ...], list[str]]] = [
    ("zip as text", with_pages({ZIP: typed("text/plain")}), (QUERY,), [f"content types {QUERY}"]),
    ("mod as a page's type", with_pages({f"{BASE}/v1.0.0.mod": LOGIN}), (QUERY,),
     [f"mod {QUERY}", f"go.mod {QUERY}", f"content types {QUERY}"]),
    ("mod missing", with_pages({f"{BASE}/v1.0.0.mod": text("", status=404)}), (QUERY,),
     [f"mod {QUERY}", f"go.mod {QUERY}", f"repeat mod {QUERY}"]),
    ("list immutable", with_pages({f"{BASE}/list": text("v1.0.0\n", Cache_Control="immutable")}), (QUERY,),
     [f"caching list, latest {MODULE}"]),
    ("latest kept", with_pages({f"/{MODULE}/@latest": LATEST}), (QUERY,), [f"caching list, latest {MODULE}"]),
    ("list kept by a date", with_pages({f"{BASE}/list": text("v1.0.0\n", Expires="Fri, 01 Jan 2100 00:00:00 GMT")}), (QUERY,),
     [f"caching list, latest {MODULE}"]),
    ("mod never kept", with_pages({f"{BASE}/v1.0.0.mod": text(f"module {MODULE}\n", Cache_Control="No-Store")}), (QUERY,),
     [f"caching info, mod, zip {QUERY}"]),
    ("a missing zip kept", with_pages({f"{ABSENT}.zip": text("", 404, Cache_Control="public, max-age=86400")}), (QUERY,),
     ["caching of a miss"]),
    ("latest a page", with_pages({f"/{MODULE}/@latest": LOGIN}), (QUERY,), [f"latest {MODULE}"]),
    ("latest broken", with_pages({f"/{MODULE}/@latest": text("", status=500)}), (QUERY,), [f"latest {MODULE}"]),
    ("bytes of mod change", another_go_mod_each_time, (QUERY,), [f"go.mod {QUERY}", f"repeat mod {QUERY}"]),
    ("bytes of zip change", changing, (QUERY,), [f"repeat zip {QUERY}"]),
    ("a missing info answered", with_pages({f"{ABSENT}.info": INFO}), (QUERY,), MISSES[0:1]),
    ("a missing mod answered", with_pages({f"{ABSENT}.mod": text(f"module {MODULE}\n")}), (QUERY,), MISSES[1:2]),
    ("a missing zip answered", with_pages({f"{ABSENT}.zip": typed("application/zip")}), (QUERY,), MISSES[2:3]),
    ("a missing module answered", with_pages({NOWHERE: INFO}), (QUERY,), MISSES[3:4]),
    ("a missing major answered", with_pages({FAR: INFO}), (QUERY,), MISSES[4:5]),
    ("a miss kept", with_pages({f"{ABSENT}.info": text("", 404, Cache_Control="max-age=1800")}), (QUERY,),
     ["caching of a miss"]),
    ("any file answered", with_pages({f"{ABSENT}.tar": text("x")}), (QUERY,), ["unknown kind of file is refused"]),
    ("%21 not understood", one_spelling_only, (f"{UPPER}@v0.3.0",), [f"list {UPPER} (%21)"]),
    ("letter case not told apart", any_letter_case, (f"{UPPER}@v0.3.0",), [f"{UPPER} unescaped is refused"]),
    ("/v2 with the first major's go.mod", with_pages({f"/{SECOND}/@v/v2.0.0.mod": text(f"module {MODULE}\n")}), (TOP,),
     [f"mod {TOP}", f"go.mod {TOP}"]),
    ("/v2 with the first major's zip", with_pages({f"/{SECOND}/@v/v2.0.0.zip": (
        200, {}, module_zip(MODULE, "v2.0.0", {"go.mod": f"module {SECOND}\n"}))}), (TOP,), [f"zip {TOP}"]),
    ("pseudo-version as a tag", with_pages({f"{PSEUDO_BASE}.info": text('{"Version":"v0.3.0"}')}), (HIDDEN,),
     [f"info {HIDDEN}"]),
    ("pseudo-version unknown", with_pages({f"{PSEUDO_BASE}.{kind}": text("", 404) for kind in ("info", "mod", "zip")}),
     (HIDDEN,), [f"{check} {HIDDEN}" for check in ("info", "mod", "zip", "content types", "repeat mod", "repeat zip")]),
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_an_info_that_go_refuses(world: World, name: str) -> None:
    """A real `go` refuses it, too, and says why in words that `explain` knows; some bodies are no JSON from the first byte on."""
    body = of_version(REFUSED[name], "v1.0.0")
    url = world.serve(Pages(everything() | {f"{BASE}/v1.0.0.info": (200, {}, body)}))
    world.machine.environment["GOPROXY"] = url
    output = world.machine.download()
    assert "invalid response from proxy" in output
    assert world.failed(url) == [f"info {QUERY}"]
    said = [world.machine.codes("--module", QUERY), world.machine.explained(output)]
    assert said == [["info-invalid"]] * 2 or (
        name in OTHERS and all(code in (["html-answer"], ["info-invalid"]) for code in said)
    )


def test_an_info_of_another_version(world: World) -> None:
    url = world.serve(Pages(everything() | {f"{BASE}/v1.0.0.info": INFO}))
    world.machine.environment["GOPROXY"] = url
    output = world.machine.download()
    assert "proxy returned info for version v0.0.0-modsync-doctor" in output
    assert world.failed(url) == [f"info {QUERY}"]
    assert world.machine.codes("--module", QUERY) == world.machine.explained(output) == ["info-invalid"]


@pytest.mark.parametrize(("make", "modules", "wanted"), [case[1:] for case in ONE], ids=[case[0] for case in ONE])
def test_it_fails_what_it_does_wrong(
    world: World, make: Callable[[], Application], modules: tuple[str, ...], wanted: list[str]
) -> None:
    assert world.failed(world.serve(make()), *modules) == wanted


def kind(name: str) -> str:
    """A check's name without the module and version it is about."""
    return re.sub(rf"{re.escape(MODULE)}(?:/v2)?(?:@\S+)?|{re.escape(UPPER)}(?:@\S+)?", "*", name)


def test_every_kind_of_check_has_a_proxy_that_fails_it(world: World) -> None:
    """A check that nothing fails would prove nothing. `h1` has its own test in test_doctor_proxy.py."""
    url, modules = world.serve(Pages(everything())), (QUERY, TOP, HIDDEN, UPPER)
    _, found = world.machine.doctor("proxy", url, *(f"--module={each}" for each in modules))
    made = {kind(name) for _, _, _, wanted in ONE for name in wanted} | {
        kind(n) for _, _, names in WRONG for n in names
    }
    assert {kind(check["name"]) for check in found["checks"]} - made == {"h1 *"}
