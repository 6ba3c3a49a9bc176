"""Whatever arrives, intake's domain raises nothing but its own error, and what it lets through is legal.

Bodies are arbitrary, and real ones (the golden files) with one or more places changed.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.errors import SyncError
from app.domain.events import PARSERS, Ignored, Policy, ReleaseEvent, parse
from app.domain.modules import ModulePath, Version, check_path_major
from app.domain.webhook import (
    SCHEMES,
    BadSignatureError,
    Secret,
    VerifiedBody,
    decode,
    verify,
    verify_unknown,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CASES = [json.loads(file.read_text("utf-8")) for file in sorted((Path(__file__).parent / "golden").glob("*/*.json"))]
HEADERS = [
    "X-Gitlab-Token",
    "X-Hub-Signature-256",
    "X-Gitea-Signature",
    "X-Forgejo-Signature",
    "X-JFrog-Event-Auth",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "X-GitHub-Delivery",
    "Idempotency-Key",
    "X-GitHub-Event",
    "X-Gitea-Event",
    "X-Forgejo-Event",
]
anything = st.text(st.characters())  # lone surrogates and control characters too
values = st.one_of(
    anything,
    st.from_regex(r"(sha256=)?[0-9a-fA-F]{63,65}", fullmatch=True),
    st.from_regex(r"(v1a?,[A-Za-z0-9+/=]{0,50} ?){0,20}", fullmatch=True),
    st.integers().map(str),
    st.sampled_from(["1767225600", "release", "push", "create", "delete", "ping"]),
)
headers = st.dictionaries(st.one_of(st.sampled_from(HEADERS), anything), values, max_size=8)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), anything),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(anything, inner, max_size=3)),
    max_leaves=8,
)
likely_texts = st.one_of(
    st.from_regex(
        r"(refs/(tags|heads)/)?([a-z0-9./-]{0,9}/)?v[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[-+a-z0-9.]{0,12}", fullmatch=True
    ),
    st.from_regex(r"[a-z.]{1,9}/[A-Za-z0-9._~/-]{1,20}(/v[0-9]{1,2})?", fullmatch=True),
    st.from_regex(r"(https?|ssh|file)://[\x00-\xff]{0,20}", fullmatch=True),
    st.from_regex(r"[0-9a-fA-F]{39,65}", fullmatch=True),
)
policies = st.builds(Policy, st.booleans(), st.booleans())
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def well_refused(error: SyncError) -> None:
    """Ours, and fit to be shown and logged whatever came in."""
    if isinstance(error, BadSignatureError):
        assert error.reason in {"missing", "malformed", "no_secret", "mismatch", "stale"}
        return
    assert error.code == "invalid_payload"
    assert error.field
    assert error.field.isascii()
    assert error.message.isprintable()


@quick
@given(st.sampled_from(sorted(SCHEMES)), st.lists(st.binary(max_size=40), max_size=4), headers, st.binary(max_size=200))
def test_verify(scheme: str, keys: list[bytes], sent: dict[str, str], raw: bytes) -> None:
    live = [Secret(str(number), key) for number, key in enumerate(keys)]
    try:
        verified = verify(SCHEMES[scheme], live, sent, raw, NOW)
    except BadSignatureError as error:
        well_refused(error)
    else:
        # nobody guesses a digest; a plain token of a few bytes can be met by chance
        assert scheme == "gitlab-token"
        assert keys[int(verified.secret_id)]
    with pytest.raises(BadSignatureError):
        verify_unknown(sent, raw, NOW)


@quick
@given(
    st.sampled_from(sorted(SCHEMES)),
    st.one_of(
        st.binary(max_size=300),
        anything.map(lambda text: text.encode("utf-8", "surrogatepass")),
        json_values.map(lambda value: json.dumps(value).encode()),
        json_values.map(lambda value: b"payload=" + json.dumps(value).encode()),
    ),
    st.one_of(anything, st.sampled_from(["application/json", "application/x-www-form-urlencoded"])),
)
def test_decode(scheme: str, raw: bytes, content_type: str) -> None:
    try:
        payload = decode(VerifiedBody(raw, scheme, "only"), content_type)
    except SyncError as error:
        well_refused(error)
    else:
        json.dumps(payload, allow_nan=False)


def legal(event: ReleaseEvent) -> None:
    """What every release that leaves the parsers is, whatever came in."""
    assert re.fullmatch(r"[^\x00-\x20\x7f~^:?*\[\\]+", event.ref)
    assert event.commit is None or re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", event.commit)
    texts = [event.ref, event.repo_url, event.subdir, event.delivery_key, event.h1]
    assert all(text.isprintable() for text in texts if text)
    assert event.module is None or ModulePath.parse(event.module.text) == event.module
    assert event.version is None or Version.parse(event.version.text) == event.version
    assert len(event.ref) <= 1000
    assert len(str(event.module or "")) <= 500
    assert len(str(event.version or "")) <= 200
    if event.module and event.version:
        check_path_major(event.version, event.module)


def tried(scheme: str, sent: dict[str, str], body: dict[str, Any], policy: Policy) -> None:
    try:
        parsed = parse(scheme, sent, body, policy)
    except SyncError as error:
        well_refused(error)
    else:
        for event in () if isinstance(parsed, Ignored) else parsed:
            legal(event)
        assert not isinstance(parsed, Ignored) or parsed.message.isprintable()


@quick
@given(st.sampled_from(sorted(PARSERS)), headers, st.dictionaries(anything, json_values, max_size=6), policies)
def test_parse_anything(scheme: str, sent: dict[str, str], body: dict[str, Any], policy: Policy) -> None:
    tried(scheme, sent, body, policy)


def places(value: Any) -> list[tuple[dict[str, Any], str]]:
    """Every (object, key) in a JSON value."""
    if not isinstance(value, dict):
        return []
    return [(value, key) for key in value] + [place for inner in value.values() for place in places(inner)]


@settings(quick, max_examples=500)
@given(st.data(), st.sampled_from(CASES), policies)
def test_parse_a_real_body_with_changed_places(data: st.DataObject, case: dict[str, Any], policy: Policy) -> None:
    body = copy.deepcopy(case["body"])
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(body)
        if found:
            holder, key = data.draw(st.sampled_from(found))
            holder[key] = data.draw(st.one_of(json_values, likely_texts, likely_texts))
    tried(case["scheme"], case["headers"], body, policy)


fields = st.fixed_dictionaries(
    {"ref": likely_texts, "commit_id": st.just("ab" * 20), "module_path": likely_texts},
    optional={"version": likely_texts, "subdir": likely_texts, "repo_url": likely_texts, "h1": anything},
)


@settings(quick, max_examples=400)
@given(fields, policies)
def test_parse_likely_releases(body: dict[str, Any], policy: Policy) -> None:
    tried("article", {}, body, policy)


def release_lists(item: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with several releases; what an item leaves out stands beside the list."""
    listed = st.one_of(st.lists(item, max_size=5), json_values, st.integers(99, 102).flatmap(lambda n: _times(item, n)))
    return st.builds(lambda shared, found: {**shared, "releases": found}, st.one_of(st.just({}), fields), listed)


