"""Builds what tests a source, and keeps who did. Part of the composition root."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from app.adapters.read_store import SqlReadStore
from app.bootstrap import Container
from app.services.rehearsal import Rehearsal, Rehearsals, Sample

_KNOWN = 20


def rehearsals(container: Container) -> Rehearsals:
    """Test deliveries by the rules of today; cheap to make."""
    store = SqlReadStore(container.engine, container.clock)
    return Rehearsals(
        container.sources, container.routed, container.intake,
        partial(store.known, limit=_KNOWN), container.clock,
    )  # fmt: skip


def completed(container: Container, source: str, sample: Sample) -> Sample:
    """The sample with a module and a version that the source could tell, where it has none."""
    usual = rehearsals(container).sample(source)
    return replace(sample, module=sample.module or usual.module, version=sample.version or usual.version)


def tested(container: Container, actor: str, source: str, sample: Sample, reason: str) -> Rehearsal:
    """A test delivery, which the audit log keeps. Errors: see Rehearsals.rehearse, and store_unavailable."""
    result = rehearsals(container).rehearse(source, sample)
    container.audit.append(
        actor, "source.test", f"source:{source}", container.clock.now(), reason=reason,
        after={"verdict": result.verdict, "release": f"{sample.module}@{sample.version}"},
    )  # fmt: skip
    return result
