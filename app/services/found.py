"""What a step found out, in names and values for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.domain.run import Stage
from app.services.views import StepView

_SHOWN = 10  # of a list, as of files that differ
_LABELS: Mapping[Stage, Mapping[str, str]] = {
    Stage.MIRROR: {"new": "pushed by this run", "branch_at": "branch left at", "h1": "h1 of the source's content"},
    Stage.PIPELINE: {
        "id": "pipeline", "url": "pipeline's page", "sha": "pipeline's commit", "status": "last seen as",
        "new": "written by this run",
    },
    Stage.VERIFY: {
        "h1": "h1 of .zip", "go_mod_sha256": "SHA-256 of .mod", "commit": "commit in .info",
        "compared": "compared with the source", "h1_served": "h1 of what the proxy serves",
        "h1_released": "h1 of the source's content", "commit_served": "commit in .info", "differ": "files that differ",
        "asked": "what was wrong", "go_mod_served": "SHA-256 of .mod", "go_mod_released": "SHA-256 of go.mod",
    },
}  # fmt: skip


def found(step: StepView) -> dict[str, str]:
    """Each thing that the step found, by its name in words; what it did not find out is left out."""
    labels = _LABELS[step.stage]
    told = ((labels.get(name, name.replace("_", " ")), _text(value)) for name, value in _flat(step.detail))
    return {name: text for name, text in told if text}


def _flat(detail: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """An error's facts are a mapping within: what it says counts, not where it was kept."""
    for name, value in detail.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        more = len(value) - _SHOWN
        return ", ".join(map(_text, value[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
    if isinstance(value, Mapping):
        return " ".join(filter(None, map(_text, value.values())))
    return "" if value is None else str(value)
