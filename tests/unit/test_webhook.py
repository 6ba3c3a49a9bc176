"""Signatures of every scheme: what is accepted, what is refused and why, and that nothing of it shows from outside."""

from __future__ import annotations

import contextlib
import hmac
from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.schemes import secret_problem
from app.domain.webhook import SCHEMES, BadSignatureError, Secret, verify, verify_unknown
from app.services.intake import Intake
from app.services.planning import SourceOptions
from tests.unit.webhook_requests import (
    BODY,
    GOOD,
    KEY,
    NEW,
    NOW,
    OLD,
    SIGNED_BY_DIGEST,
    WHSEC,
    check,
    digest,
    reason,
    secrets,
    standard,
)


def test_every_scheme_is_tested() -> None:
    assert set(GOOD) == set(SCHEMES)
    assert all(name == scheme.name for name, scheme in SCHEMES.items())


@pytest.mark.parametrize("scheme", GOOD)
def test_a_good_request_names_its_secret_and_delivery(scheme: str) -> None:
    verified = check(scheme, GOOD[scheme])
    delivery = None if scheme in ("article", "artifactory") else "d-1"
    assert (verified.raw, verified.scheme, verified.secret_id) == (BODY, scheme, "new")
    assert verified.delivery_key == delivery
    assert verified.delivery_signed == (scheme == "standard-webhooks")
    assert verified.signed_at == (NOW if scheme == "standard-webhooks" else None)


@pytest.mark.parametrize("scheme", GOOD)
def test_header_names_in_any_case_and_blanks_around_values(scheme: str) -> None:
    loud = {name.upper(): f" {value}\t" for name, value in GOOD[scheme].items()}
    assert check(scheme, loud).secret_id == "new"


@pytest.mark.parametrize("scheme", sorted(set(GOOD) - {"gitlab-token"}))
def test_another_body_is_a_mismatch(scheme: str) -> None:
    assert reason(scheme, GOOD[scheme], BODY + b" ") == "mismatch"


@pytest.mark.parametrize("scheme", GOOD)
def test_no_header_is_missing(scheme: str) -> None:
    assert reason(scheme, {"Content-Type": "application/json"}) == "missing"


@pytest.mark.parametrize("scheme", GOOD)
def test_a_source_without_secrets_refuses(scheme: str) -> None:
    with pytest.raises(BadSignatureError) as caught:
        verify(SCHEMES[scheme], [], GOOD[scheme], BODY, NOW)
    assert caught.value.reason == "no_secret"


@pytest.mark.parametrize("scheme", SIGNED_BY_DIGEST)
@pytest.mark.parametrize("known", [b"", b"\0"])
def test_keys_that_anybody_knows_never_match(scheme: str, known: bytes) -> None:
    name, value = next(iter(GOOD[scheme].items()))
    forged = {name: value.replace(digest(), digest(known))}
    for keys in ([], [Secret("empty", b"")]):
        with pytest.raises(BadSignatureError):
            verify(SCHEMES[scheme], keys, forged, BODY, NOW)


@pytest.mark.parametrize("key", [b"", b"whsec_", b"whsec_!!!", b"whsec_\xff", "whsec_é".encode()])
@pytest.mark.parametrize("guess", [b"", b"\0", b"whsec_", b"whsec_!!!"])
def test_a_malformed_whsec_key_never_matches(key: bytes, guess: bytes) -> None:
    with pytest.raises(BadSignatureError):
        verify(SCHEMES["standard-webhooks"], [Secret("bad", key)], standard(guess), BODY, NOW)


def test_an_empty_plain_token_never_matches() -> None:
    with pytest.raises(BadSignatureError):
        verify(SCHEMES["gitlab-token"], [Secret("empty", b"")], {"X-Gitlab-Token": "\0"}, BODY, NOW)


@pytest.mark.parametrize("scheme", SIGNED_BY_DIGEST)
@pytest.mark.parametrize(
    "change",
    [
        lambda hexes: hexes[:-1],
        lambda hexes: hexes + "0",
        lambda hexes: hexes[:-1] + "g",
        lambda hexes: hexes[:-1] + "٣",
        lambda hexes: hexes[:32] + " " + hexes[32:],
        lambda hexes: "sha256=sha256=" + hexes,
        lambda hexes: hexes + "," + hexes,
        lambda hexes: "\xff" * 64,
        lambda hexes: hexes * 10_000,
    ],
)
def test_garbled_digests_are_malformed(scheme: str, change: object) -> None:
    assert callable(change)
    name, value = next(iter(GOOD[scheme].items()))
    assert reason(scheme, {name: value.replace(digest(), change(digest()))}) == "malformed"


@pytest.mark.parametrize("scheme", SIGNED_BY_DIGEST)
def test_upper_case_hex_is_hex(scheme: str) -> None:
    name, value = next(iter(GOOD[scheme].items()))
    assert check(scheme, {name: value.replace(digest(), digest().upper())}).secret_id == "new"


@pytest.mark.parametrize("scheme", ["article", "github"])
def test_sha1_and_a_bare_digest_are_malformed(scheme: str) -> None:
    name = next(iter(GOOD[scheme]))
    assert reason(scheme, {name: digest()}) == "malformed"
    assert reason(scheme, {name: "sha1=" + digest()[:40]}) == "malformed"


def test_both_headers_of_the_article_s_scheme() -> None:
    good, bad = f"sha256={digest()}", f"sha256={digest(b'another key')}"
    assert check("article", {"X-Hub-Signature-256": good}).secret_id == "new"
    assert check("article", {"X-Hub-Signature-256": bad, "X-Gitlab-Token": good}).secret_id == "new"
    assert reason("article", {"X-Gitlab-Token": KEY.decode()}) == "malformed"


