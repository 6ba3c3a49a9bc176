"""What the demo prints: chapters, facts, live progress of runs, and the table at the end."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

STAGES = ("mirror", "pipeline", "verify")
_STYLES = {"done": "green", "failed": "red", "rejected": "yellow"}


class Screen:
    """A console that keeps to plain lines where it is no terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, soft_wrap=True, width=150)
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """Begin a part of the story."""
        self._chapter += 1
        self.console.print(f"\n[bold cyan]{self._chapter}. {title}[/]")

    def tell(self, text: str) -> None:
        """A line of the story."""
        self.console.print(Text(f"   {text}"))

    def fact(self, text: str) -> None:
        """Something that was checked and is so."""
        self.console.print(Text("   ✓ ", "green").append(text, "default"))

    def live(self) -> Live:
        """A place that is drawn anew while runs go on."""
        return Live(console=self.console, refresh_per_second=8, transient=True)


def progress(runs: Sequence[Mapping[str, Any]]) -> Table:
    """The runs with the stages they have come through."""
    table = Table(box=None, padding=(0, 2), show_header=False)
    for run in runs:
        style = _STYLES.get(run["status"], "cyan")
        steps = Text(" ").join(_stage(run, stage) for stage in STAGES)
        table.add_row("  ", f"{run['module']}@{run['version']}", steps, Text(run["status"], style))
    return table


def _stage(run: Mapping[str, Any], stage: str) -> Text:
    steps = [step for step in run["attempts"][-1]["steps"] if step["stage"] == stage]
    if any(step["outcome"] == "ok" for step in steps):
        return Text(f"✓ {stage}", "green")
    if run["status"] == stage:
        return Text(f"… {stage}", "cyan")
    return Text(f"✗ {stage}", "red") if steps else Text(f"· {stage}", "dim")


def times(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Seconds per stage of each run's last attempt, and from the webhook to downloadable."""
    table = Table(title="Where the time went (seconds)", title_justify="left", header_style="bold")
    table.add_column("release")
    for name in (*STAGES, "released → downloadable", "attempts"):
        table.add_column(name, justify="right")
    table.add_column("run")
    for run in runs:
        total = run["downloadable_after_seconds"]
        cells = [_seconds(run, stage) for stage in STAGES]
        name = f"{run['module']}@{run['version']}"
        table.add_row(name, *cells, f"{total:.2f}" if total else "-", str(run["attempt"]), run["id"])
    return table


def _seconds(run: Mapping[str, Any], stage: str) -> str:
    spent = [
        _between(step) for each in run["attempts"] for step in each["steps"]
        if step["stage"] == stage and step["outcome"] == "ok"
    ]  # fmt: skip
    return f"{spent[-1]:.2f}" if spent else "-"


def _between(step: Mapping[str, Any]) -> float:
    return (datetime.fromisoformat(step["ended_at"]) - datetime.fromisoformat(step["started_at"])).total_seconds()
