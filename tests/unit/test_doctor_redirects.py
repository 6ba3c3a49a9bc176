"""Which redirects go follows: securityPreservingHTTPClient and checkRedirect of cmd/go/internal/web/http.go."""

import pytest

from app.doctor.probe_http import joined_to, refused_hop


@pytest.mark.parametrize(
    ("hops", "url", "refused"),
    [
        (["https://a.example/"], "https://b.example/", False),
        (["http://a.example/"], "http://b.example/", False),
        (["http://a.example/"], "https://b.example/", False),
        (["http://a.example/", "https://b.example/"], "http://c.example/", False),  # it is the first one that counts
        (["https://a.example/"], "http://a.example/", True),
        (["https://a.example/", "https://b.example/"], "http://c.example/", True),
        (["https://a.example/"], "ftp://a.example/", True),
        (["https://a.example/"] * 9, "https://a.example/", False),
        (["https://a.example/"] * 10, "https://a.example/", True),
    ],
)
def test_what_go_follows(hops: list[str], url: str, refused: bool) -> None:
    assert bool(refused_hop(hops, url)) is refused


@pytest.mark.parametrize("target", ["http://[abc/", "https://host:99999/x", "https://h:abc/", "https://[1:2]/"])
def test_what_is_no_address(target: str) -> None:
    assert joined_to("https://proxy.example/x", target) == ""
    assert refused_hop(["https://proxy.example/x"], "") == "redirected to what is no address"


def test_where_a_location_leads() -> None:
    assert joined_to("https://proxy.example/a/b", "/c?d") == "https://proxy.example/c?d"
    assert joined_to("https://proxy.example/a/b", "//other.example:8443/") == "https://other.example:8443/"
