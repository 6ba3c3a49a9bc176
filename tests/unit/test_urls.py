"""Clone URLs: what is taken, in which one form, and what the allow-list lets through."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import SyncError
from app.domain.urls import AllowPattern, CloneUrl, allowed, is_local, whose

LABEL = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8).filter(
    lambda t: not t[-1].isdigit() and not t.startswith("0x")  # as a host's last label it would be a number
)
SEGMENT = st.text(string.ascii_letters + string.digits + "._~+", min_size=1, max_size=8).filter(lambda t: t.strip("."))
HOST = st.lists(LABEL, min_size=2, max_size=4).map(".".join).filter(lambda host: not is_local(host))
PATH = st.lists(SEGMENT, min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("https://Git.Corp.Example/Team/Repo.git", "https://git.corp.example/Team/Repo.git"),
        ("HTTPS://git.corp.example:443/a/", "https://git.corp.example/a"),
        ("https://git.corp.example:8443/a", "https://git.corp.example:8443/a"),
        ("ssh://git@git.corp.example:22/a/b.git", "ssh://git@git.corp.example/a/b.git"),
        ("ssh://git.corp.example/~me/b", "ssh://git.corp.example/~me/b"),
        ("https://dev.corp.example/My%20Project/_git/x", "https://dev.corp.example/My%20Project/_git/x"),
        ("https://[2606:4700::6810:1]/a", "https://[2606:4700::6810:1]/a"),
        ("https://8.8.8.8/a", "https://8.8.8.8/a"),
        ("https://git.corp.local/a", "https://git.corp.local/a"),
    ],
)
def test_taken_in_one_form(text: str, form: str) -> None:
    assert str(CloneUrl.parse(text)) == form


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=x",
        "--upload-pack=touch x",
        "ext::sh -c x",
        "git@git.corp.example:a/b",
        "git.corp.example:a/b",
        "/srv/git/a",
        "http://git.corp.example/a",
        "git://git.corp.example/a",
        "file:///srv/git/a",
        "ftp://git.corp.example/a",
        "https:///a",
        "https://git.corp.example",
        "https://git.corp.example/",
        "https://git.corp.example//a",
        "https://user@git.corp.example/a",
        "https://user:password@git.corp.example/a",
        "ssh://git:password@git.corp.example/a",
        "ssh://-oProxyCommand=x/a",
        "ssh://-x@git.corp.example/a",
        "ssh://git@-oProxyCommand/a",
        "https://git.corp.example/a?x=y",
        "https://git.corp.example/a#x",
        "https://git.corp.example/../a",
        "https://git.corp.example/a/./b",
        "https://git.corp.example/a/%2e%2E/b",
        "https://git.corp.example/a%2fb",
        "https://git.corp.example/a%5Cb",
        "https://git.corp.example/a%00b",
        "https://git.corp.example/a%252e",
        "https://git.corp.example/a%zz",
        "https://git.corp.example/-a",
        "https://git.corp.example/a b",
        "https://git.corp.example/a\n",
        "https://git.corp.example/a\\b",
        "https://git.corp.example\\@evil.example/a",
        "https://git.corp.example:0/a",
        "https://git.corp.example:65536/a",
        "https://git.corp.example:x/a",
        "https://git.corp.example./a",
        "https://git..example/a",
        "https://gıt.corp.example/a",
        "https://git.corp.example/" + "a" * 1000,
        "https://localhost/a",
        "https://git.localhost/a",
        "https://localhost.localdomain/a",
        "https://127.0.0.1/a",
        "https://127.1/a",
        "https://0x7f.1/a",
        "https://0x7f000001/a",
        "https://2130706433/a",
        "https://0177.0.0.1/a",
        "https://0.0.0.0/a",
        "https://10.1.2.3/a",
        "https://192.168.1.1/a",
        "https://169.254.169.254/latest",
        "https://224.0.0.1/a",
        "https://[::1]/a",
        "https://[::]/a",
        "https://[fe80::1]/a",
        "https://[fd00::1]/a",
        "https://[::ffff:127.0.0.1]/a",
        "https://[::127.0.0.1]/a",
        "https://[64:ff9b::7f00:1]/a",
        "https://[64:ff9b:1::7f00:1]/a",
        "https://[::ffff:0:127.0.0.1]/a",
        "https://[2002:7f00:1::]/a",
        "https://[::1%25eth0]/a",
        "https://[1.2.3.4]/a",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(SyncError) as caught:
        CloneUrl.parse(text)
    assert (caught.value.code, caught.value.field) == ("clone_url_refused", "repo_url")
    assert "password" not in caught.value.message.replace("a password", "")


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:3000/a", "file:///srv/git/a", "https://localhost/a", "http://[::1]:1/a"]
)
def test_the_sandbox_takes_more(text: str) -> None:
    assert str(CloneUrl.parse(text, sandbox=True)) == text
    with pytest.raises(SyncError):
        CloneUrl.parse(text)


@pytest.mark.parametrize("text", ["file://host/a", "file://host:1/a", "ext::x", "http://u:p@127.0.0.1/a"])
def test_the_sandbox_does_not_take_all(text: str) -> None:
    with pytest.raises(SyncError):
        CloneUrl.parse(text, sandbox=True)


@given(st.text(max_size=60) | st.from_regex(r"(https|ssh)://[^/]{0,20}/.{0,20}", fullmatch=True))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        url = CloneUrl.parse(text)
    except SyncError:
        return
    assert CloneUrl.parse(str(url)) == url
    assert url.scheme in ("https", "ssh")


@given(st.ip_addresses())
def test_no_inside_address_gets_through(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    if not address.is_global:
        assert not allowed(f"https://{host}/a", [f"https://{host}/**"])


@pytest.mark.parametrize(
    ("pattern", "url", "expected"),
    [
        ("https://git.corp.example/**", "https://git.corp.example/a/b.git", True),
        ("https://git.corp.example/**", "https://GIT.corp.example:443/a", True),
        ("https://git.corp.example/**", "ssh://git.corp.example/a", False),
        ("https://git.corp.example/**", "https://git.corp.example:8443/a", False),
        ("https://git.corp.example/**", "https://git.corp.example.evil.example/a", False),
        ("https://git.corp.example/**", "https://gitxcorp.example/a", False),
        ("https://git.corp.example:8443/**", "https://git.corp.example:8443/a", True),
        ("https://*.corp.example/**", "https://git.corp.example/a", True),
        ("https://*.corp.example/**", "https://a.git.corp.example/a", False),
        ("https://*.corp.example/**", "https://corp.example/a", False),
        ("https://*.corp.example/**", "https://evilcorp.example/a", False),
        ("https://h.example/team/*", "https://h.example/team/a", True),
        ("https://h.example/team/*", "https://h.example/team/a/b", False),
        ("https://h.example/team/*", "https://h.example/team", False),
        ("https://h.example/team/*.git", "https://h.example/team/a.git", True),
        ("https://h.example/team/*.git", "https://h.example/team/agit", False),
        ("https://h.example/team/**", "https://h.example/team/a/b", True),
        ("https://h.example/team/**", "https://h.example/teamx/a", False),
        ("https://h.example/**/x", "https://h.example/x", True),
        ("https://h.example/**/**/x", "https://h.example/a/b/x", True),
        ("https://h.example/a", "https://h.example/A", False),
        ("ssh://git@h.example/**", "ssh://git@h.example/a", True),
        ("ssh://git@h.example/**", "ssh://root@h.example/a", False),
        ("ssh://h.example/**", "ssh://git@h.example/a", True),
    ],
)
def test_allow_list(pattern: str, url: str, expected: bool) -> None:
    assert allowed(url, [pattern]) is expected
    assert allowed(url, ["https://nowhere.example/**", pattern]) is expected


def test_an_empty_list_permits_nothing_and_bad_urls_are_not_permitted() -> None:
    assert not allowed("https://h.example/a", [])
    assert not allowed("https://h.example/../a", ["https://h.example/**"])


@pytest.mark.parametrize(
    "text",
    [
        "https://h.example",
        "https://h.example/",
        "*",
        "https://*/**",
        "https://h.*/**",
        "https://h.example/a**/b",
        "https://h.example/../**",
        "https://u:p@h.example/**",
        "https://*.127.0.0.1/**",
        "ftp://h.example/**",
    ],
)
def test_bad_patterns(text: str) -> None:
    with pytest.raises(ValueError):
        AllowPattern.parse(text)


@given(HOST, PATH)
def test_a_url_permits_itself_and_nothing_else(host: str, path: list[str]) -> None:
    url = f"https://{host}/{'/'.join(path)}"
    assert allowed(url, [url])
    assert allowed(url, [f"https://{host}/**"])
    assert not allowed(f"{url}x", [url])
    assert not allowed(url, [f"https://x{host}/**"])


@given(HOST, PATH, st.integers(min_value=0, max_value=4))
def test_a_prefix_with_two_stars_permits_all_below(host: str, path: list[str], cut: int) -> None:
    prefix = path[: min(cut, len(path) - 1)]
    pattern = "/".join([f"https://{host}", *prefix, "**"])
    assert allowed(f"https://{host}/{'/'.join(path)}", [pattern])
    assert (
        not allowed(f"https://{host}/{'/'.join(['other', *path[1:]])}", [pattern]) or not prefix or path[0] == "other"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://git.corp.example/a/x", "a"),
        ("https://git.corp.example/b/x", "b"),
        ("https://git.corp.example/other/x", "a"),  # nobody's: the host's first
        ("https://one.sub.example/x", "wild"),
        ("https://two.one.sub.example/x", None),
        ("https://sub.example/x", None),
        ("http://one.sub.example/x", None),
        ("https://one.sub.example:8443/x", None),
        ("https://elsewhere.example/x", None),
        ("no url", None),
    ],
)
def test_whose_login_a_url_gets(url: str, expected: str | None) -> None:
    lists = {
        "a": ["https://git.corp.example/a/**"],
        "b": ["https://git.corp.example/b/**"],
        "wild": ["https://*.sub.example/**"],
    }
    assert whose(url, lists) == expected
