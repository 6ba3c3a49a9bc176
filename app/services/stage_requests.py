"""What the stages after the mirror are asked, from what is recorded of a run."""

from __future__ import annotations

from datetime import datetime

from app.domain.run import Claim, Run
from app.services.stages.pipeline import PipelineRequest
from app.services.stages.verify import Earlier, VerifyRequest


def pipeline_request(claim: Claim, now: datetime) -> PipelineRequest:
    """A look at the run's pipeline, or its creation."""
    run = claim.run
    return PipelineRequest(
        key=f"{run.id}-{run.attempt}", fence=claim.fence, project=int(run.facts["project"]["id"]),
        tag=str(run.facts["push"]["tag"]), module=run.path, version=run.released,
        commit=run.commit, state=run.facts.get("pipeline", {}), since=run.stage_since or now, now=now,
    )  # fmt: skip


def verify_request(run: Run) -> VerifyRequest:
    """What the proxy has to serve, for publishing and for the proof."""
    proof = run.facts["proof"]
    return VerifyRequest(
        module=run.path, version=run.released, commit=run.commit,
        proxy=run.target.proxy, go_mod_sha256=str(proof["go_mod_sha256"]), h1=proof.get("h1"),
        clone_url=run.target.clone_url, tag=str(run.facts["push"]["tag"]), directory=str(proof.get("directory", "")),
        earlier=tuple(Earlier(commit, h1) for commit, h1 in run.replaces),
    )  # fmt: skip
