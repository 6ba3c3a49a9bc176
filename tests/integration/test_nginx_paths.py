"""Paths through the shipped nginx configuration: exact to the upstream, odd ones refused, private ones never outside."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nginx_world import PRIVATE, SHIPPED, Front, needs_nginx, nginx
from tests.sandbox.bad_servers import module_pages, text

pytestmark = needs_nginx

BASE = f"/{PRIVATE}/@v"
PUBLIC_BASE = "/github.com/!public/lib/@v"
# As shipped, with the second line taken in: a prefix with a path element, where go may send capital letters.
PREFIXES = (SHIPPED / "goproxy/private.conf").read_text().replace('# "~*', '"~*')


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """For tests that leave no state behind but entries of their own in the cache."""
    with nginx(tmp_path_factory.mktemp("front"), private=PREFIXES) as front:
        yield front


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with nginx(tmp_path, private=PREFIXES) as front:
        yield front


EXACT = [
    "/github.com/!public/a!b!c/@v/list",
    "/github.com/%21public/x/@v/list",
    "/github.com/public%2Fx/@v/list",
    "/github.com/public/x/@v/v2.0.0+incompatible.info",
    "/github.com/public/x/@v/v2.0.0%2Bincompatible.mod",
    "/github.com/public/~x_y-z/@latest",
]


@pytest.mark.parametrize("path", EXACT)
def test_paths_reach_the_upstream_byte_for_byte(shared: Front, path: str) -> None:
    shared.get(path)
    assert shared.public.asked[-1] == path


def test_an_encoded_slash_has_a_cache_entry_of_its_own(front: Front) -> None:
    front.public.other = text("one\n")
    assert front.get("/github.com/a/b/@v/list").cache == "MISS"
    assert front.get("/github.com/a%2Fb/@v/list").cache == "MISS"
    assert front.get("/github.com/a/b/@v/list").cache == "HIT"


def test_both_ways_to_write_an_exclamation_mark_share_one(front: Front) -> None:
    assert front.get(f"{PUBLIC_BASE}/list").cache == "MISS"
    assert front.get(f"{PUBLIC_BASE.replace('!', '%21')}/list").cache == "HIT"


def test_a_query_neither_passes_nor_makes_another_entry(front: Front) -> None:
    front.get(f"{PUBLIC_BASE}/list?x=go.corp.example/secret")
    assert front.public.asked == [f"{PUBLIC_BASE}/list"]
    assert front.get(f"{PUBLIC_BASE}/list?y=2").cache == "HIT"


REFUSED = [
    ("/a.example//b/@v/list", 400),
    ("/a.example/../b/@v/list", 400),
    ("/a.example/%2e%2E/b/@v/list", 400),
    ("/a.example/..%2Fb/@v/list", 400),
    ("/a.example/./b/@v/list", 400),
    ("/a.example/b%252Fc/@v/list", 400),
    ("/a.example/b%00c/@v/list", 400),
    ("/a.example/b/@v/v1.0.0.zip#x", 400),
    ("/a.example/b#/@v/list", 400),
    ("/a.example/b%0d%0aHost:x/@v/list", 400),
    ("/a.example/b/@v/v1.0.0.tar", 404),
    ("/a.example/b/", 404),
    ("/", 404),
    ("/sumdb/other.example/latest", 404),
    ("/sumdb/other.example/github.com/public/x/@v/list", 404),
    ("/artifactory/api/go/go-virtual/github.com/public/x/@v/list", 400),
]


@pytest.mark.parametrize(("path", "status"), REFUSED)
def test_what_is_no_path_of_the_protocol_is_refused(shared: Front, path: str, status: int) -> None:
    asked = [list(pages.asked) for pages in (shared.private, shared.public, shared.sumdb)]
    assert shared.get(path).status == status
    assert [pages.asked for pages in (shared.private, shared.public, shared.sumdb)] == asked


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"])
def test_only_reading(shared: Front, method: str) -> None:
    assert shared.get(f"{BASE}/list", method).status == 405


def test_head_is_answered_without_a_body(shared: Front) -> None:
    reply = shared.get(f"{BASE}/v1.0.0.zip", "HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["content-length"]) > 100


PRIVATE_FORMS = [
    "/go.corp.example/secret/@v/list",
    "/go.corp.example/@v/list",
    "/Go.Corp.Example/secret/@v/list",
    "/go.corp.example%2Fsecret/@v/list",
    "/go.corp.example%2fsecret%2f@v/list",
    "/%67o.corp.example/secret/@v/list",
    "/go%2Ecorp.example/secret/@latest",
    "/go.corp.example/secret/@v/v1.0.0.zip",
    "//go.corp.example/secret/@v/list",
    "/./go.corp.example/secret/@v/list",
    "/x/../go.corp.example/secret/@v/list",
    "/x/%2e%2e/go.corp.example/secret/@v/list",
    "/go.corp.example%252Fsecret/@v/list",
    "/%2567o.corp.example/secret/@v/list",
    "/go.corp.example/secret@v1/@v/list",
    "/sumdb/sum.golang.org/lookup/go.corp.example/secret@v1.0.0",
    "/sumdb/sum.golang.org/lookup/go.corp.example%2Fsecret@v1.0.0",
    "/sumdb/sum.golang.org/lookup//go.corp.example/secret@v1.0.0",
    "/sumdb/sum.golang.org/Lookup/go.corp.example/secret@v1.0.0",
    "/%73umdb/sum.golang.org/lookup/go.corp.example/secret@v1.0.0",
    "/sumdb/go.corp.example/supported",
    "/!go.corp.example/secret/@v/list",
    "/!g!o.!c!o!r!p.!e!x!a!m!p!l!e/secret/@v/list",
    "/github.com/corp/x/@v/list",
    "/github.com/!corp/x/@v/list",
    "/github.com/%21corp/x/@latest",
    "/github.com/c!orp/x/@v/v1.0.0.info",
    "/github.com/!C!O!R!P/@v/list",
    "/%67ithub.com%2F%21corp/x/@v/list",
    "/github.com/!corp%2Fx/@v/list",
    "/!g!i!t!h!u!b.!c!o!m/!c!o!r!p/!v!e!r!y-!l!o!u!d/@v/v1.0.0.mod",
    f"/github.com/{'!a' * 51}/x/@v/list",
    "/sumdb/sum.golang.org/lookup/github.com/!corp/x@v1.0.0",
    "/sumdb/sum.golang.org/lookup/github.com/%21corp/x@v1.0.0",
    "/artifactory/api/go/go-virtual/go.corp.example/secret/@v/list",
    "/artifactory%2Fgo.corp.example/secret/@latest",
    "/%61rtifactory/go.corp.example/secret/@v/v1.0.0.zip",
    "/healthz/go.corp.example/secret/@v/list",
    "/cache.corp.example/go/go.corp.example/secret/@v/list",  # a path left over that could be a module's
    "/proxy.golang.org/github.com/!corp/x/@v/list",
    "/sumdb/sum.golang.org/lookup/cache.corp.example/go.corp.example/secret@v1.0.0",
    "/sumdb/sum.golang.org/go.corp.example/secret/@v/list",
    "/sumdb/sum.golang.org/go.corp.example/secret/@v/v1.0.0.info",
    "/sumdb/sum.golang.org/lookup/go.corp.example/secret/@v/list",
    "/sumdb/sum.golang.org/lookup/artifactory/go.corp.example/secret@v1.0.0",
    "/sumdb/sum.golang.org/tile/8/0/go.corp.example/secret/@v/list",
    "/sumdb/sum.golang.org/tile/8/go.corp.example",
]


@pytest.mark.parametrize("path", PRIVATE_FORMS)
def test_a_private_path_never_leaves(shared: Front, path: str) -> None:
    before = (list(shared.public.asked), list(shared.sumdb.asked))
    shared.get(path)
    assert (shared.public.asked, shared.sumdb.asked) == before


LONGER = ["/go.corp.example.org/x/@v/list", "/github.com/!corporate/x/@v/list", f"/github.com/{'!a' * 50}/x/@v/list"]


@pytest.mark.parametrize("path", LONGER)
def test_a_longer_name_is_not_private(shared: Front, path: str) -> None:
    shared.get(path)
    assert shared.public.asked[-1] == path


def test_what_go_sends_for_capital_letters_stays_inside(front: Front) -> None:
    """GitHub takes Corp and corp for one organisation, and go escapes the capital."""
    front.private.pages = dict(module_pages("github.com/Corp/x", "v1.0.0"))
    done = front.machine(GONOSUMDB="github.com/Corp").go("mod", "download", "github.com/Corp/x@v1.0.0")
    assert done.returncode == 0, done.stderr.decode()
    assert "/github.com/%21corp/x/@v/v1.0.0.zip" in front.private.asked
    assert (front.public.asked, front.sumdb.asked) == ([], [])


def test_a_path_left_over_in_goproxy_is_named_in_gos_own_words(front: Front) -> None:
    """As after a move from Artifactory: go would ask for the private module below a path that the prefixes do not know."""
    machine = front.machine(GOPROXY=f"{front.url}/artifactory/api/go/go-virtual")
    assert "is GOPROXY the host alone, without a path?" in machine.download(f"{PRIVATE}@v1.0.0")
    assert (front.private.asked, front.public.asked, front.sumdb.asked) == ([], [], [])


def test_go_itself_cannot_make_a_private_name_leave(front: Front) -> None:
    """Even a client that forgot GONOSUMDB: its question for the checksum ends here, with the cure in go's own words."""
    output = front.machine(GONOSUMDB="").download(f"{PRIVATE}@v1.0.0")
    assert "set GONOSUMDB to its prefix" in output
    assert not [path for path in front.public.asked + front.sumdb.asked if "corp" in path]
    assert front.machine().explained(output) == ["gonosumdb-missing"]


def test_the_clients_credentials_stay_inside(shared: Front) -> None:
    shared.get("/github.com/public/credentials/@v/list", Authorization="Basic c2VjcmV0", Cookie="session=1")
    assert not {"AUTHORIZATION", "COOKIE"} & shared.public.headers[-1].keys()
