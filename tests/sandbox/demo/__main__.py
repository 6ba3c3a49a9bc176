"""`python -m tests.sandbox.demo [--once]`: sets the world up, plays the story, and stays up until Ctrl-C."""

import argparse
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path

import requests

from tests.sandbox.demo.screen import Screen, times
from tests.sandbox.demo.story import Story, StoryError
from tests.sandbox.service import Service
from tests.sandbox.world import World


def main() -> int:
    """Exit status: 0 when all of the story happened, else 1."""
    options = argparse.ArgumentParser()
    options.add_argument("--once", action="store_true", help="end after the story instead of waiting for Ctrl-C")
    once = options.parse_args().once or bool(os.environ.get("ONCE"))
    logging.disable(logging.CRITICAL)
    stop = _stop_on_signals()
    root = Path(tempfile.mkdtemp(prefix="modsync-demo-"))
    try:
        return _demo(root, once=once, stop=stop)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if stop.is_set():
            return
        stop.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


def _demo(root: Path, *, once: bool, stop: threading.Event) -> int:
    screen = Screen()
    screen.console.print(
        "[bold]modsync demo[/]: a module platform, a GitLab, a runner and a private Go proxy on this machine"
    )
    screen.tell("starting them, and modsync's own processes (redis, web, worker, backfill, sweeper) ...")
    try:
        with World(root, give_up=15, patience=15) as world:
            world.gitlab.set_variable("MODSYNC_WAIT", "2")
            world.gitlab.set_variable("MODSYNC_POLL", "1")
            with Service(world.url, world.environment, root / "logs", world.admin_token) as service:
                return _told(Story(world, service, screen), screen, once=once, stop=stop)
    except KeyboardInterrupt:
        screen.console.print("stopped")
        return 130 if once else 0


def _told(story: Story, screen: Screen, *, once: bool, stop: threading.Event) -> int:
    _addresses(story.world, screen)
    try:
        story.play()
    except (StoryError, TimeoutError, requests.RequestException) as error:
        screen.console.print("\n[bold red]This did not happen:[/]")
        screen.tell(str(error))
        return 1
    screen.console.print()
    screen.console.print(times([story.service.run(each) for each in story.runs]))
    if once:
        return 0
    _addresses(story.world, screen)
    screen.console.print("\nAll of it stays up. Ctrl-C ends it.")
    stop.wait()
    return 0


def _addresses(world: World, screen: Screen) -> None:
    screen.console.print()
    for name, address in (
        ("modsync", f"{world.url}/"),
        ("RQ dashboard", f"{world.url}/rq/"),
        ("log in with", world.admin_token),
        ("metrics", f"{world.url}/metrics"),
        ("GitLab stand-in", world.gitlab.url),
        ("private proxy", world.proxy.url),
        ("the CLI", f". {_settings(world)} && .venv/bin/modsync runs"),
    ):
        screen.tell(f"{name:<16} {address}")


def _settings(world: World) -> Path:
    """A file of its owner's for the shell: where the configuration is, and the secrets that it wants."""
    file = world.root / "cli.sh"
    file.touch(0o600)
    file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in world.environment.items()))
    return file


if __name__ == "__main__":
    sys.exit(main())
