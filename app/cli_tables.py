"""Runs, one run and explanations as tables and timelines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from app.cli_layout import print_table
from app.cli_output import coloured, duration, local, printable
from app.services.explain import Explanation, Route
from app.services.found import found
from app.services.views import AttemptView, ErrorView, MirrorView, Page, ReleaseView, RunDetail, RunSummary, StepView

Pairs = Iterator[tuple[str, str | Text]]


def print_runs(out: Console, page: Page[RunSummary]) -> None:
    """One line a run, and how to see more."""
    if not page.items:
        out.print("no runs")
        return
    rows = [
        (local(run.created_at), coloured(run.status), printable(run.name), run.commit[:12], str(run.attempt),
         run.error.code if run.error else "", run.id)
        for run in page.items
    ]  # fmt: skip
    columns = ("created", "status", "release", "commit", "attempt", "error", "run")
    print_table(out, columns, rows, whole=("created", "status", "run"))
    if page.next:
        out.print(f"there are more: --cursor {page.next}")


def print_run(out: Console, run: RunDetail) -> None:
    """What a run is, how it stands, its attempts step by step, and its go.sum lines."""
    out.print(Text.assemble((printable(run.name), "bold"), "  ", coloured(run.status)))
    _print_pairs(out, _about(run))
    _print_error(out, run.error)
    for attempt in run.attempts:
        _print_attempt(out, attempt)
    if run.facts.go_sum:
        out.print("\ngo.sum")
        for line in run.facts.go_sum:
            out.print(f"  {printable(line)}", soft_wrap=True)


def print_explanation(out: Console, explanation: Explanation) -> None:
    """Each source's route, then what is known."""
    name = f"{explanation.module}@{explanation.version}" if explanation.version else explanation.module
    out.print(Text(printable(name), "bold"))
    for route in explanation.routes:
        _print_pairs(out, _route(route))
        _print_error(out, route.error)
    for mirror in explanation.mirrors:
        _print_pairs(out, _mirror(mirror))
    for release in explanation.releases:
        state = f"pushed {local(release.pushed_at)}" if release.pushed_at else "not pushed yet"
        out.print(f"  {'version':<12} {release.version} at {release.commit[:12]}, {state}, {_brought(release)}")
    if explanation.more_releases:
        out.print(Text(f"  and more: modsync runs --module {printable(explanation.module)}"), soft_wrap=True)
    if explanation.runs:
        print_runs(out, Page(explanation.runs, None))
    else:
        out.print("  nothing was ever reported of it")


def _brought(release: ReleaseView) -> str:
    if not release.run:
        return "adopted from the mirror"
    return f"run {release.run}" + ("" if release.run_kept else " (not kept any more)")


def _print_pairs(out: Console, pairs: Pairs) -> None:
    for name, value in pairs:
        out.print(Text.assemble((f"  {name:<12} ", "dim"), value), soft_wrap=True)


def _print_error(out: Console, error: ErrorView | None) -> None:
    if error is None:
        return
    out.print(Text.assemble((f"  error        {error.code}: ", "bold red"), printable(error.message)), soft_wrap=True)
    out.print(Text.assemble(("  advice       ", "dim"), error.advice), soft_wrap=True)


def _about(run: RunDetail) -> Pairs:
    yield "run", run.id
    yield "commit", f"{run.commit} ({printable(run.ref)})"
    yield "source", f"{run.source}, {_deliveries(run)}"
    yield "clone URL", printable(run.target.clone_url) or "-"
    yield "mirror", f"{run.mirror or '-'} {_url(run.facts.project)}".rstrip()
    if run.facts.pipeline.get("url"):
        yield "pipeline", _url(run.facts.pipeline)
    if run.facts.signature:
        yield "signature", printable(" ".join(filter(None, (str(each) for each in run.facts.signature.values()))))
    for warning in run.facts.warnings:
        yield "warning", printable(f"{warning.get('code')}: {warning.get('message')}")
    yield "proxy", run.target.proxy
    yield "created", f"{local(run.created_at)}, ended {local(run.ended_at)}"
    if run.due_at:
        yield "due", f"{local(run.due_at)}, job {run.job or '-'}"
    if run.downloadable_after_seconds is not None:
        yield "downloadable", f"after {duration(run.downloadable_after_seconds)}"
    if run.replaced_by:
        yield "replaced by", run.replaced_by


def _deliveries(run: RunDetail) -> str:
    first, more = run.delivery, len(run.deliveries) - 1
    return f"delivery {first}" + (f" and {more} more" if more > 0 else "")


def _url(facts: Any) -> str:
    return printable(str(facts.get("url", "")))


def _print_attempt(out: Console, attempt: AttemptView) -> None:
    words = f"\nattempt {attempt.number}  {attempt.kind} by {printable(attempt.actor)}, from {attempt.from_stage}, "
    line = Text(words + f"{local(attempt.created_at)} to {local(attempt.ended_at)}  ")
    out.print(line + coloured(attempt.outcome or "in flight"), soft_wrap=True)
    if attempt.reason:
        out.print(f"  reason: {printable(attempt.reason)}", soft_wrap=True)
    if attempt.steps:
        _print_steps(out, attempt.steps)
    if attempt.jobs:
        shown = attempt.jobs[0] if len(attempt.jobs) == 1 else f"{attempt.jobs[0]} ... {attempt.jobs[-1]}"
        out.print(Text(f"  RQ jobs: {shown}", "dim"), soft_wrap=True)


def _print_steps(out: Console, steps: tuple[StepView, ...]) -> None:
    rows = [
        (local(step.started_at), step.stage.value, coloured(step.outcome), duration(step.seconds), _said(step))
        for step in steps
    ]
    print_table(out, ("began", "stage", "outcome", "took", ""), rows, whole=("began", "stage", "outcome"), indent=2)


def _said(step: StepView) -> str:
    if step.error:
        again = f" (again at {local(step.retry_at)})" if step.retry_at else ""
        return f"{step.error}: {printable(step.message or '')}{again}"
    return printable("; ".join(f"{name}: {text}" for name, text in found(step).items()))


def _route(route: Route) -> Pairs:
    yield "source", route.source or "-"
    if route.target is None:
        return
    target = route.target
    yield "rule", target.rule
    yield "clone URL", printable(target.clone_url) or "as the webhook's payload says"
    yield "directory", printable(target.subdir) or "the repository's root"
    yield "tag", (route.tag or "-") + (", made by modsync where it is missing" if target.tags == "make" else "")
    yield "mirror", target.mirror
    yield "proxy", target.proxy


def _mirror(mirror: MirrorView) -> Pairs:
    where = mirror.web_url or (f"project {mirror.project_id}" if mirror.project_id else "no project known yet")
    yield "mirror", f"{mirror.path}: {printable(where)}, branch at {mirror.branch_at or 'a place not remembered'}"
    if mirror.source_url:
        yield "mirror of", printable(mirror.source_url)
