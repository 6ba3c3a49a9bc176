"""The doctor's rules over settings, lists and patterns, as tables."""

import re

import pytest

from app.doctor.checks_settings import check_settings
from app.doctor.settings import Entry, GoSettings, covered, is_too_wide, matches, parse_goproxy, shown, shown_goproxy

COMPANY = "https://goproxy.corp.example"
PUBLIC = "https://proxy.golang.org"
MEANT = "GOPROXY=https://GOPROXY.YOUR.COMPANY   # your company's proxy; modsync's /setup page names it"
HEALTHY = [
    {},
    {"GOPROXY": COMPANY},
    {"GOPROXY": COMPANY, "GONOSUMDB": "go.corp.example"},
    {"GOPROXY": COMPANY, "GOPRIVATE": "go.corp.example", "GONOPROXY": "none", "GONOSUMDB": "go.corp.example"},
    {"GOPROXY": f"{PUBLIC},direct", "GOPRIVATE": "go.corp.example"},
    {"GOPROXY": "direct", "GOPRIVATE": "go.corp.example"},
    {"GOPROXY": f"{COMPANY},https://second.corp.example"},
    {"GOPROXY": "file:///srv/modules"},
    {"GOPROXY": "https://goproxy.cn,direct", "GOPRIVATE": "go.corp.example"},
    {"GOPROXY": "https://goproxy.cn,https://goproxy.io,direct"},
    {"GOPROXY": "https://mirrors.aliyun.com/goproxy/,direct", "GOPRIVATE": "go.corp.example"},
    {"GOPROXY": "https://mirrors.aliyun.com/corp"},
    {"GOPROXY": "http://127.0.0.1:3000"},
    {"GOPROXY": COMPANY, "GOFLAGS": "-modcacherw -buildvcs=false -mod=readonly"},
    {"GOSUMDB": "sum.golang.google.cn"},
    {"GOSUMDB": "sum.golang.org file:///srv/sumdb"},
    {"GOSUMDB": "sum.golang.org sums.corp.example/golang"},
    {"GOPROXY": "http://[::1]:3000"},
    {"GOPROXY": "FILE:///srv/my%20modules"},
    {"GOPROXY": COMPANY, "GONOSUMDB": "a.example,b.example, "},
    {"GOPROXY": COMPANY, "GONOPROXY": " none"},
    {"GOSUMDB": "sum.corp.example+01234567+AXyzAXyzAXyzAXyzAXyzAXyz https://sum.corp.example"},
]
SICK: list[tuple[dict[str, str], list[str]]] = [
    ({"GOPROXY": "off"}, ["goproxy-off"]),
    ({"GOPROXY": " , "}, ["goproxy-empty"]),
    ({"GOPROXY": "ftp://a.example"}, ["goproxy-invalid"]),
    ({"GOPROXY": "goproxy"}, ["goproxy-invalid"]),
    ({"GOPROXY": "noproxy"}, ["goproxy-invalid"]),
    ({"GOPROXY": "/srv/modules"}, ["goproxy-invalid"]),
    ({"GOPROXY": "file:/srv/modules"}, ["goproxy-invalid"]),
    ({"GOPROXY": "file://srv/modules"}, ["goproxy-invalid"]),
    ({"GOPROXY": "file:///srv/modules?x"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://goproxy.corp.example:PORT"}, ["goproxy-invalid"]),
    ({"GOPROXY": "goproxy.corp.example:PORT"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://u:p@goproxy.corp.example:PORT"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://127.0.0.1:99999"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://[::1"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://[1:2]"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://a\u2100b.example"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://"}, ["goproxy-invalid"]),
    ({"GOPROXY": "https://a.example/%zz"}, ["goproxy-invalid"]),
    ({"GOPROXY": f"{COMPANY},https://second.corp.example:PORT"}, ["goproxy-invalid"]),
    ({"GOPROXY": "http://goproxy.corp.example"}, ["goproxy-plain-http"]),
    ({"GOPROXY": "https://u:p@goproxy.corp.example"}, ["goproxy-password"]),
    ({"GOPROXY": f"{COMPANY}|https://second.corp.example"}, ["goproxy-hides-errors"]),
    ({"GOPROXY": f"{COMPANY},direct"}, ["goproxy-direct"]),
    ({"GOPROXY": f"{COMPANY}|direct"}, ["goproxy-hides-errors", "goproxy-direct"]),
    ({"GOPROXY": f"{COMPANY},{PUBLIC}"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{COMPANY},{PUBLIC}", "GONOSUMDB": "go.corp.example"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{PUBLIC},direct", "GONOSUMDB": "go.corp.example"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": "https://goproxy.cn", "GONOSUMDB": "go.corp.example"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": "mirrors.aliyun.com/goproxy", "GONOSUMDB": "go.corp.example"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{COMPANY},https://goproxy.cn"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{COMPANY},https://athens.azurefd.net"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{PUBLIC},{COMPANY}"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"https://goproxy.io,{COMPANY}", "GONOSUMDB": "go.corp.example"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{PUBLIC},{COMPANY}", "GOPRIVATE": "go.corp.example"}, ["goprivate-bypass"]),
    ({"GOPROXY": COMPANY, "GOPRIVATE": "go.corp.example"}, ["goprivate-bypass"]),
    ({"GOPROXY": COMPANY, "GONOPROXY": "go.corp.example"}, ["goprivate-bypass", "gonosumdb-missing"]),
    ({"GOPROXY": COMPANY, "GOPRIVATE": "a.example", "GONOPROXY": "a.example"}, ["goprivate-bypass"]),
    ({"GOPROXY": COMPANY, "GOPRIVATE": "a.example,b.example", "GONOPROXY": "a.example"}, ["goprivate-bypass"]),
    ({"GOPROXY": COMPANY, "GOPRIVATE": "*"}, ["goprivate-bypass", "gonosumdb-too-wide"]),
    ({"GOPROXY": "https://u:p@goproxy.corp.example,direct"}, ["goproxy-password", "goproxy-direct"]),
    ({"GOPROXY": f"https://u:p@goproxy.corp.example|{COMPANY}"}, ["goproxy-password", "goproxy-hides-errors"]),
    ({"GOPROXY": f"https://u:p@goproxy.corp.example,{PUBLIC}"}, ["goproxy-password", "goproxy-leaks-private"]),
    ({"GOPROXY": f"{COMPANY},https://u:p@second.corp.example"}, ["goproxy-password"]),
    ({"GOPROXY": f"{COMPANY},u:p@second.corp.example"}, ["goproxy-password"]),
    ({"GOPROXY": "http://u:p@goproxy.corp.example"}, ["goproxy-plain-http", "goproxy-password"]),
    ({"GOPROXY": "https://u:p@x@goproxy.corp.example,direct"}, ["goproxy-password", "goproxy-direct"]),
    ({"GOPROXY": "https://TOKEN@goproxy.corp.example,direct"}, ["goproxy-password", "goproxy-direct"]),
    ({"GONOSUMDB": "*"}, ["gonosumdb-too-wide"]),
    ({"GONOSUMDB": "github.com"}, ["gonosumdb-too-wide"]),
    ({"GOSUMDB": "off"}, ["gosumdb-off"]),
    ({"GOSUMDB": "sum.corp.example"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum.golang.org https://a https://b"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum.golang.org ftp://x"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum.golang.org x.example:443"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum.golang.org https://x:PORT"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum.golang.org https://[::1"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum.golang.google.cn https://x"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum:x+01234567+AXyzAXyzAXyzAXyzAXyzAXyz"}, ["gosumdb-invalid"]),
    ({"GOPROXY": COMPANY, "GONOSUMDB": "a.example, b.example"}, ["pattern-blank"]),
    ({"GOPROXY": COMPANY, "GONOSUMDB": "a.example ,b.example"}, ["pattern-blank"]),
    ({"GOPROXY": f"{PUBLIC},direct", "GOPRIVATE": "a.example, b.example"}, ["pattern-blank"]),
    (
        {"GOPROXY": f"{PUBLIC},direct", "GOPRIVATE": "a.b, c.d", "GONOPROXY": "a.b, c.d", "GONOSUMDB": "a.b, c.d"},
        ["pattern-blank"],
    ),
    ({"GOFLAGS": "-mod=mod"}, ["goflags"]),
    ({"GOFLAGS": "--insecure"}, ["goflags"]),
    ({"GOINSECURE": "go.corp.example"}, ["goinsecure"]),
]


@pytest.mark.parametrize("values", HEALTHY, ids=str)
def test_healthy_settings(values: dict[str, str]) -> None:
    assert list(check_settings(GoSettings(values))) == []


@pytest.mark.parametrize(("values", "codes"), SICK, ids=str)
def test_sick_settings(values: dict[str, str], codes: list[str]) -> None:
    findings = list(check_settings(GoSettings(values)))
    assert [finding.code for finding in findings] == codes
    assert all(finding.fix for finding in findings)
    assert not re.search("u:p|p@|TOKEN@", str(findings))


@pytest.mark.parametrize(
    ("values", "environment", "fix"),
    [
        ({"GOPROXY": f"{COMPANY},direct"}, {}, f"go env -w GOPROXY={COMPANY}"),
        ({"GOPROXY": f"{COMPANY},direct"}, {"GOPROXY": "x"}, f"export GOPROXY={COMPANY}"),
        (
            {"GOPROXY": COMPANY, "GOPRIVATE": "a.b"},
            {},
            "go env -w GONOSUMDB=a.b\ngo env -u GOPRIVATE",
        ),
        (
            {"GOPROXY": COMPANY, "GOSUMDB": "off", "GONOSUMDB": "a.b"},
            {"GOSUMDB": "off"},
            "go env -w GONOSUMDB=a.b\nunset GOSUMDB",
        ),
        ({"GOPROXY": f"{COMPANY},direct"}, {"GOENV": "off"}, f"export GOPROXY={COMPANY}"),
        ({"GOPRIVATE": "*"}, {"GOENV": "off"}, "unset GOPRIVATE"),
        ({"GOPROXY": "goproxy"}, {}, f"go env -w {MEANT}"),
        ({"GOPROXY": "goproxy"}, {"GOPROXY": "goproxy"}, f"export {MEANT}"),
        ({"GOPROXY": PUBLIC, "GONOSUMDB": "a.b"}, {"GOPROXY": PUBLIC}, f"export {MEANT}"),
        ({"GOPROXY": COMPANY, "GONOSUMDB": "a.b, c.d"}, {}, "go env -w GONOSUMDB=a.b,c.d"),
        ({"GOFLAGS": "-mod=mod -modcacherw"}, {}, "go env -w GOFLAGS=-modcacherw"),
        ({"GONOSUMDB": "*"}, {}, "go env -u GONOSUMDB"),
        ({"GOPRIVATE": "*"}, {}, "go env -u GOPRIVATE"),
        (
            {"GOPROXY": COMPANY, "GOPRIVATE": "a.b", "GONOPROXY": "a.b"},
            {"GONOPROXY": "a.b"},
            "go env -w GONOSUMDB=a.b\nunset GONOPROXY\ngo env -u GOPRIVATE",
        ),
    ],
)
def test_the_command_that_mends_it(values: dict[str, str], environment: dict[str, str], fix: str) -> None:
    (finding,) = check_settings(GoSettings(values, environment))
    assert finding.fix == fix


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a.example,b.example|direct,c.example", [Entry("a.example"), Entry("b.example", True), Entry("direct")]),
        (" https://a , off | x", [Entry("https://a"), Entry("off", True)]),
        ("", []),
        (",|,", []),
    ],
)
def test_goproxy_lists(text: str, entries: list[Entry]) -> None:
    assert list(parse_goproxy(text)) == entries


def test_a_bare_host_means_https() -> None:
    assert Entry("goproxy.corp.example/base/").url == "https://goproxy.corp.example/base"
    assert Entry("goproxy").scheme == ""


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.corp.example", "git.corp.example/x/y", True),
        ("*.corp.example", "corp.example/x", False),
        ("corp.example/team/", "corp.example/team/x", True),
        ("corp.example/team", "corp.example/teams", False),
        ("corp.example/*/x", "corp.example/a/x/y", True),
        ("corp.example/[a-c]?", "corp.example/bz", True),
        ("corp.example/[", "corp.example/[", False),
        (" b.example", "b.example/x", False),
        ("*", "anything/at/all", True),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits


def test_blanks_are_part_of_a_pattern() -> None:
    """As module.MatchPrefixPatterns has it; what is meant is private all the same."""
    settings = GoSettings({"GOPROXY": COMPANY, "GONOSUMDB": "a.example, b.example"})
    assert settings.no_sumdb == ("a.example", " b.example")
    assert settings.private_patterns == ("a.example", "b.example")


def test_patterns_that_cover_others() -> None:
    assert covered("*.corp.example", ("corp.example", "*.corp.example"))
    assert covered("git.corp.example/team", ("*.corp.example",))
    assert not covered("*.corp.example", ("git.corp.example",))
    assert is_too_wide("git*.com")
    assert is_too_wide("github.com/*")
    assert is_too_wide("*/*")
    assert is_too_wide("gitlab.com")
    assert not is_too_wide("github.com/corp")
    assert not is_too_wide("github.com/corp-*")


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("https://u:p@a.example/x/@v/list", "https://***@a.example/x/@v/list"),
        ("Get https://TOKEN@a.example/@v/list: 401", "Get https://***@a.example/@v/list: 401"),
        ("https://u:p@q@a.example", "https://***@a.example"),
        ("ssh://git@a.example/x", "ssh://git@a.example/x"),
        ("ssh://git:p@a.example/x", "ssh://git:***@a.example/x"),
        ("https://a.example/x/@v/list", "https://a.example/x/@v/list"),
    ],
)
def test_no_credentials_are_shown(text: str, visible: str) -> None:
    assert shown(text) == visible


def test_none_of_any_entry() -> None:
    listed = "https://u:p@a.example,TOKEN@b.example/base|https://c.example,direct"
    assert shown_goproxy(listed) == "https://***@a.example,***@b.example/base|https://c.example,direct"
