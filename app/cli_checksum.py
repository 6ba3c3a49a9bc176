"""`modsync checksum` and `modsync module-zip`: what `go` would make of a release, without `go`, configuration or services."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from app.adapters.git_history import open_history
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import ModuleSums, SourceUnreadable, module_sums, write_module_zip, zip_sums
from app.services.locate import Place, locate

Release = tuple[ModulePath, Version]

_REPO_HELP = "The module's git repository: a path (bare or not) or a URL; it need not be named like the module."


@click.command(
    "checksum",
    short_help="Print a release's go.sum lines.",
    epilog="""\b
Examples:
  modsync checksum go.corp.example/platform/log@v1.4.0 --repo https://git.corp.example/platform/log.git
  modsync checksum go.corp.example/platform/log@v1.4.0 --zip ./v1.4.0.zip --json""",
)
@click.argument("release", metavar="MODULE@VERSION")
@click.option("--repo", metavar="PATH_OR_URL", help=_REPO_HELP)
@click.option(
    "--zip", "zip_path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A module zip instead."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of the two lines.")
def checksum(release: str, repo: str | None, zip_path: Path | None, as_json: bool) -> None:
    """Print the two go.sum lines of MODULE@VERSION as `go` would compute them from a repository or from a module zip.

    Exit status: 0; 1 when the version is not there or Go would refuse it (the reason is on stderr); 2 for wrong usage.
    """
    if (repo is None) == (zip_path is None):
        raise click.UsageError("give either --repo or --zip")
    with _reasons():
        module, version = _parse(release)
        sums, place = (
            _of_repo(repo, module, version) if repo is not None else (_of_zip(zip_path, module, version), None)
        )
    click.echo(_json(sums, place) if as_json else "\n".join(sums.go_sum))


@click.command(
    "module-zip",
    short_help="Write a release's module zip.",
    epilog="""\b
Examples:
  modsync module-zip go.corp.example/platform/log@v1.4.0 --repo ./log -o v1.4.0.zip""",
)
@click.argument("release", metavar="MODULE@VERSION")
@click.option("--repo", metavar="PATH_OR_URL", required=True, help=_REPO_HELP)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The zip to write."
)
def module_zip(release: str, repo: str, output: Path) -> None:
    """Write the module zip of MODULE@VERSION, as a Go module proxy would serve it.

    The file appears only when it is complete. Exit status as for `modsync checksum`.
    """
    with _reasons():
        module, version = _parse(release)
        with open_history(repo) as history:
            place = locate(history, module, version)
            with _replacing(output) as target:
                write_module_zip(history, place.commit, module, version, place.subdir, target)


commands: tuple[click.Command, ...] = (checksum, module_zip)


def _parse(release: str) -> Release:
    path, at, version = release.rpartition("@")
    if not (at and path and version):
        raise click.UsageError(f"{release!r} is not of the form MODULE@VERSION")
    return ModulePath.parse(path), Version.parse(version)


def _of_repo(repo: str, module: ModulePath, version: Version) -> tuple[ModuleSums, Place]:
    with open_history(repo) as history:
        place = locate(history, module, version)
        return module_sums(history, place.commit, module, version, place.subdir), place


def _of_zip(zip_path: Path | None, module: ModulePath, version: Version) -> ModuleSums:
    if zip_path is None:
        raise click.UsageError("give either --repo or --zip")
    with zip_path.open("rb") as file:
        return zip_sums(file, module, version)


def _json(sums: ModuleSums, place: Place | None) -> str:
    """`{module, version, h1, h1_go_mod, go_sum: [2 lines], commit, subdir}`; the last two only of a repository."""
    found = {"commit": place.commit, "subdir": place.subdir} if place else {}
    names = {"module": sums.module.text, "version": sums.version.text}
    return json.dumps({**names, "h1": sums.h1_zip, "h1_go_mod": sums.h1_go_mod, "go_sum": list(sums.go_sum), **found})


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn what can be wrong with a release or its source into exit status 1 and a reason on stderr."""
    try:
        yield
    except RuleBroken as broken:
        raise click.ClickException(f"{broken.message} [{broken.rule}]") from broken
    except (SourceUnreadable, OSError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place only when it was written to its end."""
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as target:
            yield target
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
