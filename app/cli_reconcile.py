"""`modsync reconcile` and `backfill`: find what webhooks did not tell, and bring it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app import upkeep
from app.adapters.repository_store import SqlRepositoryStore
from app.bootstrap import Container
from app.cli_open import actor, json_option, open_container, reason_option
from app.cli_output import NO, print_json, printable
from app.domain.errors import SyncError
from app.domain.modules import ModulePath
from app.domain.reconcile import MENDED, Finding
from app.services.explain import parse_release
from app.services.reconcile import Order, Reconcile
from app.services.reconcile_values import Report, Repository

_LINES = 20  # of progress, where there is no bar
_PARALLEL = 4  # the request rate is the limit, not this: it hides slow answers
_WHY = "Why; kept with what is begun: its delivery, and the audit log where it was done before."

dry_option = click.option("--dry-run", is_flag=True, help="Compare only: begin no run, adopt nothing, keep no result.")


@click.command(
    "reconcile",
    short_help="Compare source, mirror and proxy, and bring what is missing.",
    epilog="""\b
Examples:
  modsync reconcile go.corp.example/platform/log --dry-run
  modsync reconcile --all
  modsync reconcile --all --older-than 12 --json""",
)
@click.argument("module", required=False)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every repository that a run went to, or that has a mirror.",
)
@click.option(
    "--older-than", "hours", default=0.0, metavar="HOURS", type=click.FloatRange(0, 8760),
    help="With --all: leave out what was compared since then; so a run that was broken off goes on.",
)  # fmt: skip
@dry_option
@reason_option(_WHY)
@json_option
@click.pass_context
def reconcile(
    ctx: click.Context, module: str | None, everything: bool, hours: float, dry_run: bool, reason: str, as_json: bool
) -> None:
    """Compare MODULE's repository, or all: source, mirror, proxy and records. Begin runs for what is missing.

    Status 1 when something was found that a person has to look at.
    """
    if bool(module) == everything:
        raise click.UsageError("Name a module, or give --all.")
    container = open_container()
    service, order = upkeep.reconcile(container), Order(dry_run, actor(), reason=reason, adopts=True)
    reports: list[Report] = []
    try:
        if module:
            reports.append(service.one(service.repository_of(_parsed(module)), order))
        else:
            for report in _all(container, service, order, hours, quiet=as_json):
                reports.append(report)  # noqa: PERF402 - each counts, also when the next one breaks off
    except BaseException:
        if reports:
            _print(reports, dry_run, as_json)
        raise
    _print(reports, dry_run, as_json)
    ctx.exit(NO if any(report.needs_a_person for report in reports) else 0)


@click.command(
    "backfill",
    short_help="Bring all versions of a module, oldest first.",
    epilog="""\b
Examples:
  modsync backfill go.corp.example/platform/log --dry-run
  modsync backfill go.corp.example/platform/log""",
)
@click.argument("module")
@dry_option
@reason_option(_WHY)
@json_option
@click.pass_context
def backfill(ctx: click.Context, module: str, dry_run: bool, reason: str, as_json: bool) -> None:
    """Bring all versions of MODULE, of all its majors, that are not in the mirror; what failed is tried again.

    They go in few pushes, by the backfill workers, while live releases go first. Status 1 when something was found
    that a person has to look at.
    """
    service = upkeep.reconcile(open_container())
    path = _parsed(module)
    report = service.one(service.repository_of(path), Order(dry_run, actor(), path, retry=True, reason=reason))
    _print([report], dry_run, as_json)
    ctx.exit(NO if report.needs_a_person else 0)


def _parsed(module: str) -> ModulePath:
    return parse_release(module, None)[0]


def _all(container: Container, service: Reconcile, order: Order, hours: float, *, quiet: bool) -> Iterator[Report]:
    store = SqlRepositoryStore(container.engine)
    upkeep.names(container).all()
    unknown = _unknown(container)
    mirrors = [*store.mirrors(container.clock.now() - timedelta(hours=hours)), *unknown]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = pool.map(lambda mirror: _compared(service, unknown.get(mirror), mirror, order), mirrors)
        try:
            yield from _watched(found, len(mirrors), quiet)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # what is under way ends, nothing else begins


def _unknown(container: Container) -> dict[str, Repository]:
    """By mirror, those in GitLab that the database does not know; a GitLab that does not say is no reason to stop."""
    try:
        return {each.mirror: each for each in upkeep.unknown_mirrors(container).find()}
    except SyncError as error:
        if error.code == "store_unavailable":
            raise
        click.echo(f"mirrors that are not known here were not looked for: {error}", err=True)
        return {}


def _compared(service: Reconcile, unknown: Repository | None, mirror: str, order: Order) -> Report:
    return service.one(unknown, order) if unknown else service.by_mirror(mirror, order)


def _watched(reports: Iterable[Report], total: int, quiet: bool) -> Iterator[Report]:
    """With a bar on a terminal; in a pipe and for JSON with a line now and then. Both on standard error."""
    screen = Console(stderr=True)
    lines, every = quiet or not screen.is_terminal, max(1, total // _LINES)
    columns = (TextColumn("reconcile"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=lines) as progress:
        task = progress.add_task("reconcile", total=total)
        for done, report in enumerate(reports, 1):
            progress.advance(task)
            if lines and (done % every == 0 or done == total):
                click.echo(f"reconcile: {done} of {total} repositories compared", err=True)
            yield report


def _print(reports: list[Report], dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json([report.as_json() for report in reports])
        return
    for report in reports:
        _print_one(report, dry_run)
    if len(reports) > 1:
        runs, tags = sum(len(report.runs) for report in reports), sum(report.tags for report in reports)
        click.echo(f"{len(reports)} repositories with {tags} tags compared, {runs} runs begun")


def _print_one(report: Report, dry_run: bool) -> None:
    if report.error:
        code, message = report.error
        click.echo(f"{report.mirror}: {code}: {printable(message)}")
        click.echo(f"advice: {SyncError(code, message).advice}", err=True)
        return
    click.echo(f"{report.mirror}: {report.tags} tags at the source; {_summary(report, dry_run)}")
    for item in report.items:
        name = f"{item.module}@{item.version}" if item.module else item.tag
        click.echo(printable(f"  {item.finding:<18} {name}  {item.commit[:12]}  {item.detail}".rstrip()))


def _summary(report: Report, dry_run: bool) -> str:
    if not report.items:
        return "all is well"
    missing = sum(1 for item in report.items if item.finding in MENDED)
    if dry_run:
        return f"{missing} missing, {len(report.of(Finding.ADOPTED))} to adopt"
    return f"{len(report.runs)} runs begun, {report.adopted} adopted"


commands: tuple[click.Command, ...] = (reconcile, backfill)
