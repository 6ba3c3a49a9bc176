"""Texts that `go` printed (go1.27, observed), and the cause each names."""

from pathlib import Path

import pytest

from app.doctor.explain import explain

GOLDEN = Path(__file__).parent / "golden/go-output.txt"
AT = "go: go.corp.example/x@v1.0.0: "
INFO = "https://p.corp.example/go.corp.example/x/@v/v1.0.0.info"
GET = f'{AT}Get "{INFO}": '
CASES = [block.split("\n", 1) for block in GOLDEN.read_text().split("=== ")[1:]]


@pytest.mark.parametrize(("code", "text"), CASES)
def test_what_go_printed(code: str, text: str) -> None:
    explained = explain(text)
    assert [finding.code for finding in explained.findings] == [code]
    assert explained.unexplained == []
    fix = explained.findings[0].fix
    assert fix
    assert "{" not in fix.replace("${", "")


FILE = '"${{NETRC:-$HOME/.netrc}}"'  # for str.format
NETRC = f"printf '\\nmachine %s login %s password %s\\n' {{}} USER TOKEN >> {FILE} && chmod 600 {FILE}"
MISMATCH = (
    "modsync explain go.corp.example/x@v1.0.0   # compare with the released commit; only when the new content is the right "
    "one: go clean -modcache, and take the module's old lines out of go.sum"
)
FIXES = {
    "go: a.b/c@v2.0.0: invalid version: should be v0 or v1, not v2": "go get a.b/c/v2@v2.0.0   # import it by that path",
    f"{AT}invalid version: unknown revision v1.0.0": "git ls-remote --tags https://go.corp.example/x v1.0.0   "
    "# missing: git push origin v1.0.0",
    "fatal: could not read Username for 'https://git.corp.example': terminal prompts disabled": NETRC.format(
        "git.corp.example"
    ),
    "fatal: could not read Username for 'https://git.corp.example:8443': terminal prompts disabled": NETRC.format(
        "git.corp.example"
    ),
    "fatal: could not read Password for 'https://oauth2@git.corp.example': terminal prompts disabled": NETRC.format(
        "git.corp.example"
    ),
    f"{AT}missing go.sum entry for go.mod file; to add it:\n\tgo mod download go.corp.example/x": "go mod download "
    "go.corp.example/x   # or: go mod tidy",
    "b.go:3:8: missing go.sum entry for module providing package c.d/e (imported by a.b/c); to add:\n\tgo get a.b/c": "go "
    "get a.b/c   # or: go mod tidy",
    f"{AT}verifying module: checksum mismatch\n\tdownloaded: h1:a\n\tsum.golang.org: h1:b": MISMATCH,
    "verifying go.corp.example/x@v1.0.0: checksum mismatch\n\tdownloaded: h1:a\n\tgo.sum: h1:b": MISMATCH,
    f"{AT}reading https://p.corp.example:8443/x: 401 Unauthorized": NETRC.format("p.corp.example:8443"),
}


@pytest.mark.parametrize(("text", "fix"), FIXES.items())
def test_the_command_names_what_is_in_the_text(text: str, fix: str) -> None:
    assert explain(text).findings[0].fix == fix


def test_good_output_has_no_cause() -> None:
    text = "go: downloading a.b/c v1.0.0\ngo: finding module for package a.b/c\ngo: added a.b/c v1.0.0\nok  \ta.b/c\t0.1s\n"
    explained = explain(text)
    assert (explained.findings, explained.unexplained) == ([], [])


def test_an_unknown_error_is_said_to_be_unknown() -> None:
    assert explain("go: the moon is full\n").unexplained == ["go: the moon is full"]


def test_several_causes_each_once() -> None:
    text = f"{GET}EOF\n{GET}EOF\ngo: module lookup disabled by GOPROXY=off\n"
    assert [finding.code for finding in explain(text).findings] == ["connection-cut", "goproxy-off"]


def test_passwords_in_gos_output_are_not_repeated() -> None:
    assert "secret" not in str(explain(f'{AT}Get "https://dev:secret@p.corp.example/x": EOF').findings)
