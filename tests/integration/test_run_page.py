"""A run's page as HTML: what each step of each attempt found out, and both sides of what was compared."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.bootstrap import Container
from app.domain.access import Role
from app.domain.modules import Version
from app.domain.run import Claim, Stage, Status
from tests.integration.pages_world import audited, page, post, token
from tests.integration.stored import MODULE, ORDER, PIPELINE, PUSHED, VERIFIED, A, B, Stored

BRANCH = "d" * 40
SERVED, RELEASED = "h1:" + "B" * 43 + "=", "h1:" + "C" * 43 + "="
MIRRORED = {"tag": "v1.0.0", "commit": A, "new": True, "branch_at": BRANCH, "h1": RELEASED}


@pytest.fixture
def stored(container: Container) -> Stored:
    return Stored(container.engine)


def pipeline(number: int, url: str = "") -> dict[str, Any]:
    url = url or f"https://gitlab.corp.example/m/-/pipelines/{number}"
    return {"id": number, "sha": A, "status": "failed", "url": url, "polls": 2, "intent": "modsync x", "fence": 1}


def mirrored(stored: Stored) -> Claim:
    """A run whose first attempt has pushed."""
    claim = stored.claim(stored.release().run_id)
    stored.record(claim, Status.PIPELINE, stage=Stage.PIPELINE, facts=PUSHED, pushed=True, detail=MIRRORED)
    return replace(claim, run=replace(claim.run, status=Status.PIPELINE, stage=Stage.PIPELINE, facts=dict(PUSHED)))


def fails(
    stored: Stored, claim: Claim, facts: Mapping[str, Any], error: str = "pipeline_failed", end: Status = Status.FAILED
) -> None:
    stored.record(claim, end, error=error, detail=facts, facts={**claim.run.facts, **facts})


def shown(text: str, section: str) -> dict[str, str]:
    """The definitions in a section of the page, by their names, without markup."""
    part = re.search(rf'<section[^>]* id="{section}".*?</section>', text, re.DOTALL)
    assert part is not None, section
    found = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", part[0], re.DOTALL)
    return {html.unescape(name): words(value) for name, value in found}


def answers(text: str) -> list[list[str]]:
    """The rows of the table of the proxy's answers, cell by cell, without markup."""
    table = re.search(r'<table class="cards answers".*?</table>', text, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr>(.*?)</tr>", table[0], re.DOTALL)[1:]
    return [[words(cell) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)] for row in rows]


