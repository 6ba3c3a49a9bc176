"""Every form that does something asks why, and the audit log keeps it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import upkeep
from app.bootstrap import Container
from app.domain.pause import PauseKind
from tests.integration.pages_world import MIRROR, audited, page, post
from tests.integration.stored import Stored
from tests.integration.test_pages_mirrors import a_mirror
from tests.integration.web_world import release, signed

TEMPLATES = Path(__file__).parents[2] / "app/web/templates"
WHY = 'INC-4711: "tagged" by <mistake>'
# Forms that change nothing which the audit log would tell of, or only whoever sends them themselves.
NO_REASON = {"login.html": "/login", "_nav.html": "/logout", "_drift.html": "/mirrors/check"}

# The next ones of a bulk replay keep the reason that was given for the first.
CARRIED = 'name="reason" value="{{ why }}"'
_FORM = re.compile(r'<form method="post" action="([^"]*)".*?</form>', re.DOTALL)


def forms(text: str) -> list[tuple[str, str]]:
    """Each form that is posted: its action and all of it."""
    return [(each[1], each[0]) for each in _FORM.finditer(text)]


def test_every_form_has_the_field() -> None:
    known = {
        (each.name, action): "{{ reason(" in whole or CARRIED in whole
        for each in TEMPLATES.glob("*.html")
        for action, whole in forms(each.read_text())
    }
    assert {name for name, has in known.items() if not has} == set(NO_REASON.items())
    assert len(known) == 14


@pytest.fixture
def delivery(client: FlaskClient, container: Container) -> dict[str, str]:
    """A delivery whose run waits: {"delivery", "run"}."""
    raw = release()
    answer = client.post("/webhooks/platform", data=raw, headers=signed(raw)).get_json()
    return {"delivery": answer["delivery"], "run": answer["runs"][0]["id"]}


def paused(container: Container, _ids: dict[str, str]) -> None:
    for kind, value in ((PauseKind.SOURCE, "platform"), (PauseKind.ALL, "")):
        upkeep.pausing(container).pause(kind, value, "test", "new disks")


def failed(container: Container, ids: dict[str, str]) -> None:
    stored = Stored(container.engine)
    stored.now = container.clock.now()
    stored.fail(ids["run"])


def a_mirror_of_another(container: Container, _ids: dict[str, str]) -> None:
    a_mirror(container)


def nothing(container: Container, ids: dict[str, str]) -> None: ...


@pytest.mark.parametrize(
    ("before", "shown", "action", "entry", "thing"),
    [
        (nothing, "/runs/{run}", "/runs/{run}/cancel", "run.cancel", "run:{run}"),
        (failed, "/runs/{run}", "/runs/{run}/replay", "run.replay", "run:{run}"),
        (nothing, "/deliveries/{delivery}", "/deliveries/{delivery}/redeliver", "delivery.redeliver", "delivery:{delivery}"),
        (nothing, "/", "/pauses", "pause", "pause:all"),
        (paused, "/", "/pauses/resume", "resume", "pause:source platform"),
        (nothing, "/sources", "/sources/platform/test", "source.test", "source:platform"),
        (
            a_mirror_of_another, f"/mirrors/{MIRROR}?to=https://git.corp.example/x", "/mirrors/move-source", "mirror.source",
            f"mirror:{MIRROR}",
        ),
    ],
)  # fmt: skip
def test_the_reason_reaches_the_audit_log(
    client: FlaskClient, container: Container, delivery: dict[str, str],
    before: Callable[[Container, dict[str, str]], None], shown: str, action: str, entry: str, thing: str,
) -> None:  # fmt: skip
    before(container, delivery)
    found = dict(reversed(forms(page(client, shown.format(**delivery)))))[action.format(**delivery)]
    label = re.search(r'<label for="([^"]*)">Reason', found)
    assert label is not None
    assert f'<input id="{label[1]}" name="reason" maxlength="500"' in found
    assert page(client, shown.format(**delivery)).count(f'id="{label[1]}"') == 1
    answer = post(client, action.format(**delivery), **{**fields(found), "reason": f" {WHY} "})
    assert answer.status_code in (200, 303), answer.text
    ((_, told, reason, _, _),) = audited(container, entry)
    assert (told, reason) == (thing.format(**delivery), WHY)
    assert html.escape(WHY, quote=False).replace('"', "&#34;") in page(client, f"/audit?action={entry}")


def fields(form: str) -> dict[str, str]:
    """What a browser sends of a form that nobody touched."""
    inputs = {
        name[1]: html.unescape(value[1]) if value else ""
        for each in re.findall(r"<input [^>]*>", form)
        if (name := re.search(r'name="([^"]*)"', each)) and 'type="checkbox"' not in each
        for value in [re.search(r'value="([^"]*)"', each)]
    }
    options = {"kind": "all"} if '<select id="pause-kind"' in form else {}
    return {**inputs, **options}


def test_no_reason_is_needed_but_for_a_move_and_a_long_one_is_refused(
    client: FlaskClient, container: Container, delivery: dict[str, str]
) -> None:
    path = f"/runs/{delivery['run']}/cancel"
    assert post(client, path, reason="x" * 501).status_code == 422
    assert audited(container, "run.cancel") == []
    assert post(client, path).status_code == 303
    assert [each[2] for each in audited(container, "run.cancel")] == [""]
