"""The doctor's rules over observations, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.doctor.causes import CAUSES
from app.doctor.checks_clock import check_clock
from app.doctor.checks_network import check_request
from app.doctor.checks_sumdb import check_sumdb, database
from app.doctor.egress import egress_for
from app.doctor.examine import decide
from app.doctor.findings import found
from app.doctor.observed import BEGINNING, Answer, Failure, Observed, Request
from app.doctor.settings import Entry, GoSettings, shown

COMPANY = "https://goproxy.corp.example"
NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
PUBLIC = "https://proxy.golang.org"


# (an entry, where to, whether go connects itself): as golang.org/x/net/http/httpproxy has it.
NO_PROXY = [
    ("*corp.example", "https://x.corp.example", False),
    ("*.corp.example", "https://x.corp.example", True),
    ("*.corp.example", "https://corp.example", False),
    ("[fd00::1]:443", "https://[fd00::1]:443", True),
    ("[fd00::1]:443", "https://[fd00::1]", True),
    ("[fd00::1]:444", "https://[fd00::1]", False),
    ("[fd00::1]", "https://[fd00::1]", False),
    ("fd00::1", "https://[fd00::1]", True),
    ("fd00::/8", "https://[fd00::1]", True),
    ("10.1.2.3:443", "https://10.1.2.3", True),
    ("10.1.2.3:8443", "https://10.1.2.3", False),
    ("10.1.2.3", "https://[::ffff:10.1.2.3]", True),
    ("10.0.0.0/255.0.0.0", "https://10.1.2.3", False),
    ("10.0.0.0/8", "https://a.example", False),
    ("x.example", "https://x.example.", False),
    ("x.example.", "https://x.example.", True),
    ("x.example.", "https://x.example", False),
    (":443", "https://x.example", False),
    ("X.Example:", "https://x.example", True),
    ("example:443:1", "https://example", False),
]


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://a.example", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://a.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("http://a.example", {"HTTPS_PROXY": "p:1"}, None),
        ("https://a.example", {"ALL_PROXY": "p:1", "all_proxy": "p:1"}, None),
        ("https://localhost:1", {"HTTPS_PROXY": "p:1"}, None),
        ("https://127.0.0.9", {"HTTPS_PROXY": "p:1"}, None),
        ("https://[::1]:1", {"HTTPS_PROXY": "p:1"}, None),
        ("https://x.corp.example", {"HTTPS_PROXY": "p:1", "NO_PROXY": "corp.example"}, None),
        ("https://corp.example", {"HTTPS_PROXY": "p:1", "NO_PROXY": ".corp.example"}, "http://p:1"),
        ("https://notcorp.example", {"HTTPS_PROXY": "p:1", "NO_PROXY": "corp.example"}, "http://p:1"),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "no_proxy": "10.0.0.0/8"}, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "NO_PROXY": "nonsense/8, *"}, None),
        ("https://a.example:8443", {"HTTPS_PROXY": "p:1", "NO_PROXY": "a.example:8443"}, None),
        ("https://a.example", {"HTTPS_PROXY": "p:1", "NO_PROXY": "a.example:8443"}, "http://p:1"),
        ("https://a.example", {"HTTPS_PROXY": "p:1", "NO_PROXY": "a.example:443"}, None),
        ("http://a.example", {"HTTP_PROXY": "p:1", "NO_PROXY": "a.example:443"}, "http://p:1"),
        ("http://a.example", {"HTTP_PROXY": "p:1", "NO_PROXY": "a.example:80"}, None),
        *(
            (url, {"HTTPS_PROXY": "p:1", "NO_PROXY": entry}, None if direct else "http://p:1")
            for entry, url, direct in NO_PROXY
        ),
    ],
)
def test_which_web_proxy_go_takes(url: str, environment: dict[str, str], proxy: str | None) -> None:
    assert egress_for(url, environment) == proxy


def observed(*requests: Request, **values: str) -> Observed:
    return Observed(GoSettings({"GOPROXY": COMPANY, **values}), NOW, requests)


def asked(outcome: Answer | Failure, **more: object) -> Request:
    request = Request("list", f"{COMPANY}/a.b/c/@v/list", outcome, 0.1, entry=Entry(COMPANY))
    return replace(request, **more)  # type: ignore[arg-type]


def answer(status: int, body: bytes = b"", hops: tuple[str, ...] = (), **headers: str) -> Answer:
    return Answer(f"{COMPANY}/x", status, headers, body, hops)


HTML = b"<!DOCTYPE html><p>Sign in"
ANSWERS: list[tuple[Request, list[str]]] = [
    (asked(answer(200, b"v1.0.0\n")), []),
    (asked(answer(404)), []),
    (asked(answer(410, HTML)), []),
    (asked(answer(404, HTML, (COMPANY,))), []),
    (asked(answer(410, HTML, (COMPANY,)), purpose="zip"), []),
    (asked(answer(200, HTML)), ["html-answer"]),
    (asked(answer(200, HTML, (COMPANY,))), ["login-page"]),
    (asked(answer(403, HTML, (COMPANY,))), ["login-page"]),
    (asked(answer(511, HTML)), ["html-answer"]),
    (asked(answer(200, HTML), purpose="zip"), ["html-zip"]),
    (asked(answer(200, b"Blocked by policy"), purpose="zip"), ["html-zip"]),
    (asked(answer(200, b"PK\x03\x04" + bytes(BEGINNING)), purpose="zip"), []),
    (asked(answer(200, b"PK\x03\x04"), purpose="zip"), ["connection-cut"]),
    (asked(answer(200, b"no"), purpose="info"), ["html-answer"]),
    (asked(answer(200, HTML), purpose="discovery"), []),
    (asked(answer(400, b"No required SSL certificate was sent")), ["client-certificate"]),
    (asked(answer(401)), ["needs-credentials"]),
    (asked(answer(401), with_credentials=True), ["credentials-refused"]),
    (asked(answer(403), egress="http://p", url="http://a.example/x"), ["egress-refused"]),
    (asked(answer(403), egress="socks5://p", url="http://a.example/x"), ["forbidden"]),
    (asked(answer(407)), ["egress-credentials"]),
    (asked(answer(302)), ["unexpected-status"]),
    (asked(answer(200), seconds=7.0), ["slow"]),
    (asked(answer(200), addresses=("10.0.0.1",)), []),
    (asked(answer(403), addresses=("10.0.0.1",), url=f"{PUBLIC}/x"), ["dns-hijack", "forbidden"]),
    (asked(answer(403), addresses=("10.0.0.1", "142.250.1.1"), url=f"{PUBLIC}/x"), ["forbidden"]),
    (asked(answer(200, HTML), addresses=("fe80::1%eth0",), url=f"{PUBLIC}/x"), ["dns-hijack", "html-answer"]),
    # A right answer by TLS is the server's own, whatever address a VPN or split DNS has for it.
    (asked(answer(200, b"v1.0.0\n"), addresses=("198.18.0.5",), url=f"{PUBLIC}/x"), []),
    (asked(answer(404), addresses=("198.18.0.5",), url=f"{PUBLIC}/x"), []),
    (asked(answer(200, b"v1.0.0\n"), addresses=("198.18.0.5",), url="http://proxy.golang.org/x"), ["dns-hijack"]),
]


@pytest.mark.parametrize(
    ("request_", "codes"), ANSWERS, ids=lambda value: str(value) if isinstance(value, list) else ""
)
def test_answers(request_: Request, codes: list[str]) -> None:
    assert [finding.code for finding in check_request(request_, observed(request_))] == codes


@pytest.mark.parametrize(
    ("environment", "command"), [({}, "go env -w "), ({"GOPROXY": PUBLIC}, "export "), ({"GOENV": "off"}, "export ")]
)
def test_the_fix_of_a_hijacked_name_is_where_goproxy_stands(environment: dict[str, str], command: str) -> None:
    request = asked(answer(403), addresses=("10.0.0.1",), url=f"{PUBLIC}/x")
    seen = replace(observed(request), settings=GoSettings({"GOPROXY": PUBLIC}, environment))
    hijack = next(check_request(request, seen))
    assert hijack.fix.splitlines()[1].startswith(f"{command}GOPROXY=https://GOPROXY.YOUR.COMPANY ")


TROUBLES = {
    "dns": "dns-no-such-host",
    "refused": "connection-refused",
    "timeout": "timeout",
    "cut": "connection-cut",
    "tls-authority": "tls-unknown-authority",
    "tls-name": "tls-wrong-name",
    "tls-expired": "tls-expired",
    "tls-plain": "tls-not-tls",
    "tls-client-certificate": "client-certificate",
    "tls-other": "tls-failed",
    "egress-down": "egress-down",
    "egress-status": "egress-refused",
    "egress-login": "egress-credentials",
    "egress-scheme": "egress-scheme",
    "other": "connection-cut",
}


@pytest.mark.parametrize(("trouble", "code"), TROUBLES.items())
def test_failures(trouble: str, code: str) -> None:
    egress = "http://p:1" if trouble.startswith("egress") else ""
    request = asked(Failure(f"{COMPANY}/x", trouble, "words", egress=egress))  # type: ignore[arg-type]
    (finding,) = check_request(request, observed(request))
    assert finding.code == code
    assert "words" in finding.seen
    assert finding.fix


def date(offset: timedelta) -> str:
    return format_datetime(NOW + offset, usegmt=True)


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        ([answer(200, date=date(timedelta(minutes=4)))], []),
        ([answer(200, date=date(timedelta(hours=-2)))], ["clock-wrong"]),
        ([answer(200, date=date(timedelta(hours=-2)), age="7200")], []),
        ([answer(200, date=date(timedelta(hours=2))), answer(200, date=date(timedelta()))], []),
        ([answer(200, date="yesterday")], []),
        ([], []),
    ],
)
def test_the_clock(answers: list[Answer], codes: list[str]) -> None:
    seen = observed(*(asked(each) for each in answers))
    assert [finding.code for finding in check_clock(seen)] == codes


def test_of_one_server_the_clock_may_be_the_wrong_one() -> None:
    late = answer(200, date=date(timedelta(hours=2)))
    (one,) = check_clock(observed(asked(late), asked(late)))
    assert "may be the wrong one" in one.seen
    assert one.fix.startswith("date -u ")
    (two,) = check_clock(observed(asked(late), asked(replace(late, url="https://other.example/"))))
    assert two.seen.startswith("2 servers:")
    assert two.fix.startswith("sudo timedatectl")


def supported(status: int, **more: object) -> Request:
    return asked(answer(status), purpose="sumdb-supported", **more)


def latest(status: int, body: bytes = b"", **more: object) -> Request:
    return asked(answer(status, body), purpose="sumdb-latest", **more)


@pytest.mark.parametrize(
    ("requests", "codes"),
    [
        ([supported(404), latest(200, b"go.sum database tree\n", entry=None)], []),
        ([supported(200), latest(200, b"go.sum database tree\n")], []),
        ([supported(200), latest(403)], ["sumdb-pinned"]),
        ([supported(200), latest(200, HTML)], ["sumdb-pinned"]),
        ([supported(403)], ["sumdb-proxy-error"]),
        ([supported(500, entry=Entry(COMPANY, any_error=True))], []),
        ([latest(403, entry=None)], ["sumdb-blocked"]),
        (
            [latest(403, entry=None, addresses=("10.0.0.1",), url="https://sum.golang.org/latest")],
            ["sumdb-blocked", "dns-hijack"],
        ),
        (
            [latest(200, b"ok", entry=None, addresses=("10.0.0.1",), url="https://sum.golang.org/latest")],
            ["sumdb-blocked", "dns-hijack"],
        ),
    ],
)
def test_the_checksum_database(requests: list[Request], codes: list[str]) -> None:
    assert [finding.code for finding in check_sumdb(observed(*requests))] == codes


@pytest.mark.parametrize(
    ("gosumdb", "wanted"),
    [
        ("", ("sum.golang.org", "https://sum.golang.org")),
        ("off", ("", "")),
        ("sum.golang.google.cn", ("sum.golang.org", "https://sum.golang.google.cn")),
        ("sum.corp.example+0123+key", ("sum.corp.example", "https://sum.corp.example")),
        ("sum.golang.org https://sums.corp.example/", ("sum.golang.org", "https://sums.corp.example")),
        ("sum.golang.org sums.corp.example", ("sum.golang.org", "https://sums.corp.example")),
    ],
)
def test_which_database(gosumdb: str, wanted: tuple[str, str]) -> None:
    assert database(GoSettings({"GOSUMDB": gosumdb})) == wanted


def test_one_cause_is_told_once() -> None:
    down = [asked(Failure(f"{COMPANY}/{path}", "tls-authority", "unknown")) for path in ("a", "b")]
    assert [finding.code for finding in decide(observed(*down))] == ["tls-unknown-authority"]


def test_codes_are_known() -> None:
    with pytest.raises(KeyError):
        found("no-such-code", "")
    assert all(why.endswith(".") for why in CAUSES.values())


def test_passwords_are_not_shown() -> None:
    assert shown("https://dev:secret@a.example/x") == "https://***@a.example/x"
