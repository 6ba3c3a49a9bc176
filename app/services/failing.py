"""What a run remembers of its failures in a row: since when, and what is no part of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.services.stages import Wait
from app.services.stores import Change


def healed(change: Change) -> Change:
    """After something went well, the next failure is a first one."""
    return replace(change, facts=without(change.facts, "failing_since", "aside_since"), tries=0)


def set_aside(change: Change, now: datetime) -> Change:
    """It failed before, and now made way: that time is taken off what its failures have lasted."""
    if "failing_since" not in change.facts:
        return change
    return replace(change, facts={"aside_since": now.isoformat(), **change.facts})


def failing_since(facts: Mapping[str, Any], started: datetime) -> datetime:
    """When the failures in a row began, the time apart in which it made way for others."""
    if "failing_since" not in facts:
        return started
    first = datetime.fromisoformat(facts["failing_since"])
    return first + (started - datetime.fromisoformat(facts["aside_since"])) if "aside_since" in facts else first


def without(facts: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in names}


def queued(change: Change, outcome: Wait) -> Change:
    return replace(change, stage_since=None, error=outcome.queued, error_message=outcome.note)
