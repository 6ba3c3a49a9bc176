"""How go reads a web proxy's URL (as net/http's ProxyFromEnvironment said of each row), and the SOCKS5 handshake."""

import socket
import ssl

import pytest

from app.doctor.egress import egress_for, joined, login_of, masked, place_of
from app.doctor.observed import Failure
from app.doctor.probe_http import Client
from app.doctor.probe_socks import Refusal, ask_socks
from tests.sandbox.bad_servers import Listener, hanging
from tests.sandbox.web_proxies import Socks

READ = [
    ("p:1", "http", "p:1", None),
    ("p.example", "http", "p.example:80", None),
    ("HTTPS://P.example", "https", "p.example:443", None),
    ("socks5://p", "socks5", "p:1080", None),
    ("SOCKS5h://u:a%40b@p:2", "socks5h", "p:2", ("u", "a@b")),
    ("socks4://p", "socks4", "p:0", None),
    ("1080", "http", "1080:80", None),
    ("http://::1:80", "http", "http:80", None),
    ("http://h%20x", "http", "http:80", None),
    ("http://[::1]:8080", "http", "[::1]:8080", None),
    ("http://[::1]", "http", "[::1]:80", None),
    ("http://h:", "http", "h:80", None),
    ("http://h:99999", "http", "h:99999", None),
    ("http://u@h", "http", "h:80", ("u", "")),
    ("http://:pw@h:1", "http", "h:1", ("", "pw")),
    ("http://@h", "http", "h:80", ("", "")),
    ("http://u:p@w@h:1", "http", "h:1", ("u", "p@w")),
    ("http://h/pa%2Fth?x=%zz", "http", "h:80", None),
    # What url.Parse gives up on is read again with http:// before it.
    ("http://u:secret#w@h:80", "http", "http:80", None),
    ("https://u:secret/w@h:80", "http", "https:80", None),
    ("socks5://u:sec ret@h:80", "http", "socks5:80", None),
    ("http://h:x", "http", "http:80", None),
    ("socks5:/h:1", "http", "socks5:80", None),
    ("http://[::1", "http", "http:80", None),
]


@pytest.mark.parametrize(("proxy", "scheme", "place", "login"), READ, ids=[row[0] for row in READ])
def test_how_go_reads_a_web_proxys_url(proxy: str, scheme: str, place: str, login: tuple[str, str] | None) -> None:
    egress = egress_for("https://a.example", {"HTTPS_PROXY": proxy})
    assert egress is not None
    assert (egress.partition("://")[0].lower(), joined(*place_of(egress)), login_of(egress)) == (scheme, place, login)
    assert "secret" not in masked(egress)
    assert masked(egress) == f"{scheme}://{'USER:PASSWORD@' if login else ''}{place}"


@pytest.mark.parametrize(
    "proxy", ["", "http://u:p%zz@h", "http://u:p%w@h", " http://h", "::1:80", "u:p@h:x", "[1:2]:80"]
)
def test_where_go_can_read_none_it_connects_itself(proxy: str) -> None:
    assert egress_for("https://a.example", {"HTTPS_PROXY": proxy}) is None


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:99999", "socks5://127.0.0.1:70000", "https://" + "a" * 70])
def test_no_address_is_a_failure_and_no_error(proxy: str) -> None:
    client = Client(ssl.create_default_context(), {"HTTPS_PROXY": proxy}, timeout=2.0)
    outcome = client.fetch("https://a.example/")
    assert isinstance(outcome, Failure)
    assert (outcome.trouble, outcome.egress) == ("egress-down", masked(proxy))
    assert "is no address" in outcome.detail


@pytest.mark.parametrize("host", ["a" * 70, "bü" * 40])
def test_no_name_is_a_failure_and_no_error(host: str) -> None:
    with Listener(hanging) as there, Listener(Socks(to=there.port)) as door:
        client = Client(ssl.create_default_context(), {"HTTPS_PROXY": f"socks5://127.0.0.1:{door.port}"}, timeout=2.0)
        outcome = client.fetch(f"https://{host}/")
    assert isinstance(outcome, Failure)
    assert (outcome.trouble, outcome.detail) == ("tls-other", f"{host} is no name")


