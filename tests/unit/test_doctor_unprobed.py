"""Web proxies that go speaks to and the doctor does not: nothing is said of what could not be asked."""

from pathlib import Path

import pytest

from app.doctor.examine import Question, decide, observe
from app.doctor.probe_http import Client
from app.doctor.probe_trust import trusting
from tests.sandbox.bad_servers import Listener, cutting

SETTINGS = {"GOPROXY": "https://goproxy.corp.example", "GONOSUMDB": "go.corp.example", "PATH": "/nowhere"}


def codes(tmp_path: Path, **settings: str) -> list[str]:
    environment = {**SETTINGS, "HOME": str(tmp_path), **settings}
    question = Question(("go.corp.example/x@v1.0.0",), timeout=2.0)
    return [finding.code for finding in decide(observe(question, environment, tmp_path))]


@pytest.mark.parametrize("scheme", ["https", "socks5", "socks5h"])
@pytest.mark.parametrize("goproxy", ["https://goproxy.corp.example", "direct"])
def test_nothing_is_said(tmp_path: Path, scheme: str, goproxy: str) -> None:
    with Listener(cutting) as door:  # the end of an http CONNECT to one of these
        egress = door.url.replace("http", scheme, 1)
        assert codes(tmp_path, GOPROXY=goproxy, HTTPS_PROXY=egress) == []


def test_of_a_plain_one_it_is(tmp_path: Path) -> None:
    with Listener(cutting) as door:
        assert "egress-down" in codes(tmp_path, HTTPS_PROXY=door.url)


def test_the_failure_says_why() -> None:
    outcome = Client(trusting({})[0], {"HTTPS_PROXY": "socks5://u:secret@p.example:1080"}).fetch("https://a.example/")
    assert "not asked: the doctor does not speak to p.example:1080" in str(outcome)
    assert "secret" not in str(outcome)
