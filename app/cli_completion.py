"""`modsync completion`: the script that completes commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# click's zsh script, loaded from fpath, completes nothing at the second Tab: then it is a function like any other.
_ZSH_AUTOLOAD = ("$zsh_eval_context[-1] == loadautofunc", "${funcstack[1]} == _modsync")


@click.command(
    "completion",
    short_help="Print the completion script of a shell.",
    epilog="""\b
Examples:
  modsync completion bash > /etc/bash_completion.d/modsync
  modsync completion zsh > "${fpath[1]}/_modsync"
  modsync completion fish > ~/.config/fish/completions/modsync.fish""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes modsync's commands, options and their values in SHELL.

    The script asks `modsync` itself for what fits; nothing connects to anything for that.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    root = ctx.find_root()
    script = found(root.command, {}, "modsync", "_MODSYNC_COMPLETE").source()
    click.echo(script.replace(*_ZSH_AUTOLOAD))


commands: tuple[click.Command, ...] = (completion,)
