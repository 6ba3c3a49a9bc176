"""Bodies to JSON objects: every scheme's JSON, GitHub's forms, and what is refused."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from app.domain.errors import SyncError
from app.domain.webhook import SCHEMES, VerifiedBody, decode

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TEXT = '{"zen": "Zoë & 模块 + 100%"}'


def body(raw: bytes, scheme: str = "github") -> VerifiedBody:
    return VerifiedBody(raw, scheme, "only")


def refused(raw: bytes, content_type: str = JSON, scheme: str = "github") -> tuple[str, str | None]:
    with pytest.raises(SyncError) as caught:
        decode(body(raw, scheme), content_type)
    return caught.value.code, caught.value.field


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", "", "text/plain", FORM])
def test_an_object_is_read_under_any_content_type(scheme: str, content_type: str) -> None:
    assert decode(body(TEXT.encode(), scheme), content_type) == json.loads(TEXT)


@pytest.mark.parametrize("content_type", [FORM, FORM.upper(), f"{FORM}; charset=UTF-8"])
def test_github_s_default_form(content_type: str) -> None:
    assert decode(body(urlencode({"payload": TEXT}).encode()), content_type) == json.loads(TEXT)


def test_only_github_sends_forms() -> None:
    raw = urlencode({"payload": TEXT}).encode()
    assert refused(raw, FORM, "gitea") == ("invalid_payload", "body")
    assert refused(raw, JSON, "github") == ("invalid_payload", "body")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "payload"),
        (b"payload=", "payload"),
        (b"payload", "body"),
        (b"payload=%FF", "body"),
        (b"payload=\xff", "body"),
        (b"&".join([b"a=1"] * 9), "body"),
        (b"other=1", "payload"),
        (b"payload=%7B%7D&payload=%7B%7D", "payload"),
        (b"payload=%5B%5D", "payload"),
        (b"payload=%7B", "payload"),
    ],
)
def test_bad_forms(raw: bytes, field: str) -> None:
    assert refused(raw, FORM) == ("invalid_payload", field)


DEEP = b'{"a":' * 65 + b"1" + b"}" * 65


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{",
        b"{} {}",
        b'{"a":1,}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":0.' + b"1" * 101 + b"}",
        b'{"a":' + b"1" * 101 + b"}",
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":"b\nc"}',
        DEEP,
        b'{"a":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_bad_json(raw: bytes) -> None:
    assert refused(raw) == ("invalid_payload", "body")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (DEEP[5:-1].decode(), None),
        ('{"a":' + "9" * 100 + "}", {"a": int("9" * 100)}),
        ('{"a":[' + "{}," * 200 + "1e5]}", {"a": [{}] * 200 + [1e5]}),
        ('{"a":{"b":1},"c":{"b":1}}', {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)
def test_json_within_the_limits(text: str, value: Any) -> None:
    assert decode(body(text.encode()), JSON) == (value if value is not None else json.loads(text))


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"commit_id":"a","ref":"x","commit_id":"b"}', "commit_id"),
        (b'{"data":{"a":1,"a":1}}', "a"),
        (b'{"\\u00e9\\u0000":1,"\\u00e9\\u0000":1}', "\\xe9\\x00"),
        (b'{"' + b"k" * 300 + b'":1,"' + b"k" * 300 + b'":1}', "k" * 100),
        (b'{"\\ud800":1,"\\ud800":2}', "\\ud800"),
    ],
)
def test_a_key_that_stands_twice_is_named_in_plain_ascii(raw: bytes, field: str) -> None:
    assert refused(raw) == ("invalid_payload", field)
