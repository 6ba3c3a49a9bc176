"""The doctor's rules over settings, lists and patterns, as tables."""

import pytest

from app.doctor.checks_settings import check_settings
from app.doctor.settings import Entry, GoSettings, covered, is_too_wide, matches, parse_goproxy

COMPANY = "https://goproxy.corp.example"
PUBLIC = "https://proxy.golang.org"
HEALTHY = [
    {},
    {"GOPROXY": COMPANY},
    {"GOPROXY": COMPANY, "GONOSUMDB": "go.corp.example"},
    {"GOPROXY": COMPANY, "GOPRIVATE": "go.corp.example", "GONOPROXY": "none", "GONOSUMDB": "go.corp.example"},
    {"GOPROXY": f"{PUBLIC},direct", "GOPRIVATE": "go.corp.example"},
    {"GOPROXY": "direct", "GOPRIVATE": "go.corp.example"},
    {"GOPROXY": f"{COMPANY},https://second.corp.example"},
    {"GOPROXY": "file:///srv/modules"},
    {"GOPROXY": "http://127.0.0.1:3000"},
    {"GOPROXY": COMPANY, "GOFLAGS": "-modcacherw -buildvcs=false -mod=readonly"},
    {"GOSUMDB": "sum.golang.google.cn"},
    {"GOSUMDB": "sum.corp.example+01234567+AXyzAXyzAXyzAXyzAXyzAXyz https://sum.corp.example"},
]
SICK: list[tuple[dict[str, str], list[str]]] = [
    ({"GOPROXY": "off"}, ["goproxy-off"]),
    ({"GOPROXY": " , "}, ["goproxy-empty"]),
    ({"GOPROXY": "ftp://a.example"}, ["goproxy-invalid"]),
    ({"GOPROXY": "goproxy"}, ["goproxy-invalid"]),
    ({"GOPROXY": "http://goproxy.corp.example"}, ["goproxy-plain-http"]),
    ({"GOPROXY": "https://u:p@goproxy.corp.example"}, ["goproxy-password"]),
    ({"GOPROXY": f"{COMPANY}|https://second.corp.example"}, ["goproxy-hides-errors"]),
    ({"GOPROXY": f"{COMPANY},direct"}, ["goproxy-direct"]),
    ({"GOPROXY": f"{COMPANY}|direct"}, ["goproxy-hides-errors", "goproxy-direct"]),
    ({"GOPROXY": f"{COMPANY},{PUBLIC}"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{COMPANY},{PUBLIC}", "GONOSUMDB": "go.corp.example"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": f"{PUBLIC},direct", "GONOSUMDB": "go.corp.example"}, ["goproxy-leaks-private"]),
    ({"GOPROXY": COMPANY, "GOPRIVATE": "go.corp.example"}, ["goprivate-bypass"]),
    ({"GOPROXY": COMPANY, "GONOPROXY": "go.corp.example"}, ["gonosumdb-missing"]),
    ({"GONOSUMDB": "*"}, ["gonosumdb-too-wide"]),
    ({"GONOSUMDB": "github.com"}, ["gonosumdb-too-wide"]),
    ({"GOSUMDB": "off"}, ["gosumdb-off"]),
    ({"GOSUMDB": "sum.corp.example"}, ["gosumdb-invalid"]),
    ({"GOSUMDB": "sum.golang.org https://a https://b"}, ["gosumdb-invalid"]),
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
    assert "u:p@" not in str(findings)


@pytest.mark.parametrize(
    ("values", "environment", "fix"),
    [
        ({"GOPROXY": f"{COMPANY},direct"}, {}, f"go env -w GOPROXY={COMPANY}"),
        ({"GOPROXY": f"{COMPANY},direct"}, {"GOPROXY": "x"}, f"export GOPROXY={COMPANY}"),
        ({"GOPROXY": COMPANY, "GOPRIVATE": "a.b"}, {}, "go env -w GONOSUMDB=a.b\ngo env -u GOPRIVATE"),
        (
            {"GOPROXY": COMPANY, "GOSUMDB": "off", "GONOSUMDB": "a.b"},
            {"GOSUMDB": "off"},
            "go env -w GONOSUMDB=a.b\nunset GOSUMDB",
        ),
        ({"GOFLAGS": "-mod=mod -modcacherw"}, {}, "go env -w GOFLAGS=-modcacherw"),
        ({"GONOSUMDB": "*"}, {}, "go env -u GONOSUMDB"),
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
        ("*", "anything/at/all", True),
    ],
)
def test_patterns(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits


def test_patterns_that_cover_others() -> None:
    assert covered("*.corp.example", ("corp.example", "*.corp.example"))
    assert covered("git.corp.example/team", ("*.corp.example",))
    assert not covered("*.corp.example", ("git.corp.example",))
    assert is_too_wide("git*.com")
    assert not is_too_wide("github.com/corp")
