"""modsync's h1, acceptance and refusal against a real `go mod download`, on repositories that hypothesis makes up.

MODSYNC_DIFF_EXAMPLES says how many repositories (300 by default); they are asked for in batches, one `go` for each.
"""

import os
import re
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from app.adapters.git_history import open_history
from app.domain.errors import SyncError
from app.domain.gomod import parse_go_mod
from app.domain.modules import ModulePath, RuleBroken, Version
from app.services.checksum import ModuleSums, module_sums
from app.services.locate import locate
from tests.integration.go_repositories import (
    SYMLINK,
    Answer,
    Blob,
    download,
    make_repository,
)
from tests.integration.go_strategies import LARGE, Repo, repositories
from tests.integration.service_way import as_the_service

BATCH = 10
EXAMPLES = max(1, int(os.environ.get("MODSYNC_DIFF_EXAMPLES", "300")) // BATCH)


@dataclass
class Bench:
    """A directory of repositories with names that are never used twice, and go's module cache."""

    base: Path
    cache: Path
    names: count = field(default_factory=count)  # type: ignore[type-arg]

    def compare(self, repos: list[Repo]) -> None:
        made = {f"n{next(self.names)}": repo for repo in repos}
        for name, repo in made.items():
            make_repository(self.base / name, [repo.commit(name)])
        releases = {name: f"{repo.module(name)}@{repo.version}" for name, repo in made.items()}
        answers = download(self.base, self.cache, list(releases.values()))
        for name, release in releases.items():
            ours = compare(self.base / name, release, answers[release])
            compare_service(self.base / name, release, made[name].subdir, ours)


def compare_service(repository: Path, release: str, subdir: str, ours: ModuleSums | None) -> None:
    """The service reads a cache in its own ways, and has to come to what `modsync checksum` does (None: refused)."""
    module, version = release.split("@")
    found = as_the_service(repository, ModulePath.parse(module), Version.parse(version), subdir)
    agreed = isinstance(found, SyncError) if ours is None else found == (ours.h1_zip, ours.h1_go_mod)
    assert agreed, f"{release}: the service's way and checksum's differ: {found} {ours and ours.go_sum}"


def compare(repository: Path, release: str, go: Answer) -> ModuleSums | None:
    """modsync and go agree on one release, but for the one rule that modsync adds: the whole module line must be right.

    What modsync makes of it; None when it refuses it.
    """
    assert not re.search("no secure protocol|could not read|exec: |connection|lookup|unable to access", go.error), (
        go.error
    )
    module, version = release.split("@")
    ours: ModuleSums | None = None
    try:
        ours = sums(repository, ModulePath.parse(module), Version.parse(version))
    except RuleBroken as broken:
        event(f"refused: {broken.rule}")
        problem = "" if go.error or wrong_line(broken, go, module) else broken.message
    else:
        event("accepted")
        problem = go.error or differences(ours, go)
    assert not problem, f"{release}: modsync and go differ: {problem}"
    return ours


def sums(repository: Path, module: ModulePath, version: Version) -> ModuleSums:
    with open_history(str(repository)) as history:
        place = locate(history, module, version)
        return module_sums(history, place.commit, module, version, place.subdir)


def differences(ours: ModuleSums, go: Answer) -> str:
    return "" if (ours.h1_zip, ours.h1_go_mod) == (go.h1, go.h1_go_mod) else f"{ours.go_sum} {go}"


def wrong_line(broken: RuleBroken, go: Answer, module: str) -> bool:
    """Whether what go accepted indeed declares another path."""
    served = Path(go.zip.removesuffix(".zip") + ".mod").read_bytes()
    return broken.rule == "go_mod_mismatch" and parse_go_mod(served).module != module


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("repositories"), tmp_path_factory.mktemp("modcache"))


def repo(go_mod: str | None, /, subdir: str = "", suffix: str = "", version: str = "v1.2.3", **files: bytes) -> Repo:
    """A short way to write a fixed example; `__` in names stands for `/`, `_dot_` for a dot."""
    named = {name.replace("__", "/").replace("_dot_", ".").encode(): Blob(content) for name, content in files.items()}
    path = f"{subdir}/go.mod".lstrip("/").encode()
    return Repo({**named, **({path: Blob(go_mod.encode())} if go_mod is not None else {})}, subdir, suffix, version)


PLAIN = "module {path}\n\ngo 1.23\n"


@pytest.mark.timeout(900 + 6 * BATCH * EXAMPLES)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(st.lists(repositories(), min_size=BATCH, max_size=BATCH))
@example(
    [
        repo(
            "module {path}\n\ngo 1.24\n",
            vendor__modules_dot_txt=b"x",
            p__vendor__x_dot_go=b"x",
            longer__vendor__x_dot_go=b"x",
        )
    ]
)
@example([repo(PLAIN, vendor__modules_dot_txt=b"x", p__vendor__x_dot_go=b"x", longer__vendor__x_dot_go=b"x")])
@example(
    [
        repo(PLAIN, "sub", LICENSE=b"root\n", _dot_gitattributes=b"LICENSE eol=crlf"),
        repo(PLAIN, "sub", LICENSE=b"root", sub__license=b"own"),
    ]
)
@example(
    [
        repo(None, version="v2.0.0+incompatible"),
        repo(None, suffix="/v2", version="v2.0.0"),
        repo(PLAIN, version="v2.0.0+incompatible"),
    ]
)
@example(
    [
        Repo({b"go.mod": Blob(PLAIN.encode()), b"a:b": Blob(b"a.go", SYMLINK)}),
        Repo({b"go.mod": Blob(b"sub/go.mod", SYMLINK)}),
    ]
)
@example(
    [  # go reads a link's text as a go.mod, and says that it is missing its module path
        Repo(
            {
                b"a.go": Blob(b""),
                b"sub/go.mod": Blob(b"module {path}\n"),
                b"sub/v2/go.mod": Blob(b"a.go", SYMLINK),
            },
            "sub",
            "/v2",
            "v2.0.0",
        )
    ]
)
@example([Repo({b"go.mod": Blob(PLAIN.encode()), b"v2/go.mod": Blob(PLAIN.encode())}, suffix="/v2", version="v2.0.0")])
def test_generated_repositories(bench: Bench, repos: list[Repo]) -> None:
    bench.compare(repos)


@settings(max_examples=3, deadline=None)
@given(st.lists(LARGE, min_size=3, max_size=3))
@example([Repo({b"go.mod": Blob(PLAIN.encode()), b"sub/big.bin": Blob(b"\0\r\n" * (1 << 20)), b"z.go": Blob(b"z")})])
def test_large_files(bench: Bench, repos: list[Repo]) -> None:
    """Above what is read at once, which is 1 MiB in several places; with attributes and without."""
    bench.compare(repos)
