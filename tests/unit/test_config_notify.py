"""[[notify]]: what is read, and what `modsync config check` says of mistakes. No secret is ever repeated."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest

from app.config import ConfigError, Settings, load_settings
from app.domain.notify import Event
from app.telemetry import secret_values
from tests.unit.test_config import ENV, GOOD

WHSEC = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CHAT = "https://hooks.chat.example/services/T0/B0/very-secret-place"
MORE = {"SIGN": WHSEC, "CHAT": CHAT}
WEBHOOK = '[[notify]]\nname = "on-call"\nkind = "webhook"\nurl = "https://alerts.example/in"\nsecret_env = "SIGN"\n'
SLACK = '[[notify]]\nname = "team"\nkind = "slack"\nsecret_url_env = "CHAT"\n'


def load(here: Path, text: str, **more: str) -> Settings:
    (here / "modsync.toml").write_text(GOOD + text)
    return load_settings(here / "modsync.toml", {**ENV, **MORE, **more})


def problems(here: Path, text: str, **more: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(here, text, **more)
    assert "very-secret-place" not in str(caught.value)
    assert WHSEC not in str(caught.value)
    return {problem.key: f"{problem.what}. {problem.fix}" for problem in caught.value.problems}


def test_nobody_is_told_without_a_table(tmp_path: Path) -> None:
    assert load(tmp_path, "").notify == ()


def test_what_a_receiver_wants(tmp_path: Path) -> None:
    text = (
        WEBHOOK + 'events = ["failed"]\nsources = ["platform"]\nmodules = ["go.corp.example/pay*"]\nrepeat_hours = 1\n'
    )
    one, other = load(tmp_path, text + SLACK).notify
    assert (one.address, other.address) == ("https://alerts.example/in", CHAT)
    assert (one.wishes.events, one.wishes.sources) == (frozenset({Event.FAILED}), ("platform",))
    assert (one.wishes.window, one.wishes.interval) == (timedelta(hours=1), timedelta(minutes=5))
    assert other.wishes.events == frozenset({Event.FAILED, Event.REJECTED, Event.RECOVERED})


def test_an_address_that_is_a_secret_is_one_everywhere(tmp_path: Path) -> None:
    settings = load(tmp_path, SLACK)
    assert CHAT in secret_values(settings)  # so it is taken out of logs
    assert "very-secret-place" not in repr(settings)
    assert settings.origins["notify[team].secret_url"] == "$CHAT"


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (SLACK.replace('secret_url_env = "CHAT"', f'url = "{CHAT}"'), "notify[team].url", "Use secret_url_env or"),
        (SLACK.replace('secret_url_env = "CHAT"', ""), "notify[team].url", "is missing"),
        (SLACK + 'secret_env = "SIGN"\n', "notify[team].secret_env", "chats take no signature"),
        (SLACK.replace('"CHAT"', '"ODD"'), "notify[team].secret_url_env", "names no http:// or https:// URL"),
        (SLACK.replace('"CHAT"', '"OPEN"'), "notify[team].secret_url_env", "unencrypted"),
        (WEBHOOK + 'secret_url_env = "CHAT"\n', "notify[on-call].url", "Keep one of them"),
        (WEBHOOK.replace('secret_env = "SIGN"', ""), "notify[on-call].secret_env", "webhooks are signed"),
        (WEBHOOK.replace('"SIGN"', '"PLAIN"'), "notify[on-call].secret_env", "does not begin with whsec_"),
        (WEBHOOK.replace('"SIGN"', '"TORN"'), "notify[on-call].secret_env", "not base64"),
        (WEBHOOK.replace("https:", "http:"), "notify[on-call].url", "unencrypted"),
        (WEBHOOK + 'secrt_env = "x"\n', "notify[on-call].secrt_env", "Did you mean secret_env?"),
        (WEBHOOK + 'events = ["broken"]\n', "notify[on-call].events", "'failed', 'rejected' or 'recovered'"),
        (WEBHOOK + "events = []\n", "notify[on-call].events", "at least 1"),
        (WEBHOOK + 'sources = ["plattform"]\n', "notify[on-call].sources", "Name one of: platform."),
        (WEBHOOK + 'modules = ["go corp"]\n', "notify[on-call].modules", "is not a module pattern"),
        (WEBHOOK + "gather_seconds = -1\n", "notify[on-call].gather_seconds", "0 to 600"),
        (WEBHOOK + WEBHOOK, "notify[on-call]", "stands in the file 2 times"),
        (WEBHOOK.replace('kind = "webhook"\n', ""), "notify[on-call].kind", "is missing"),
    ],
)
def test_mistakes_are_named_with_what_to_do(tmp_path: Path, text: str, key: str, words: str) -> None:
    odd = {"ODD": "very-secret-place", "OPEN": "http://chat.example/very-secret-place", "TORN": "whsec_%%%",
           "PLAIN": "a-plain-text-of-enough-characters"}  # fmt: skip
    found = problems(tmp_path, text, **odd)
    assert words in found[key], found
