"""No secret leaves in text, in whichever shape; and text without secrets stays as it is."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.redact import MASK, redact

SHAPES = {
    "behind a path": ("services/db/password: hunter2hunter", "services/db/password: ***"),
    "behind an absolute path": ("/prod/api/secret: hunter2hunter", "/prod/api/secret: ***"),
    "user and password": ("fatal: https://bob:hunter2hunter@host/x.git gone", "fatal: https://***@host/x.git gone"),
    "token as user": ("https://hunter2hunter@host:8443/x", "https://***@host:8443/x"),
    "empty user": ("https://:hunter2hunter@host/x", "https://***@host/x"),
    "password with @": ("https://bob:hunter2hunter@@host/x", "https://***@host/x"),
    "ssh password": ("ssh://git:hunter2hunter@host/x", "ssh://***@host/x"),
    "database": ("postgresql+psycopg://app:hunter2hunter@db/modsync", "postgresql+psycopg://***@db/modsync"),
    "redis without user": ("redis://:hunter2hunter@cache:6379/0", "redis://***@cache:6379/0"),
    "private_token": ("GET /x?private_token=hunter2hunter&a=1", "GET /x?private_token=***&a=1"),
    "access_token": ("/x?a=1&access_token=hunter2hunter", "/x?a=1&access_token=***"),
    "job token": ("/x?job_token=hunter2hunter#top", "/x?job_token=***"),
    "bare token": ("/x?token=hunter2hunter", "/x?token=***"),
    "authorization": ("> Authorization: Basic aHVudGVyMjpodW50ZXIy", "> Authorization: ***"),
    "header in json": ('{"PRIVATE-TOKEN": "hunter2hunter"', '{"PRIVATE-TOKEN": ***'),
    "private token header": ("PRIVATE-TOKEN: hunter2hunter\nnext", "PRIVATE-TOKEN: ***\nnext"),
    "gitlab hook header": ("x-gitlab-token: hunter2hunter", "x-gitlab-token: ***"),
    "cookie": ("Set-Cookie: session=hunter2hunter; Path=/", "Set-Cookie: ***"),
    "bearer alone": ("sent Bearer hunter2hunter now", "sent Bearer *** now"),
    "extra header": ("http.extraHeader=AUTHORIZATION: basic aHVudGVyMg==", "http.extraHeader=AUTHORIZATION: ***"),
    "json": ('{"access_token": "hunter2\\"hunter", "a": 1}', '{"access_token": "***", "a": 1}'),
    "assignment": ("password=hunter2hunter host=db", "password=*** host=db"),
    "variable": ("GITLAB_TOKEN=hunter2hunter go build", "GITLAB_TOKEN=*** go build"),
    "exported": ("+ export GOPROXY_TOKEN=hunter2hunter", "+ export GOPROXY_TOKEN=***"),
    "password variable": ("DEPLOY_PASSWORD=hunter2hunter", "DEPLOY_PASSWORD=***"),
    "pass variable": ("DB_PASS=hunter2hunter", "DB_PASS=***"),
    "libpq's": ("PGPASSWORD=hunter2hunter psql", "PGPASSWORD=*** psql"),
    "amazon's": ("AWS_SECRET_ACCESS_KEY=hunter2/hunter+x==", "AWS_SECRET_ACCESS_KEY=***"),
    "single quotes": ("DB_PASSWORD='hunter2 hunter' x", "DB_PASSWORD=*** x"),
    "double quotes": ('DB_PASSWORD="hunter2 \\" hunter" x', "DB_PASSWORD=*** x"),
    "open quotes": ("DB_PASSWORD='hunter2 hunt", "DB_PASSWORD=***"),
    "make": ("API_TOKEN := hunter2hunter", "API_TOKEN := ***"),
    "compared": ("token == hunter2hunter", "token == ***"),
    "ruby": (":password => 'hunter2 hunter'", ":password => ***"),
    "yaml password": ("  password: hunter2hunter\n  user: x", "  password: ***\n  user: x"),
    "yaml token": ("token: hunter2hunter", "token: ***"),
    "yaml in quotes": ("db-password: 'hunter2 hunter'", "db-password: ***"),
    "yaml aligned": ("password          : hunter2hunter", "password          : ***"),
    "npm": ("//npm.corp.example/:_authToken=hunter2hunter", "//npm.corp.example/:_authToken=***"),
    "json with prefix": ('{"gitlab_token": "hunter2hunter"}', '{"gitlab_token": "***"}'),
    "json cut off": ('{"db_password": "hunter2 hun', '{"db_password": "***"'),
    "option": ("helm login --password hunter2hunter host", "helm login --password *** host"),
    "option with prefix": ("x --registry-gitlab-token 'hunter2 hunter' y", "x --registry-gitlab-token *** y"),
    "option with =": ("x --api-key=hunter2hunter y", "x --api-key=*** y"),
    "scheme behind a name": ("Token: Bearer hunter2hunter", "Token: ***"),
    "basic behind a name": ("X-Api-Key: Basic aHVudGVyMjpodW50ZXIy x", "X-Api-Key: *** x"),
    "scheme behind =": ("token=Bearer hunter2hunter x", "token=*** x"),
    "netrc": (
        "machine git.corp.example login bob password hunter2hunter",
        "machine git.corp.example login bob password ***",
    ),
    "netrc in lines": (
        "machine h\n  login bob\n  password hunter2hunter\n",
        "machine h\n  login bob\n  password ***\n",
    ),
    "netrc without login": ("default password hunter2hunter", "default password ***"),
    "gitlab token": ("found glpat-hunter2hunter_AB.01 in it", "found *** in it"),
    "github token": ("found ghp_hunter2hunter2hunter in it", "found *** in it"),
}

PEOPLE = {
    "gitlab": ("Committer's email jane.doe@corp.example does not follow", "Committer's email *** does not follow"),
    "author": ("remote: Author: Jane Doe <jane@corp.example> is no member", "remote: Author: *** is no member"),
    "name in quotes": ('by "Doe, Jane" <jane@corp.example>.', "by ***."),
    "many words": ("(Jane van der Doe <jane+x@mail.corp.example>)", "(***)"),
    "no latin": ("von Jörg Müller <j@ä.example>", "***"),
    "comma": ("Doe, Jane <j@corp.example>: no", "***: no"),
    "in a query": ("GET /users?search=jane%40corp.example&x=1", "GET /users?search=***&x=1"),
    "two": ("a@b.example, c_d@e.example", "***, ***"),
    "mailto": ("mailto:jane@corp.example", "mailto:***"),
    "in a line of a log": ("To jane@corp.example\nfailed", "To ***\nfailed"),
    "of a host inside": ("root@build-7.corp.example's password", "***'s password"),
}
HARMLESS = [
    "go: corp.example/auth/token: unrecognized import path",
    "module corp.example/lib@v1.2.3-rc.one and lib@v2.0.0-beta.two, lib@v1.0.0",
    "go get example@latest, corp.example/team/lib@feature.name, actions/checkout@v4",
    "refs/heads/x@y, HEAD@{1}, @latest, <a> b@c <d@e>",
    "git@git.example:group/lib.git and deploy at https://proxy.example/corp.example/lib/@v/v1.0.0.info",
    "fatal: repository 'https://git.example/group/lib.git/' not found",
    "ssh://git@git.example/group/lib.git and git@git.example:group/lib.git",
    "remote: GitLab: You are not allowed to push code to protected branches on this project.",
    " ! [remote rejected] refs/tags/v1.0.0 -> v1.0.0 (pre-receive hook declined)",
    "module corp.example/lib@v1.2.3-0.20260101000000-abcdefabcdef at 12:30:01",
    'the token expired; password authentication failed for user "bob"; the secret token is gone',
    "MODSYNC_TOKEN: is not set, and neither is MODSYNC_TOKEN_FILE",
    "token_expired: the token: expired; PWD=/builds/go/lib; --- PASS: TestLogin (0.00s); gpg: Signature made today",
    "use --token to name one, or --password and the machine's name; tokens: 3, passwords=2, compass=north",
    "token_expired: see https://git.example/x?page=2&per_page=100",
    "",
]


@pytest.mark.parametrize(("text", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(("text", "expected"), PEOPLE.values(), ids=PEOPLE)
def test_people(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text", ["a@" * 10_000, "a " * 20_000 + "@", "a." * 20_000, "x@" + "a." * 10_000, "<" * 9999 + "@"]
)
def test_a_long_text_takes_no_long_time(text: str) -> None:
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 2


MEGABYTE = 1_000_000
HOSTILE = [
    "_", "_-", "token", "token_", "token ", "token:", "token=", 'token="', "token='\\", "password \t", "secret_access_",
    "--", "--a-", "--token ", "--a-token-", "machine ", "machine a login ", "machine a login b account c ", "default ",
    '"', '"token"', '"token":"\\', "a://", "a://:", "https://a", "?token", "Cookie \n", "Bearer ", "glpat-", "pass", "_pass",
    "machine" + " " * 39, "token" + " " * 39, "--" + "a" * 39 + "-",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_is_looked_through_in_one_go(piece: str) -> None:
    """By this process' own time. What looks at each character for each other one would take minutes."""
    began = time.process_time()
    redact(piece * (MEGABYTE // 10 // len(piece)))
    assert time.process_time() - began < 10


def test_and_all_of_them_together() -> None:
    mixed = "".join(HOSTILE)
    began = time.process_time()
    redact(mixed * (MEGABYTE // len(mixed)))
    assert time.process_time() - began < 60


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_stays(text: str) -> None:
    assert redact(text, ["s3cret-value"]) == text


def test_known_values_in_every_form() -> None:
    secret = "p@ss/word+1~x"
    basic = base64.b64encode(f"oauth2:{secret}".encode()).decode()
    text = f"a {secret} b {quote(secret, safe='')} c {quote(secret)} d {basic} e"
    assert redact(text, [secret]) == f"a {MASK} b {MASK} c {MASK} d {MASK} e"


def test_an_empty_secret_is_ignored() -> None:
    assert redact("abc", [""]) == "abc"


def test_of_two_secrets_the_longer_goes_first() -> None:
    assert redact("x secret-long y secret z", ["secret", "secret-long"]) == f"x {MASK} y {MASK} z"


token = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(st.text(max_size=20), token, st.text(max_size=20))
def test_a_known_value_never_survives(before: str, secret: str, after: str) -> None:
    assert secret not in redact(f"{before} {secret} {after}".replace(MASK, ""), [secret]).replace(MASK, "\n")


@given(st.text("abcxyz0189", max_size=9), token)
def test_a_basic_header_of_any_user_never_survives(user: str, secret: str) -> None:
    encoded = base64.b64encode(f"{user}:{secret}".encode()).decode()
    assert redact(f"sent {encoded} to it", [secret]) == f"sent {MASK} to it"
    assert redact(f"sent {encoded} to it", ["another-secret"]) != f"sent {MASK} to it"


@given(
    st.from_regex(r"[A-Za-z0-9]{0,9}[_-]", fullmatch=True),
    st.sampled_from(["TOKEN", "password", "secret", "API_KEY", "secret-access-key", "Passphrase"]),
    st.sampled_from(["=", ": ", " = ", ":", " := "]),
    st.sampled_from(["'", '"']),
    st.text("abcXYZ019 +/$#&;,", min_size=1).map(lambda text: f"hunter2{text}hunter2"),
)
def test_what_a_name_is_given_in_quotes_never_survives(
    before: str, name: str, sign: str, mark: str, value: str
) -> None:
    assert redact(f"x {before}{name}{sign}{mark}{value}{mark} y") == f"x {before}{name}{sign}{MASK} y"


@given(st.text(max_size=60))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text)
    assert redact(once) == once