def test_gitea_s_own_header_comes_before_github_s() -> None:
    hub = {"X-Hub-Signature-256": f"sha256={digest()}"}
    assert check("gitea", hub).secret_id == "new"
    assert reason("gitea", hub | {"X-Gitea-Signature": digest(b"another key")}) == "mismatch"
    assert reason("forgejo", GOOD["gitea"] | {"X-Forgejo-Signature": digest(b"another key")}) == "mismatch"


@pytest.mark.parametrize("sent", [OLD, NEW])
def test_rotation_tells_which_secret_matched(sent: Secret) -> None:
    headers = {"X-Hub-Signature-256": f"sha256={digest(sent.key)}"}
    for order in ([OLD, NEW], [NEW, OLD], [*[Secret(f"s{n}", b"x" * n) for n in range(1, 9)], OLD, NEW]):
        assert verify(SCHEMES["github"], order, headers, BODY, NOW).secret_id == sent.id


@pytest.mark.parametrize("key", ["tökén of sixteen", "plain"])
def test_plain_tokens_beyond_ascii(key: str) -> None:
    as_wsgi_gives_it = key.encode().decode("latin-1")
    scheme, secret = SCHEMES["gitlab-token"], [Secret("only", key.encode())]
    assert verify(scheme, secret, {"X-Gitlab-Token": as_wsgi_gives_it}, BODY, NOW).secret_id == "only"
    with pytest.raises(BadSignatureError):
        verify(scheme, secret, {"X-Gitlab-Token": as_wsgi_gives_it + "x"}, BODY, NOW)


def test_a_huge_plain_token_is_malformed() -> None:
    assert reason("gitlab-token", {"X-Gitlab-Token": "x" * 100_000}) == "malformed"


@pytest.mark.parametrize("value", ["", "d 1", "d\x7f1", "é", "x" * 201])
def test_an_illegal_delivery_id_is_no_delivery_id(value: str) -> None:
    assert check("github", GOOD["github"] | {"X-GitHub-Delivery": value}).delivery_key is None


@pytest.mark.parametrize("headers", [{}, *GOOD.values()])
def test_unknown_sources_and_bad_signatures_look_the_same(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignatureError) as unknown:
        verify_unknown(headers, BODY, NOW)
    with pytest.raises(BadSignatureError) as bad:
        check("github", {})
    for error in (unknown.value, bad.value):
        assert (error.code, str(error), error.field, error.retry_after) == (bad.value.code, str(bad.value), None, None)
        assert error.reason not in error.message


@pytest.fixture
def hmacs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One for each HMAC that is computed; True for one over the whole body."""
    calls: list[bool] = []
    real = hmac.digest

    def counted(key: bytes, message: bytes, name: str) -> bytes:
        calls.append(len(message) >= len(BODY))
        return real(key, message, name)

    monkeypatch.setattr(hmac, "digest", counted)
    return calls


@pytest.mark.parametrize("scheme", GOOD)
def test_the_same_number_of_hmacs_for_every_answer(scheme: str, hmacs: list[bool]) -> None:
    with pytest.raises(BadSignatureError):
        verify_unknown({}, BODY, NOW)
    unknown = len(hmacs)
    requests: list[tuple[dict[str, str], bytes]] = [(GOOD[scheme], BODY), (GOOD[scheme], BODY + b" "), ({}, BODY)]
    for headers, body in requests:
        for keys in ([], secrets(scheme)[:1], secrets(scheme), secrets(scheme)[::-1]):
            hmacs.clear()
            with contextlib.suppress(BadSignatureError):
                verify(SCHEMES[scheme], keys, headers, body, NOW)
            assert len(hmacs) == unknown
            assert all(hmacs)


def test_every_request_does_the_work_of_the_source_with_the_most_keys(hmacs: list[bool]) -> None:
    """A bare base64 secret of standard-webhooks has two."""
    bare = [Secret(str(number), b"bare%024d" % number) for number in range(3)]
    known = {
        name: SourceOptions(name, scheme, tuple(keys))
        for name, scheme, keys in (("bare", "standard-webhooks", bare), ("plain", "github", [NEW]))
    }
    nothing: Any = None
    clock: Any = SimpleNamespace(now=lambda: NOW)
    intake = Intake(known, nothing, nothing, nothing, clock, nothing)
    for source in ("bare", "plain", "unknown"):
        hmacs.clear()
        with pytest.raises(BadSignatureError):
            intake.receive(source, {}, BODY)
        assert hmacs == [True] * 6, source


def test_secrets_and_bodies_stay_out_of_repr() -> None:
    shown = repr(NEW) + repr(check("github", GOOD["github"]))
    assert KEY.decode() not in shown
    assert "v1.2.3" not in shown


@pytest.mark.parametrize(
    ("scheme", "key", "problem"),
    [
        ("github", KEY, None),
        ("standard-webhooks", WHSEC, None),
        ("standard-webhooks", KEY, None),
        ("standard-webhooks", WHSEC.removeprefix(b"whsec_"), None),
        ("github", b"", "empty"),
        ("github", b"short", "16 bytes"),
        ("standard-webhooks", b"whsec_!", "base64"),
        ("standard-webhooks", b"whsec_c2hvcnQ=", "16 bytes"),
    ],
)
def test_problems_of_configured_secrets(scheme: str, key: bytes, problem: str | None) -> None:
    said = secret_problem(SCHEMES[scheme], key)
    assert said == problem if problem is None else problem in str(said)
