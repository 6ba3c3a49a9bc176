"""Kinds of private proxies: the configuration, the documentation and the retries know the same ones."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from app.bootstrap import _told
from app.config_models import Proxy
from app.domain.proxies import KINDS
from app.domain.retry import RetryPolicy
from app.domain.run import Run, Stage, Status, Target
from app.services.flow import FlowOptions

PAGE = (Path(__file__).parents[2] / "docs/proxies.md").read_text()
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def run_at(stage: Stage, proxy: str = "slow") -> Run:
    target = Target("https://git.example/x.git", "m/x", proxy=proxy)
    return Run(
        "r", "s", "example.com/x", "v1.0.0", "v1.0.0", "c", target, Status(stage.value), stage, 1, 1, NOW, NOW, "d"
    )


def test_every_kind_of_the_configuration_is_known() -> None:
    assert set(get_args(Proxy.model_fields["kind"].annotation)) == set(KINDS)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_page_says_what_the_code_does(kind: str) -> None:
    row = re.search(rf"^\| `{kind}` \|.*$", PAGE, re.MULTILINE)
    assert row
    assert f"| {KINDS[kind].wait:g} |" in row[0]


def test_a_kind_has_its_own_wait_unless_one_is_set() -> None:
    assert Proxy(url="https://p.example", kind="artifactory").patience > 1800
    assert Proxy(url="https://p.example", kind="artifactory", wait_seconds=5).patience == 5


def test_the_pipeline_waits_as_long_as_the_kind_needs() -> None:
    told = _told(Proxy(url="https://p.example", kind="artifactory"))
    assert told == {"MODSYNC_PROXY_URL": "https://p.example", "MODSYNC_PROXY_WAIT": "2100"}


def test_a_proxys_wait_counts_in_its_own_stage_only() -> None:
    options = FlowOptions("me", policy=RetryPolicy(patience=900), proxy_waits={"slow": 5.0})
    assert options.policy_for(run_at(Stage.VERIFY)).patience == 5
    assert options.policy_for(run_at(Stage.MIRROR)).patience == 900
    assert options.policy_for(run_at(Stage.VERIFY, "other")).patience == 900
    assert options.policy_for(run_at(Stage.VERIFY)).give_up_after == RetryPolicy().give_up_after
