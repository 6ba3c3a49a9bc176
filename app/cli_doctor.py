"""`modsync doctor`: why Go modules do not come here; without configuration, database or queue."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import click

from app.doctor import report
from app.doctor.conformance import Sample
from app.doctor.conformance_run import conform
from app.doctor.examine import Question, decide, observe
from app.doctor.explain import explain as explain_output
from app.doctor.settings import shown_goproxy
from app.domain.rules import RuleBroken

EPILOG = """\b
Examples:
  modsync doctor --module go.corp.example/platform/log@v1.4.0
  go build ./... 2>&1 | modsync doctor explain
  modsync doctor proxy https://goproxy.corp.example --module go.corp.example/platform/log@v1.4.0

\b
Exit status: 0 nothing found; 1 there are findings; 2 wrong usage."""

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_timeout = click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Seconds for each step."
)


@click.group(
    "doctor", invoke_without_command=True, epilog=EPILOG, short_help="Find out why Go modules do not come here."
)
@click.option(
    "--module", "modules", multiple=True, metavar="PATH[@VERSION]", help="Ask for it; else what ./go.mod requires."
)
@click.option(
    "--private", multiple=True, metavar="PATTERN", help="Module paths that are private, beside what GOPRIVATE says."
)
@_timeout
@_json
@click.pass_context
def doctor(
    context: click.Context, modules: tuple[str, ...], private: tuple[str, ...], timeout: float, as_json: bool
) -> None:
    """Find out why Go modules do not come to this machine: go's settings, the network, TLS, the proxy, the checksum database."""
    if context.invoked_subcommand is not None:
        return
    for module in modules:
        _sample(module)
    observed = observe(Question(modules, private, timeout), os.environ, Path.cwd())
    findings = decide(observed)
    if as_json:
        click.echo(report.findings_json(findings, goproxy=shown_goproxy(observed.settings["GOPROXY"])))
    else:
        _print(report.findings_text(findings) if findings else [report.healthy_text(observed)])
    _end(bool(findings))


@doctor.command(
    "explain",
    epilog="""\b
Examples:
  go build ./... 2>&1 | modsync doctor explain
  modsync doctor explain build.log --json""",
)
@click.argument("file", type=click.File(errors="replace"), default="-")
@_json
def explain(file: TextIO, as_json: bool) -> None:
    """Name the cause in the output of a go command, read from FILE or standard input."""
    explained = explain_output(file.read())
    if as_json:
        click.echo(report.findings_json(explained.findings, unexplained=explained.unexplained))
    else:
        _print(report.explained_text(explained))
    _end(bool(explained.findings or explained.unexplained))


@doctor.command(
    "proxy",
    epilog="""\b
Examples:
  modsync doctor proxy https://goproxy.corp.example --module go.corp.example/platform/log@v1.4.0""",
)
@click.argument("url")
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="PATH[@VERSION]",
    default=("golang.org/x/mod",),
    show_default=True,
    help="A module that the proxy has; several show more (upper case, /v2, a pseudo-version).",
)
@click.option("--h1", metavar="H1", help="The zip's h1 of the first module, as go.sum has it.")
@_timeout
@_json
def proxy(url: str, modules: tuple[str, ...], h1: str | None, timeout: float, as_json: bool) -> None:
    """Check whether the Go module proxy at URL answers the GOPROXY protocol rightly. Status 1 when a check fails."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("an http:// or https:// URL is wanted", param_hint="URL")
    samples = [_sample(module) for module in modules]
    checks = conform(url.rstrip("/"), samples, h1, timeout, os.environ)
    if as_json:
        click.echo(report.checks_json(checks, url))
    else:
        _print(report.checks_text(checks))
    _end(any(check.result == "fail" for check in checks))


commands: tuple[click.Command, ...] = (doctor,)


def _sample(module: str) -> Sample:
    try:
        return Sample.parse(module)
    except RuleBroken as broken:
        raise click.BadParameter(broken.message, param_hint="--module") from broken


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _end(found: bool) -> None:
    if found:
        raise click.exceptions.Exit(1)
