"""What the doctor prints for people and for programs, and what it makes of broken certificates."""

import json

from app.doctor.certificate import read_certificate
from app.doctor.conformance import Check
from app.doctor.explain import Explained, explain
from app.doctor.findings import found
from app.doctor.report import checks_json, checks_text, explained_text, findings_json, findings_text

FINDING = found("gosumdb-off", "GOSUMDB=off", "go env -w GONOSUMDB=a.b", "go env -u GOSUMDB")


def test_a_finding_as_text() -> None:
    lines = "\n".join(findings_text([FINDING])).splitlines()
    assert lines[:2] == ["[gosumdb-off]", "  seen  GOSUMDB=off"]
    assert lines[2].startswith("  why   Checksums of public modules are not checked")
    assert lines[-3:] == [
        "  fix   go env -w GONOSUMDB=a.b",
        "        go env -u GOSUMDB",
        "  read  docs/doctor.md#gosumdb-off",
    ]
    assert max(map(len, lines)) <= 100


def test_a_finding_as_json() -> None:
    value = json.loads(findings_json([FINDING], goproxy="off"))
    assert value["goproxy"] == "off"
    assert value["findings"][0].keys() == {"code", "seen", "why", "fix", "docs"}


def test_explanations_as_text() -> None:
    assert list(explained_text(Explained([], []))) == ["No error of go's in this text."]
    assert list(explained_text(explain("go: the moon is full"))) == ["Not explained:", "  go: the moon is full"]


def test_a_table_of_checks() -> None:
    checks = [
        Check("list", "pass", "2 versions", "x"),
        Check("latest m", "fail", "500", "200"),
        Check("h1", "skip", "", ""),
    ]
    assert list(checks_text(checks)) == [
        "pass  list      2 versions",
        "fail  latest m  500",
        "                wanted: 200",
        "skip  h1        ",
        "\n1 pass, 1 fail, 1 skip",
    ]
    value = json.loads(checks_json(checks, "https://dev:secret@p.example"))
    assert (value["url"], value["passed"], len(value["checks"])) == ("https://***@p.example", False, 3)


def test_bytes_that_are_no_certificate() -> None:
    for data in (b"", b"0", b"\x30\x82\x01", b"\x30\x03\x02\x01\x05", b"-----BEGIN CERTIFICATE-----"):
        assert read_certificate(data) is None
