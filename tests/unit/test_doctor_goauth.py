"""GOAUTH as go reads it: cmd/go/internal/auth, and `go help goauth`."""

import json
from collections.abc import Sequence

import pytest

from app.doctor.goauth import GoAuth, Ran, basic, parse_git_credential, parse_methods, parse_user_auth
from app.doctor.observed import Answer

URL = "https://proxy.corp.example/go/x/@v/list"
DEV = basic(("dev", "s3cret"))


@pytest.mark.parametrize(
    ("setting", "commands", "fatal"),
    [
        ("", ("netrc",), ""),
        ("netrc", ("netrc",), ""),
        ("off", (), ""),
        ("git /work; /bin/helper --for go ;netrc", ("git /work", "/bin/helper --for go", "netrc"), ""),
        ("netrc;", (), "empty command"),
        (";", (), "empty command"),
        ("off;netrc", (), "off cannot be combined"),
    ],
)
def test_the_setting(setting: str, commands: tuple[str, ...], fatal: str) -> None:
    methods = parse_methods(setting)
    assert methods.commands == commands
    assert (fatal in methods.fatal) if fatal else not methods.fatal


def test_what_a_command_prints() -> None:
    printed = "https://a.example/x\nhttps://b.example\n\nAuthorization: Bearer t:1\nX-Team: go\n\nhttps://c.example\n\nA: b\n\n"
    both = {"Authorization": "Bearer t:1", "X-Team": "go"}
    assert parse_user_auth(printed) == {"a.example/x": both, "b.example": both, "c.example": {"A": "b"}}
    assert parse_user_auth("") == {}


@pytest.mark.parametrize(
    "printed",
    [
        "https://a.example\n",
        "https://a.example\n\nA: b\n",
        "https://a.example\n\nA: b",
        "https://a.example\n\nA b\n\n",
        "{}",
    ],
)
def test_what_go_cannot_read_of_a_command(printed: str) -> None:
    with pytest.raises(ValueError, match=r"line"):
        parse_user_auth(printed)


@pytest.mark.parametrize(
    ("printed", "prefix"),
    [
        ("protocol=https\nhost=proxy.corp.example\nusername=dev\npassword=s3cret\n", "proxy.corp.example"),
        ("protocol=https\nhost=proxy.corp.example\npath=go\nusername=dev\npassword=s3cret\n", "proxy.corp.example/go"),
        ("url=https://proxy.corp.example/go\nusername=dev\npassword=s3cret\n", "proxy.corp.example/go"),
    ],
)
def test_what_git_credential_prints(printed: str, prefix: str) -> None:
    assert parse_git_credential(printed, URL) == (prefix, DEV)


@pytest.mark.parametrize(
    "printed", ["", "host=other.example\nprotocol=https\nusername=x\npassword=y\n", "username=x\n"]
)
def test_a_credential_for_another_url_is_none(printed: str) -> None:
    with pytest.raises(ValueError, match="another URL"):
        parse_git_credential(printed, URL)


class Commands:
    """Remembers what was run, and answers from a table; what is not in it cannot be run."""

    def __init__(self, **answers: Ran) -> None:
        self.asked: list[tuple[list[str], str, str]] = []
        self._answers = answers

    def __call__(self, command: Sequence[str], directory: str, stdin: str) -> Ran:
        self.asked.append((list(command), directory, stdin))
        return self._answers.get(command[0], Ran(None))


def answer(status: int) -> Answer:
    return Answer(URL, status, {"www-authenticate": "Basic"}, b"")


def test_commands_are_asked_as_go_asks_them() -> None:
    commands = Commands(
        helper=Ran(0, ""), git=Ran(0, "protocol=https\nhost=proxy.corp.example\nusername=dev\npassword=s3cret\n")
    )
    auth = GoAuth(parse_methods("helper 'a b' \"c\";git /work"), run=commands)
    assert auth.headers("http://proxy.corp.example/") == {}
    assert commands.asked == []  # nothing is sent without TLS, and so nothing asked
    assert auth.headers(URL) == {}
    assert commands.asked == [(["helper", "a b", "c"], "", "")]  # git is asked for a URL alone
    assert not auth.again(URL, answer(200))
    assert not auth.again(URL, answer(503))
    assert auth.again(URL, answer(401))
    assert commands.asked[1:] == [
        (["git", "credential", "fill"], "/work", f"url={URL}\n"),
        (["helper", "a b", "c", URL], "", "HTTP/1.1 401\nwww-authenticate: Basic\n\n"),
    ]
    assert auth.headers(URL) == DEV
    assert not auth.again(URL, answer(401))  # nothing new: asking again would tell nothing
    assert auth.problems() == ()


def test_the_first_command_counts_and_the_longest_prefix() -> None:
    netrc = {"proxy.corp.example": ("dev", "s3cret"), "other.example": ("o", "p")}
    printed = "https://proxy.corp.example/go\n\nAuthorization: Bearer long\n\nhttps://other.example\n\nA: first\n\n"
    first = GoAuth(parse_methods("helper;netrc"), netrc, Commands(helper=Ran(0, printed)))
    assert first.headers(URL) == {"Authorization": "Bearer long"}
    assert first.headers("https://proxy.corp.example/gone") == DEV
    assert first.headers("https://other.example") == {"A": "first"}
    last = GoAuth(parse_methods("netrc;helper"), netrc, Commands(helper=Ran(0, printed)))
    assert last.headers("https://other.example") == basic(("o", "p"))
    assert last.headers("https://proxy.corp.example:8443/") == {}


@pytest.mark.parametrize(
    ("ran", "why"),
    [(Ran(None), "cannot be run"), (Ran(3, ""), "status 3"), (Ran(0, "nonsense"), "line"), (Ran(0, ""), "")],
)
def test_what_gave_nothing_is_told_without_what_it_printed(ran: Ran, why: str) -> None:
    auth = GoAuth(parse_methods("helper"), run=Commands(helper=ran))
    assert auth.headers(URL) == {}
    assert [why in each.problem for each in auth.problems()] == ([True] if why else [])
    assert "nonsense" not in json.dumps([each.problem for each in auth.problems()])
    assert "s3cret" not in repr(GoAuth(netrc={"h": ("dev", "s3cret")})) + repr(Ran(0, "s3cret"))
