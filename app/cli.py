"""The `modsync` command. Each command's module is imported when it is asked for: `--help` and `checksum` stay fast."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem

# Command -> (the module whose `commands` hold it, what it does in one line).
COMMANDS: dict[str, tuple[str, str]] = {
    "now": ("app.cli_board", "Say what runs, waits or failed, the health, the service level."),
    "runs": ("app.cli_runs", "List runs, newest first."),
    "show": ("app.cli_runs", "Show all of a run, by its id or a job's."),
    "watch": ("app.cli_watch", "Follow a run until it ends, or all of them."),
    "gosum": ("app.cli_runs", "Print the go.sum lines that modsync has proved."),
    "explain": ("app.cli_runs", "Say which rule, mirror, tag and proxy apply to a module."),
    "modules": ("app.cli_board", "List modules by path."),
    "failures": ("app.cli_board", "Count failed runs by error code."),
    "replay": ("app.cli_replay", "Begin a new attempt of a run, or of all that failed alike."),
    "cancel": ("app.cli_runs", "End a run that is in flight."),
    "accept-move": ("app.cli_moves", "Let a released version move to another commit."),
    "reconcile": ("app.cli_reconcile", "Compare source, mirror and proxy, and bring what is missing."),
    "backfill": ("app.cli_reconcile", "Bring all versions of a module, oldest first."),
    "pause": ("app.cli_pause", "Stop working on all, a source, a module or a host."),
    "resume": ("app.cli_pause", "Go on with what was paused."),
    "pauses": ("app.cli_pause", "List what is paused, by whom and why."),
    "send": ("app.cli_send", "Send a signed release webhook, or print it as a curl command."),
    "deliveries": ("app.cli_deliveries", "List webhook requests, or show one."),
    "redeliver": ("app.cli_deliveries", "Take a webhook request once more, or all that failed."),
    "sources": ("app.cli_sources", "Say how each platform signs and which secrets are used."),
    "checksum": ("app.cli_checksum", "Print a release's go.sum lines."),
    "module-zip": ("app.cli_checksum", "Write a release's module zip."),
    "token": ("app.cli_access", "Make, list and end API tokens."),
    "login-link": ("app.cli_access", "Print an address that logs one person in, once."),
    "audit": ("app.cli_access", "Check and export the audit log."),
    "notify": ("app.cli_notify", "Test the receivers of notifications, and see how they do."),
    "doctor": ("app.cli_doctor", "Find out why Go modules do not come here."),
    "config": ("app.cli_config", "Check and show the configuration."),
    "gitlab": ("app.cli_gitlab", "Check modsync's login at GitLab."),
    "mirrors": ("app.cli_gitlab", "List the mirrors, check and mend what drifted."),
    "db": ("app.cli_server", "Bring the database to the newest schema, or look at it."),
    "web": ("app.cli_server", "Serve webhooks, API and pages (gunicorn)."),
    "worker": ("app.cli_server", "Bring releases through."),
    "sweeper": ("app.cli_server", "Give jobs to runs that have none."),
    "redis": ("app.cli_server", "Run the embedded Redis, where none is configured."),
    "completion": ("app.cli_completion", "Print the completion script of a shell."),
}

EXAMPLES = """\b
Examples:
  modsync runs --status failed --since 24h
  modsync show r0kz3v7m2c5q8x1b4n6d
  modsync replay r0kz3v7m2c5q8x1b4n6d-1-3 --from pipeline --reason "runner was down"
  modsync explain go.corp.example/platform/log@v1.4.0
  MODSYNC_URL=https://modsync.corp.example MODSYNC_TOKEN_FILE=~/.modsync-token modsync now

\b
On modsync's own machine the commands work with its configuration. From another
machine they ask its API: --server or $MODSYNC_URL names it, $MODSYNC_TOKEN or
the file that $MODSYNC_TOKEN_FILE names holds an API token.

\b
Exit status: 0 it worked or the answer is yes; 1 the answer is no, or the run
failed; 2 wrong usage; 3 the configuration has problems; 4 a service (database,
Redis, web server) is not available; 5 the token is missing or wrong, or its
role may not do this; 130 ended by Ctrl+C."""


_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are in COMMANDS; only the one that is called is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base class's shape
        """The names in COMMANDS' order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """The imported command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        found: dict[str | None, click.Command] = {command.name: command for command in module.commands}
        return found[cmd_name]

    def invoke(self, ctx: click.Context) -> object:
        """Ctrl+C is no answer "no": its status is its own, also at a question."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as stopped:
            if not isinstance(stopped.__context__ or stopped, KeyboardInterrupt):
                raise
            click.echo("interrupted", err=True)
            ctx.exit(_INTERRUPTED)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, from COMMANDS alone, and the options."""
        found = [CompletionItem(name, help=said) for name, (_, said) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """The list in --help, from COMMANDS alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file; else $MODSYNC_CONFIG, ./modsync.toml, /etc/modsync/modsync.toml.",
)
@click.option(
    "--server", metavar="URL", help="modsync's address, to ask its API from another machine; else $MODSYNC_URL."
)
@click.version_option(package_name="modsync")
def cli(config: Path | None, server: str | None) -> None:
    """Bring Go module releases from a platform to GitLab and the private proxy, and look after them."""
    if config and server:
        raise click.UsageError("--config is for modsync's own machine, --server for another one: give one of them")
    if server is not None:
        os.environ["MODSYNC_URL"] = server
    if config:
        os.environ.pop("MODSYNC_URL", None)
        # By the environment: it reaches the commands, and the web server's and worker's processes, in the same way.
        os.environ["MODSYNC_CONFIG"] = str(config.absolute())


def main() -> None:
    """The console script: errors that a person can act on become text and an exit status, never a traceback."""
    try:
        cli(prog_name="modsync")
    except Exception as error:
        from app.cli_output import explain_error  # not before: it costs the fast commands a third of a second

        status = explain_error(error)
        if status is None:
            raise
        sys.exit(status)
