"""Texts that `go` printed (go1.27, observed), and the cause each names."""

from pathlib import Path
from time import process_time

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
    "go: git.corp.example/x.git@feature: invalid version: unknown revision feature": "git ls-remote "
    "https://git.corp.example/x.git feature   # missing: git push origin feature",
    "go: github.com/aa/r/sub@v1.0.0: invalid version: unknown revision sub/v1.0.0": "git ls-remote --tags "
    "https://github.com/aa/r sub/v1.0.0   # missing: git push origin sub/v1.0.0",
    "go: github.com/aa/r/sub/v2@v2.0.0: invalid version: unknown revision sub/v2.0.0": "git ls-remote --tags "
    "https://github.com/aa/r sub/v2.0.0   # missing: git push origin sub/v2.0.0",
    "go: github.com/aa/r/v2@v2.0.0: invalid version: unknown revision v2.0.0": "git ls-remote --tags "
    "https://github.com/aa/r v2.0.0   # missing: git push origin v2.0.0",
    "go: gopkg.in/yaml.v2@v2.9.9: invalid version: unknown revision v2.9.9": "git ls-remote --tags "
    "https://gopkg.in/yaml.v2 v2.9.9   # missing: git push origin v2.9.9",
    "invalid version: unknown revision v2.0.0": "git ls-remote --tags https://REPOSITORY v2.0.0   "
    "# missing: git push origin v2.0.0",
    "go: a.b/c@abcdef012345: invalid version: unknown revision abcdef012345": "git ls-remote https://a.b/c   "
    "# is a branch there that has abcdef012345? Else push it",
    "verifying go.mod: github.com/Corp/XyZ@v1.0.0/go.mod: reading https://sum.golang.org/lookup/github.com/%21corp/%21xy%21z"
    "@v1.0.0: 404 Not Found": "go env -w GONOSUMDB=github.com/Corp/XyZ   # if it is private; with what GONOSUMDB has "
    "already, comma between",
    "fatal: detected dubious ownership in repository at '/srv/a b'": "git config --global --add safe.directory '/srv/a b'"
    "   # if you trust its owner",
}
# What a proxy or a git server said of its own way to others.
SAID = {
    'Get "https://up.example/x": tls: failed to verify certificate: x509: certificate signed by unknown authority': 500,
    'Get "https://up.example/x": dial tcp: lookup up.example on 10.0.0.53:53: no such host': 404,
    'Get "https://up.example/x": dial tcp 10.0.0.1:443: connect: connection refused': 502,
    'Get "https://up.example/x": dial tcp 10.0.0.1:443: i/o timeout': 500,
    'Get "https://up.example/x": proxyconnect tcp: dial tcp 10.0.0.2:3128: connect: connection refused': 500,
    'Get "https://proxy.golang.org/x": Forbidden': 403,
    f"{AT}verifying go.mod: reading https://sum.golang.org/lookup/go.corp.example/x@v1.0.0: 404 Not Found": 404,
    "dial tcp: lookup up.example: no such host\n\tand set GONOSUMDB": 401,
}
BY_STATUS = {401: "needs-credentials", 403: "forbidden", 404: "not-found", 500: "server-error", 502: "server-error"}
# Each is repeated until the text is long: what some expression, or joining lines, took minutes for.
HOSTILE = [
    *("a.", "a", "a/", "a.b/", "a.b@", "a.b@v1 ", "a:", "QUJD+/x0", "\t\n", " ", "://a:", "https://a@"),
    *('Get "https://a.example/x": ', 'Get "https://a": x509: ', 'Get "https://a": proxyconnect tcp: x509: '),
    *("verifying reading https://a/sumdb/b/ ", "verifying a/lookup/b@c: ", 'go: a: parse "', "go: GOFLAGS "),
    '        x_test.go:1: Get "https://a.example/x": got 200\n',
    '\tGet "https://a": proxyconnect tcp: x509: \n',
]


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
    assert "secret" not in str(explain("go: https://dev:secret@p.corp.example/x is the moon"))


@pytest.mark.parametrize("length", range(440, 470))
def test_nor_is_a_part_of_one_where_a_line_is_cut(length: int) -> None:
    address = "https://dev:secretsecretsecret@p.corp.example/x"
    assert "secret" not in str(explain(f"go: {'x' * length} {address}: zip: not a valid zip file"))
    assert "secret" not in str(explain(f"go: {'x' * (length + 3500)} {address}: {'y' * 9000}"))


@pytest.mark.parametrize(("said", "status"), SAID.items())
def test_what_a_proxy_says_of_its_own_troubles_is_not_this_machines(said: str, status: int) -> None:
    (finding,) = explain(f"{AT}reading {INFO}: {status} Status\n\tserver response: {said}\n").findings
    assert finding.code == BY_STATUS[status]
    assert said.split()[-1] in finding.seen
    (finding,) = explain(f"{AT}reading {INFO}: {status} Status\n\tserver response:\n\t{said}\n\tmore\n").findings
    assert finding.code == BY_STATUS[status]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_is_read_in_no_more_time_than_its_length_takes(unit: str) -> None:
    began = process_time()
    explain("go: " + unit * (60_000 // len(unit)))
    assert process_time() - began < 5


def test_a_cause_after_very_many_continued_lines_is_named() -> None:
    noise = "--- FAIL: TestX\n" + '        x_test.go:1: Get "https://a.example/x": got 200\n' * 1000
    assert [finding.code for finding in explain(f"{noise}\t{GET}EOF\n").findings] == ["connection-cut"]