def _times(item: st.SearchStrategy[Any], count: int) -> st.SearchStrategy[list[Any]]:
    return item.map(lambda one: [one] * count)


partial_fields = st.fixed_dictionaries(
    {},
    optional={
        "ref": likely_texts, "commit_id": st.one_of(st.just("ab" * 20), json_values), "module_path": likely_texts,
        "version": likely_texts, "subdir": likely_texts, "releases": json_values, "delivery_id": anything,
    },
)  # fmt: skip


@settings(quick, max_examples=400)
@given(release_lists(st.one_of(fields, partial_fields, json_values)), policies)
def test_parse_lists_of_releases(body: dict[str, Any], policy: Policy) -> None:
    """Of the article's form, and as the data of Standard Webhooks."""
    tried("article", {}, body, policy)
    tried("standard-webhooks", {}, {"type": "release", "timestamp": "2026-01-01T00:00:00Z", "data": body}, policy)


@quick
@given(st.lists(fields, min_size=1, max_size=4), policies)
def test_a_list_of_legal_releases_is_them_all_each_once(items: list[dict[str, Any]], policy: Policy) -> None:
    try:
        alone = [parse("article", {}, item, policy) for item in items]
    except SyncError:
        return
    together = parse("article", {}, {"releases": items}, policy)
    found = [event for each in alone if not isinstance(each, Ignored) for event in each]
    assert (() if isinstance(together, Ignored) else together) == tuple(dict.fromkeys(found))


def git_takes(name: str) -> bool:
    """What may stand behind refs/heads/ and refs/tags/: git-check-ref-format(1)."""
    parts = name.split("/")
    odd = any(char <= " " or char in "\x7f~^:?*[\\" for char in name) or ".." in name or "@{" in name
    return all(parts) and not odd and not any(part.startswith(".") or part.endswith((".lock", ".")) for part in parts)


unseen = st.sampled_from("\x80\x9f\xa0\u00ad\u200b\u200d\u202e\u2028\u3000\ufeff\ufffd\uffff\U000e0001\U0010ffff")
git_names = st.builds(
    lambda parts, odd, times, end: "/".join(part + odd for part in parts * times) + end,
    st.lists(st.text(st.one_of(st.characters(exclude_categories=["Cs"]), unseen), max_size=8), min_size=1, max_size=3),
    st.one_of(st.just(""), unseen),
    st.sampled_from([1, 1, 1, 200]),
    st.sampled_from(["", "/v1.2.3", "v1.2.3", "v2.0.0-rc.1", "/v1.0.0+x", "-v1"]),
).filter(git_takes)
# Whoever writes the article's fields by hand is told what is wrong with them; `data` holds them in Standard Webhooks.
TOLD = [
    case
    for case in CASES
    if "refused" not in case["outcome"] and case["scheme"] != "article" and "data" not in case["body"]
]


def renamed(body: dict[str, Any], name: str) -> int:
    """Another name for the ref that a platform's event tells; how many places it stood in."""
    changed = 0
    for holder, key in places(body):
        known = holder[key]
        if key in ("ref", "tag", "tag_name") and isinstance(known, str):
            kind = re.match("refs/(heads|tags)/|", known)
            holder[key] = (kind[0] if kind else "") + name
            changed += 1
    return changed


@quick
@given(git_names)
def test_the_names_are_ones_that_git_takes(name: str) -> None:
    asked = ["git", "check-ref-format", f"refs/tags/{name}"]
    assert subprocess.run(asked, check=False, timeout=30).returncode == 0


@settings(quick, max_examples=500)
@given(st.sampled_from(TOLD), git_names, policies)
def test_no_name_that_git_takes_is_the_platforms_mistake(case: dict[str, Any], name: str, policy: Policy) -> None:
    """A platform cannot correct it, and GitLab would switch the webhook off."""
    body = copy.deepcopy(case["body"])
    renamed(body, name)
    parsed = parse(case["scheme"], case["headers"], body, policy)
    if isinstance(parsed, Ignored):
        assert (parsed.message.isprintable(), len(parsed.message) < 6000) == (True, True)
    else:
        for event in parsed:
            legal(event)


def test_every_platforms_events_are_renamed() -> None:
    changed = {case["scheme"] for case in TOLD if renamed(copy.deepcopy(case["body"]), "x")}
    assert changed == set(SCHEMES) - {"article", "artifactory"}