def shaken(*answers: bytes, host: str = "a.example", login: tuple[str, str] | None = None) -> tuple[bytes, bytes]:
    """What a proxy that gives these answers, a byte at a time, is sent; and what is left of them, which is the server's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"".join(answers))
        theirs.shutdown(socket.SHUT_WR)
        ask_socks(ours, host, 443, login)
        left = ours.recv(100)
        ours.shutdown(socket.SHUT_WR)
        return theirs.recv(1000), left


OPEN, DONE = b"\x05\x00", b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00"
NAME = b"\x05\x01\x00\x03\x09a.example\x01\xbb"


@pytest.mark.parametrize(
    "done",
    [DONE, b"\x05\x00\x00\x03\x02ab\x00\x00", b"\x05\x00\x00\x04" + bytes(18)],
    ids=["IPv4", "a name", "IPv6"],
)
def test_what_follows_the_answer_is_the_servers(done: bytes) -> None:
    assert shaken(OPEN, done, b"server") == (b"\x05\x01\x00" + NAME, b"server")


def test_a_login_is_offered_and_sent_where_it_is_wanted() -> None:
    offered = b"\x05\x02\x00\x02"
    assert shaken(OPEN, DONE, login=("u", "pw"))[0] == offered + NAME
    assert shaken(b"\x05\x02\x01\x00", DONE, login=("u", "pw"))[0] == offered + b"\x01\x01u\x02pw" + NAME


def test_a_name_in_other_letters_goes_as_dns_has_it() -> None:
    assert b"\x10xn--bcher-kva.de" in shaken(OPEN, DONE, host="bücher.de")[0]


REFUSED = [
    ((b"\x05\xff",), None, "egress-login", "no acceptable authentication methods"),
    ((b"\x05\x01",), ("u", "pw"), "egress-login", "unsupported authentication method 1"),
    ((b"\x05\x02\x01\x01",), ("u", "pw"), "egress-login", "authentication failed"),
    ((b"\x05\x02",), ("", "pw"), "egress-login", "no empty user"),
    ((b"\x05\x02",), ("u", "p" * 256), "egress-login", "nothing above 255 bytes"),
    ((b"HTTP/1.1 400 Bad Request",), None, "egress-scheme", "but HTTP"),
    ((b"\x15\x03\x03\x00\x02",), None, "egress-scheme", "not SOCKS5"),
    ((OPEN, b"\x04\x00\x00\x01"), None, "egress-scheme", "not SOCKS5"),
    ((OPEN, b"\x05\x00\x01\x01"), None, "egress-scheme", "not SOCKS5"),
    ((OPEN, b"\x05\x00\x00\x09"), None, "egress-scheme", "not SOCKS5"),
    ((OPEN, b"\x05\x06\x00\x01"), None, "egress-status", "TTL expired"),
    ((OPEN, b"\x05\x2a\x00\x01"), None, "egress-status", "unknown code: 42"),
]


@pytest.mark.parametrize(("answers", "login", "trouble", "words"), REFUSED)
def test_a_refusal(answers: tuple[bytes, ...], login: tuple[str, str] | None, trouble: str, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        shaken(*answers, login=login)
    assert refused.value.trouble == trouble


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(Refusal, match="FQDN too long"):
        shaken(OPEN, DONE, host="a." * 128)


@pytest.mark.parametrize("size", range(len(OPEN + DONE)))
def test_one_that_hangs_up(size: int) -> None:
    with pytest.raises(ConnectionError):
        shaken((OPEN + DONE)[:size])


@pytest.mark.parametrize(
    "url", ["https://a.example:PORT/", "https://[::1/", "https://a.example:99999/", "ftp://a.example/"]
)
def test_a_url_that_leads_nowhere_is_a_failure_and_no_error(url: str) -> None:
    for environment in ({}, {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "socks5://127.0.0.1:9"}):
        outcome = Client(ssl.create_default_context(), environment, timeout=2.0).fetch(url)
        assert isinstance(outcome, Failure)
        assert outcome.detail.endswith("is no address") or "egress" in outcome.trouble


def test_an_address_of_ipv6_without_a_port_is_no_error() -> None:
    """http.client would seek a port in its last words; here a web proxy answers, whatever is asked for."""
    with Listener(hanging) as server:
        client = Client(ssl.create_default_context(), {"HTTP_PROXY": server.url}, timeout=1.0)
        outcome = client.fetch("http://[fd00::abcd]/")
    assert isinstance(outcome, Failure)
    assert outcome.trouble == "timeout"
