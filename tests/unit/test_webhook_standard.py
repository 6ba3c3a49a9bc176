"""Standard Webhooks: what is signed, clocks, garbled headers, and the official package as the judge."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks

from app.domain.announce import Signing, sign
from app.domain.webhook import SCHEMES, BadSignatureError, Secret, verify
from app.services.intake import SAFE_HEADERS
from tests.unit.webhook_requests import (
    BODY,
    KEY,
    NOW,
    WHSEC,
    check,
    reason,
    standard,
)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_clocks_may_differ_by_five_minutes(seconds: int) -> None:
    verified = check("standard-webhooks", standard(at=NOW + timedelta(seconds=seconds)))
    assert verified.skew == timedelta(seconds=seconds)
    assert verified.signed_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [-301, 301, -(10**9)])
def test_older_and_newer_requests_are_stale(seconds: int) -> None:
    with pytest.raises(BadSignatureError) as caught:
        check("standard-webhooks", standard(at=NOW + timedelta(seconds=seconds)))
    assert (caught.value.reason, caught.value.skew) == ("stale", timedelta(seconds=seconds))


def test_a_forged_old_request_is_a_mismatch_and_tells_no_skew() -> None:
    with pytest.raises(BadSignatureError) as caught:
        check("standard-webhooks", standard(b"another key", NOW - timedelta(hours=1)))
    assert (caught.value.reason, caught.value.skew) == ("mismatch", None)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_id_and_timestamp_are_signed(name: str) -> None:
    assert reason("standard-webhooks", standard() | {name: "1767225601"}) == "mismatch"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_standard_header_is_needed(name: str) -> None:
    assert reason("standard-webhooks", standard() | {name: ""}) == "missing"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-timestamp", "1767225600.0"),
        ("webhook-timestamp", "-1767225600"),
        ("webhook-timestamp", "٣"),
        ("webhook-timestamp", "9" * 5000),
        ("webhook-id", "a b"),
        ("webhook-id", "x" * 201),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,%%%"),
        ("webhook-signature", "v1,\xff"),
        ("webhook-signature", "v1,QUJD"),
        ("webhook-signature", "v2," + "A" * 43 + "="),
        ("webhook-signature", " ".join(["v1," + "A" * 43 + "="] * 17)),
        ("webhook-signature", "v1," + "A" * 10_000),
    ],
)
def test_garbled_standard_headers_are_malformed(name: str, value: str) -> None:
    assert reason("standard-webhooks", standard() | {name: value}) == "malformed"


def test_one_good_signature_of_several_is_enough() -> None:
    good = standard()
    others = f"v1a,AAAA nonsense v1,{'A' * 43}="
    assert check("standard-webhooks", good | {"webhook-signature": f"{others} {good['webhook-signature']}"})
    assert reason("standard-webhooks", good | {"webhook-signature": others}) == "mismatch"


def svix() -> dict[str, str]:
    """A good request as Svix' server sends it, unless it is told to name no brand."""
    return {name.replace("webhook-", "svix-"): value for name, value in standard().items()}


def test_svix_names_its_headers_after_itself() -> None:
    verified = check("standard-webhooks", svix())
    assert (verified.delivery_key, verified.signed_at) == ("msg_1", NOW)
    assert reason("standard-webhooks", svix() | {"svix-id": "msg_2"}) == "mismatch"


@pytest.mark.parametrize("name", ["id", "timestamp", "signature"])
def test_headers_of_two_families_are_no_claim(name: str) -> None:
    other = {f"webhook-{name}": standard()[f"webhook-{name}"]}
    assert reason("standard-webhooks", svix() | {f"svix-{name}": ""} | other) == "missing"


def test_where_both_families_are_there_the_standards_own_counts() -> None:
    wrong = dict.fromkeys(svix(), "x")
    assert check("standard-webhooks", standard() | wrong)
    assert reason("standard-webhooks", svix() | standard(b"another key")) == "mismatch"


def test_svix_id_and_time_are_kept_and_its_signature_is_not() -> None:
    assert {name for name in SAFE_HEADERS if name.startswith("svix-")} == {"svix-id", "svix-timestamp"}


@pytest.mark.parametrize("key", [WHSEC, WHSEC.rstrip(b"="), KEY])
def test_forms_of_a_standard_key(key: bytes) -> None:
    assert verify(SCHEMES["standard-webhooks"], [Secret("only", key)], standard(), BODY, NOW).secret_id == "only"


@pytest.mark.parametrize("shown", [WHSEC, WHSEC.removeprefix(b"whsec_")], ids=["whsec_", "bare"])
def test_a_secret_is_read_as_the_official_package_reads_it(shown: bytes) -> None:
    """It decodes what it is given, with the prefix and without."""
    signature = standardwebhooks.Webhook(shown.decode()).sign("msg_1", NOW, BODY.decode())
    headers = standard() | {"webhook-signature": signature}
    assert verify(SCHEMES["standard-webhooks"], [Secret("only", shown)], headers, BODY, NOW).secret_id == "only"
    assert sign("standard-webhooks", BODY, Signing(shown, "msg_1", NOW)) == headers


def test_a_bare_secret_that_happens_to_be_base64_may_be_the_key_itself() -> None:
    chosen = b"correcthorsebatterystaples42"
    for key in (chosen, base64.b64decode(chosen)):
        assert verify(SCHEMES["standard-webhooks"], [Secret("only", chosen)], standard(key), BODY, NOW)
    for key in (b"whsec_" + chosen, b"\0", b""):
        with pytest.raises(BadSignatureError):
            verify(SCHEMES["standard-webhooks"], [Secret("only", chosen)], standard(key), BODY, NOW)


@pytest.mark.parametrize("shown", [b"====", b"====".rjust(20, b"=")])
def test_what_decodes_to_nothing_is_the_key_itself(shown: bytes) -> None:
    assert verify(SCHEMES["standard-webhooks"], [Secret("only", shown)], standard(shown), BODY, NOW)
    with pytest.raises(BadSignatureError):
        verify(SCHEMES["standard-webhooks"], [Secret("only", shown)], standard(b""), BODY, NOW)


@pytest.mark.parametrize("body", ["{}", '{"name":"Zoë 模块"}', '{"type":"release","data":{}}\n'])
def test_what_the_official_package_signs_is_accepted(body: str) -> None:
    signature = standardwebhooks.Webhook(WHSEC.decode()).sign("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", NOW, body)
    headers = standard(delivery="msg_2KWPBgLlAfxdpx2AI54pPJ85f4W") | {"webhook-signature": signature}
    verified = check("standard-webhooks", headers, body.encode())
    assert (verified.delivery_key, verified.secret_id) == ("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "new")


def test_what_we_sign_in_tests_the_official_package_accepts() -> None:
    headers = standard(at=datetime.now(UTC))
    assert standardwebhooks.Webhook(WHSEC.decode()).verify(BODY, headers) == {"ref": "refs/tags/v1.2.3"}
