"""`modsync gitlab check`, `modsync mirrors`: is GitLab as modsync needs it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click

from app.bootstrap import Container
from app.cli_board import after_option, limit_option, print_mirrors
from app.cli_findings import print_findings, print_reconciled
from app.cli_layout import watched
from app.cli_open import json_option, open_container, open_operator, reason_option
from app.cli_output import NO, console, print_json, printable
from app.domain.errors import SyncError
from app.services.drift import MirrorCheck
from app.services.gitlab_login import LoginState
from app.services.operator import Operator
from app.services.run_filter import LONGEST_PAGE
from app.services.views import ErrorView

_OF_ONE = frozenset({"not_found", "busy"})


@click.group("gitlab", short_help="Check modsync's login at GitLab.")
def gitlab() -> None:
    """Check modsync's login at GitLab."""


@gitlab.command(
    "check",
    short_help="Ask GitLab about the token: valid, scopes, end.",
    epilog="""\b
Examples:
  modsync gitlab check
  modsync gitlab check --json""",
)
@json_option
def check(as_json: bool) -> None:
    """Ask GitLab, once, what it says of modsync's token; a success also ends the pause after a refused login.

    Status 1 when the token is refused, lacks the scope api, has ended, or ends within three weeks; and when GitLab does
    not answer.
    """
    container = open_container()
    state = _asked(container)
    if as_json:
        print_json({"url": container.settings.gitlab.url, **state.as_json(), "problems": list(state.problems())})
    else:
        _print(container, state)
    if state.problems():
        raise click.exceptions.Exit(NO)


def _asked(container: Container) -> LoginState:
    login, now = container.gitlab_login, container.clock.now()
    try:
        login.looked(container.gitlab_unguarded.token(), now)
    except SyncError as error:
        if error.code != "token_expired":
            raise
        login.refused(error)
    else:
        login.close()
    return login.state(now)


def _print(container: Container, state: LoginState) -> None:
    click.echo(container.settings.gitlab.url)
    if state.token_name:
        click.echo(f"  token   {printable(state.token_name)}")
        click.echo(f"  scopes  {', '.join(state.scopes)}")
        click.echo(f"  ends    {f'{state.expires_at} (in {state.days_left} days)' if state.expires_at else 'never'}")
    _tell(state.problems())


def _tell(problems: Iterable[str]) -> None:
    for problem in problems:
        click.echo(f"problem: {printable(problem)}", err=True)


@click.group("mirrors", short_help="List the mirrors, check and mend what drifted.")
def mirrors() -> None:
    """List the mirror projects, and check that they are as modsync set them up."""


@mirrors.command(
    "list",
    short_help="List mirrors by path.",
    epilog="""\b
Examples:
  modsync mirrors list
  modsync mirrors list platform/ --json""",
)
@click.argument("text", default="")
@after_option
@limit_option
@json_option
def list_mirrors(text: str, after: str | None, limit: int, as_json: bool) -> None:
    """List mirrors whose path contains TEXT: their newest run, where `ci-sync` was left, and who works there now."""
    page = open_operator().mirrors(text, after, limit)
    if as_json:
        print_json(page)
    else:
        print_mirrors(console(), page)


@mirrors.command(
    "findings",
    short_help="Show what reconcile last found.",
    epilog="""\b
Examples:
  modsync mirrors findings --people
  modsync mirrors findings go-mirrors/platform/log --json""",
)
@click.argument("mirror", default="")
@click.option("--people", is_flag=True, help="Only what needs a person.")
@after_option
@limit_option
@json_option
def findings(mirror: str, after: str | None, limit: int, *, people: bool, as_json: bool) -> None:
    """Say what reconcile last found at each mirror, or with MIRROR each of its findings; nothing is compared anew."""
    page = open_operator().reconciled(mirror, after, limit, people=people)
    if as_json:
        print_json(page)
    elif mirror:
        print_findings(console(), page)
    else:
        print_reconciled(console(), page)


