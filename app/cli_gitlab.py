"""`modsync gitlab check`, `modsync mirrors check`: is GitLab as modsync needs it?"""

from __future__ import annotations

from collections.abc import Iterable

import click

from app.bootstrap import Container
from app.cli_open import json_option, open_container
from app.cli_output import NO, print_json, printable
from app.domain.errors import SyncError
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


commands: tuple[click.Command, ...] = (gitlab,)