def words(text: str) -> str:
    """Without markup, on one line."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text))).strip()


def test_every_attempt_keeps_its_own_pipeline_and_where_the_branch_was_left(
    client: FlaskClient, stored: Stored
) -> None:
    claim = mirrored(stored)
    fails(stored, claim, {"pipeline": pipeline(7)})
    stored.ops.replay(claim.run.id, ORDER, None, stored.later())
    fails(stored, stored.claim(claim.run.id), {"pipeline": pipeline(8)})
    text = page(client, f"/runs/{claim.run.id}")
    first, second = shown(text, "attempt-1"), shown(text, "attempt-2")
    assert (first["tag"], first["commit"], first["branch left at"]) == ("v1.0.0", A, BRANCH)
    assert (first["pushed by this run"], first["h1 of the source's content"]) == ("yes", RELEASED)
    assert [each["pipeline"] for each in (first, second)] == ["7", "8"]
    assert 'href="https://gitlab.corp.example/m/-/pipelines/7" rel="noreferrer"' in text
    assert "last seen as failed" in words(text)
    assert not {"intent", "fence"} & {*first, *second}


def test_the_way_of_the_branch_is_said(client: FlaskClient, stored: Stored) -> None:
    claim = mirrored(stored)
    way = {"name": "ci-sync", "before": None, "after": BRANCH}
    facts = {**claim.run.facts, "push": {**claim.run.facts["push"], "branch": way}}
    stored.record(claim, Status.FAILED, error="pipeline_failed", detail={}, facts=facts)
    assert f"ci-sync: from nothing to {BRANCH}" in words(page(client, f"/runs/{claim.run.id}"))


def test_what_a_step_found_is_only_text(client: FlaskClient, stored: Stored) -> None:
    claim = mirrored(stored)
    fails(stored, claim, {"pipeline": pipeline(7, "javascript:alert(1)") | {"status": "<b onclick=x>", "<i>": "y"}})
    text = page(client, f"/runs/{claim.run.id}")
    assert "<b onclick" not in text
    assert "<i>" not in text
    assert "<code>javascript:alert(1)</code>" in text
    assert 'href="javascript:' not in text


def test_other_content_shows_both_hashes_and_that_they_differ(client: FlaskClient, stored: Stored) -> None:
    claim = mirrored(stored)
    claim = replace(claim, run=replace(claim.run, stage=Stage.VERIFY))
    names = [f"file{number}.go" for number in range(12)]
    verify = {
        "verdict": "served_other_content",
        "asked": ".zip",
        "h1_served": SERVED,
        "h1_released": RELEASED,
        "differ": names,
    }
    fails(stored, claim, {"verify": verify, "proof": {"h1": RELEASED}}, "served_other_content", Status.REJECTED)
    text = page(client, f"/runs/{claim.run.id}")
    proof = shown(text, "run-facts")
    assert proof["h1 of the source's content"] == RELEASED
    assert proof["h1 of what the proxy serves"].startswith(SERVED)
    assert proof["h1 of what the proxy serves"].endswith("they differ")
    assert "go.sum</h3>" not in text
    rows = answers(text)
    assert [each[1] for each in rows] == ["✓ ok", "✓ ok", "✕ bad", "? unknown", "? unknown"]
    assert rows[2][2:] == [f"{SERVED}files that differ: {', '.join(names[:10])} and 2 more", RELEASED]
    step = shown(text, "attempt-1")
    assert step["h1 of what the proxy serves"] == SERVED
    assert step["files that differ"] == ", ".join(names[:10]) + " and 2 more"


def test_what_the_proxy_answered_is_only_text(client: FlaskClient, stored: Stored) -> None:
    claim = mirrored(stored)
    claim = replace(claim, run=replace(claim.run, stage=Stage.VERIFY))
    verify = {"verdict": "served_other_content", "h1_served": "<b onclick=x>", "differ": ["<i>.go"], "asked": "<s>"}
    fails(stored, claim, {"verify": verify}, "served_other_content")
    text = page(client, f"/runs/{claim.run.id}")
    assert "<code>&lt;b onclick=x&gt;</code>" in text
    assert not re.search(r"<b onclick|<i>|<s>", text)


def test_a_done_run_shows_push_pipeline_answers_and_a_bar_for_each_stage(client: FlaskClient, stored: Stored) -> None:
    run = stored.release().run_id
    stored.finish(run)
    text = page(client, f"/runs/{run}")
    proof = shown(text, "run-facts")
    assert (proof["tag"], proof["object pushed"], proof["pushed by this run"]) == ("v1.0.0", A, "yes")
    assert f'<a href="{PIPELINE["pipeline"]["url"]}" rel="noreferrer">12</a>, last seen as success' in text
    assert f'<a href="{PUSHED["project"]["url"]}" rel="noreferrer">go-mirrors/platform/log</a>' in text
    rows = answers(text)
    assert [(each[0], each[1]) for each in rows] == [
        (".info its commit", "✓ ok"), (".mod its SHA-256", "✓ ok"), (".zip its h1", "✓ ok"),
        ("list has the version", "✓ ok"), ("@latest names a sane version", "✓ ok"),
    ]  # fmt: skip
    assert rows[0][2:] == [A, A]
    assert rows[2][2:] == [
        f"{VERIFIED['verify']['h1']}not compared with the source's content, whose h1 was not known", "-",
    ]  # fmt: skip
    to_paste = re.search(r'<pre class="copy"[^>]*aria-labelledby="go-sum">(.*?)</pre>', text, re.DOTALL)
    assert to_paste is not None
    assert to_paste[1].splitlines()[0] == f"{MODULE} v1.0.0 {VERIFIED['verify']['h1']}"
    bars = re.findall(r'<svg class="bar".*?aria-label="(\w+) (\w+), ([\d.]+ s) of.*?</svg>', text, re.DOTALL)
    assert bars == [("mirror", "ok", "2.00 s"), ("pipeline", "ok", "2.00 s"), ("verify", "ok", "2.00 s")]
    assert len(re.findall(r'<rect class="ok" x="[\d.]+%" y="1" width="(?!0(?:\.0)?%)[\d.]+%"', text)) == 3


def moved(stored: Stored) -> tuple[str, str]:
    """A run that is done, and the one that was rejected because it would move its version."""
    done = stored.release(A).run_id
    stored.finish(done)
    rejected = stored.release(B).run_id
    assert stored.run(rejected).error == "version_moved"
    return done, rejected


def test_a_move_whose_commit_only_a_worker_found_is_accepted_from_the_page(client: FlaskClient, stored: Stored) -> None:
    """The event named no commit, as a registry's never does: what the rejection names is what the order takes."""
    stored.finish(stored.release(A).run_id)
    run = stored.release("").run_id
    claim, h1 = stored.claim(run), "h1:" + "N" * 43 + "="
    refusal = stored.flow.take_version(claim, Version.parse("v1.0.0"), B, stored.now, h1)
    assert refusal is not None
    assert f"now asked for at {B} ({h1})" in refusal.message
    stored.record(claim, Status.REJECTED, error="version_moved", facts=refusal.facts)
    text = page(client, f"/runs/{run}")
    change = shown(text, "run-facts")
    assert [change[name] for name in ("released commit", "commit asked for now", "that one's h1")] == [A, B, h1]
    assert f"would become commit <code>{B}</code>" in text
    answer = post(client, f"/runs/{run}/accept-move", reason="the registry was rebuilt")
    assert answer.status_code == 303
    moved = stored.run(str(answer.location).removeprefix("/runs/"))
    assert (moved.commit, moved.facts["moved"]["old_commit"], moved.status) == (B, A, Status.QUEUED)


def test_a_move_is_accepted_from_the_page(client: FlaskClient, container: Container, stored: Stored) -> None:
    done, rejected = moved(stored)
    form = re.search(r'<form method="post" action="([^"]*/accept-move)"', page(client, f"/runs/{rejected}"))
    assert form is not None
    answer = post(client, form[1], reason="the tag was on the wrong branch")
    assert (answer.status_code, answer.location) == (303, f"/runs/{rejected}")
    run = stored.run(rejected)
    assert (run.status, run.attempt, run.facts["moved"]["old_commit"]) == (Status.QUEUED, 2, A)
    assert stored.row(done)["replaced_by"] == rejected
    ((actor, thing, reason, before, after),) = audited(container, "release.move")
    assert (actor, thing, reason) == ("api:admin", f"release:{MODULE}@v1.0.0", "the tag was on the wrong branch")
    assert (before["commit"], after["commit"]) == (A, B)
    assert "the tag was on the wrong branch" in page(client, f"/runs/{rejected}")


def test_a_move_wants_an_administrator_and_a_reason(client: FlaskClient, container: Container, stored: Stored) -> None:
    _, rejected = moved(stored)
    path = f"/runs/{rejected}/accept-move"
    assert post(client, path, token(container, Role.OPERATOR), reason="why not").status_code == 403
    assert post(client, path).status_code == 422
    assert stored.run(rejected).status is Status.REJECTED