@mirrors.command(
    "check",
    short_help="Name what was changed at mirror projects; --fix mends it.",
    epilog="""\b
Examples:
  modsync mirrors check
  modsync mirrors check go-mirrors/platform/log --fix --reason "somebody was too quick\"""",
)
@click.argument("paths", metavar="[MIRROR]...", nargs=-1)
@click.option("--fix", is_flag=True, help="Set up anew what drifted.")
@reason_option("Why, for the audit log; with --fix.")
@json_option
def check_mirrors(paths: tuple[str, ...], *, fix: bool, reason: str, as_json: bool) -> None:
    """Compare the GitLab projects of all mirrors, or of these, with how modsync sets them up.

    Status 1 when something is not as it shall be (and was not mended).
    """
    if reason and not fix:
        raise click.UsageError("--reason is for --fix")
    operator = open_operator()
    known = paths or tuple(_known(operator))
    looked = (_looked_at(operator, path, reason if fix else None) for path in known)
    checks = list(watched(looked, len(known), "mirrors", quiet=as_json))
    if as_json:
        print_json([each.as_json() for each in checks])
    else:
        _print_checks(checks)
    if not all(each.good for each in checks):
        raise click.exceptions.Exit(NO)


@mirrors.command(
    "move-source",
    short_help="Make a mirror that of a repository that moved.",
    epilog="""\b
Examples:
  modsync mirrors move-source go-mirrors/platform/log \\
    --to https://git2.corp.example/platform/log.git --reason "the git host was replaced; INC-4711\"""",
)
@click.argument("mirror")
@click.option("--to", required=True, metavar="URL", help="The repository's clone URL now, without a password.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the decision.")
@json_option
def move_source(mirror: str, to: str, reason: str, as_json: bool) -> None:
    """Say that the repository that MIRROR is of has another clone URL now, as on a new host.

    Releases from there are brought to this mirror from then on; replay those that were rejected (mirror_of_another).
    What still comes from the old URL is rejected. Two different repositories need a mirror each: see the rules' `clone`.
    """
    moved = open_operator().move_source(mirror, to, printable(reason))
    if as_json:
        print_json(moved)
        return
    click.echo(
        f"{printable(moved.mirror)}: was of {moved.before or 'no repository that is known'}, is of {moved.after}"
    )
    click.echo("replay what was rejected: modsync runs --error mirror_of_another, then modsync replay RUN")


def _known(operator: Operator) -> Iterator[str]:
    """The mirrors whose project was made or found before, by path."""
    after: str | None = None
    while True:
        page = operator.mirrors("", after, LONGEST_PAGE)
        yield from (each.path for each in page.items if each.project_id is not None)
        after = page.next
        if after is None:
            return


def _looked_at(operator: Operator, path: str, reason: str | None) -> MirrorCheck:
    """One mirror; what concerns it alone stops none of the others."""
    try:
        return operator.check_mirror(path) if reason is None else operator.mend_mirror(path, reason)
    except SyncError as error:
        if error.code not in _OF_ONE:
            raise
        return MirrorCheck(path, error=ErrorView(error.code, error.message, str(error.kind.retry), error.advice))


def _print_checks(checks: Sequence[MirrorCheck]) -> None:
    for each in checks:
        state = each.error.code if each.error else "drift" if each.drift else "mended" if each.mended else "good"
        click.echo(f"{printable(each.mirror)}: {state}")
        for drift in each.drift:
            by_hand = "" if drift.mendable else " (change it by hand)"
            click.echo(f"  {drift.what}: {drift.found}, wanted {drift.wanted}{by_hand}")
        for drift in each.mended:
            click.echo(f"  mended  {drift.what}: was {drift.found}, is {drift.wanted}")
        if each.error:
            click.echo(f"  {printable(each.error.message)}\n  {each.error.advice}")


commands: tuple[click.Command, ...] = (gitlab, mirrors)
