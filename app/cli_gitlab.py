"""`modsync gitlab check`, `modsync mirrors check`: is GitLab as modsync needs it?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from app.adapters.read_store import SqlReadStore
from app.bootstrap import Container
from app.cli_open import actor, json_option, open_container
from app.cli_output import NO, print_json, printable
from app.domain.errors import SyncError
from app.mirror_care import mirror_care
from app.services.drift import MirrorCheck
from app.services.gitlab_login import LoginState


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

    Status 1 when the token is refused, lacks a scope, has ended, or ends within three weeks.
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


@click.group("mirrors", short_help="Check that the mirror projects are as modsync set them up.")
def mirrors() -> None:
    """Check that the mirror projects are as modsync set them up."""


@mirrors.command(
    "check",
    short_help="Name what was changed at mirror projects; --fix mends it.",
    epilog="""\b
Examples:
  modsync mirrors check
  modsync mirrors check go-mirrors/platform/log --fix""",
)
@click.argument("paths", metavar="[MIRROR]...", nargs=-1)
@click.option("--fix", is_flag=True, help="Set up anew what drifted.")
@json_option
def check_mirrors(paths: tuple[str, ...], *, fix: bool, as_json: bool) -> None:
    """Compare the GitLab projects of all mirrors, or of these, with how modsync sets them up.

    Status 1 when something is not as it shall be (and was not mended).
    """
    container = open_container()
    known = paths or SqlReadStore(container.engine).mirror_paths()
    care = mirror_care(container)
    checks = [care.mend(path, actor(), "") if fix else care.check(path) for path in known]
    if as_json:
        print_json([each.as_json() for each in checks])
    else:
        _print_checks(checks)
    if not all(each.good for each in checks):
        raise click.exceptions.Exit(NO)


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
