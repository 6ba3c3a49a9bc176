"""`modsync checksum` and `modsync module-zip` as a user meets them: output, exit status, any kind of repository."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from app.cli_checksum import commands
from app.domain.modules import ModulePath, Version
from app.services.checksum import zip_sums
from tests.integration.go_oracle import GoOracle
from tests.integration.go_repositories import SITE, SYMLINK, Blob, Commit, download, make_repository
from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.serve import LoopbackServer
from tests.unit.test_modzip_hostile import no_utf8, overlapping, renamed_locally


def modsync(*args: str) -> Result:
    group = click.Group("modsync", {command.name or "": command for command in commands})
    return CliRunner().invoke(group, list(args))


def lines(*args: str) -> list[str]:
    result = modsync("checksum", *args)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr
    assert result.stdout.endswith("\n")
    return result.stdout.splitlines()


def refused(*args: str, status: int = 1) -> str:
    result = modsync("checksum", *args)
    assert (result.exit_code, result.stdout) == (status, "")
    return result.stderr


def repository(directory: Path, files: dict[str, str], *tags: str) -> str:
    blobs = {name.encode(): Blob(content.encode()) for name, content in files.items()}
    directory.parent.mkdir(exist_ok=True)
    make_repository(directory, [Commit(blobs, dict.fromkeys(tags, "light"))])
    return str(directory)


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoOracle]:
    oracle = GoOracle(tmp_path_factory.mktemp("oracle"))
    yield oracle
    oracle.close()


MONOREPO = {
    "go.mod": "module vanity.example/mono\n",
    "LICENSE": "free\n",
    "sdk/metric/go.mod": "module vanity.example/mono/sdk/metric\n",
    "sdk/metric/m.go": "package metric\n",
    "client/go.mod": "module vanity.example/mono/client/v3\n",
    "wire/v2/go.mod": "module vanity.example/mono/wire/v2\n",
    "wire/v2/w.go": "package wire\n",
}


@pytest.mark.parametrize(
    ("release", "subdir", "names"),
    [
        ("vanity.example/mono@v1.0.0", "", ["LICENSE", "go.mod"]),
        ("vanity.example/mono/sdk/metric@v0.1.0", "sdk/metric", ["LICENSE", "go.mod", "m.go"]),
        ("vanity.example/mono/client/v3@v3.1.0", "client", ["LICENSE", "go.mod"]),
        ("vanity.example/mono/wire/v2@v2.0.0", "wire/v2", ["LICENSE", "go.mod", "w.go"]),
    ],
)
def test_monorepo(tmp_path: Path, release: str, subdir: str, names: list[str]) -> None:
    repo = repository(
        tmp_path / "called-otherwise", MONOREPO, "v1.0.0", "sdk/metric/v0.1.0", "client/v3.1.0", "wire/v2.0.0"
    )
    found = json.loads(lines(release, "--repo", repo, "--json")[0])
    assert found["subdir"] == subdir
    assert found["go_sum"] == lines(release, "--repo", f"file://{repo}") == lines(release, "--repo", repo)
    assert modsync("module-zip", release, "--repo", repo, "-o", str(tmp_path / "m.zip")).exit_code == 0
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        assert sorted(name.removeprefix(f"{release}/") for name in archive.namelist()) == names


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        ("vanity.example/mono@v1.0.1", "no tag 'v1.0.1'"),
        ("vanity.example/mono/sdk/metric@v1.0.0", "unknown revision"),
        ("vanity.example/mono@v2.0.0", "should be v0 or v1"),
        ("vanity.example/mono/wire/v3@v3.0.0", "unknown revision"),
        ("vanity.example/other@v1.0.0", "declares its path as 'vanity.example/mono'"),
        ("vanity.example/mono@v1.0.0+incompatible", "+incompatible is not allowed"),
        ("vanity.example/mono@v1", "not canonical"),
        ("vanity.example/mono@main", "not a semantic version"),
        ("Vanity.example/mono@v1.0.0", "'V' in first path element"),
        ("vanity.example/mono@v0.0.0-20200913122641-abcdefabcdef", "no commit abcdefabcdef"),
    ],
)
def test_reasons(tmp_path: Path, release: str, reason: str) -> None:
    repo = repository(tmp_path / "r", MONOREPO, "v1.0.0", "sdk/metric/v0.1.0")
    assert reason in refused(release, "--repo", repo)


def test_a_module_below_a_root_without_go_mod_is_not_the_root(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", {"sub/go.mod": "module vanity.example/r/sub\n", "a.go": "package a\n"}, "v1.0.0")
    assert "lies in 'sub'" in refused("vanity.example/r/sub@v1.0.0", "--repo", repo)
    assert lines("vanity.example/r@v1.0.0", "--repo", repo)[1].startswith("vanity.example/r v1.0.0/go.mod h1:")


@pytest.mark.parametrize(
    ("module", "version", "go_mod"),
    [
        ("gopkg.in/yaml.v2", "v2.4.0", "module gopkg.in/yaml.v2\n"),
        ("gopkg.in/check.v1", "v1.0.0", ""),
        ("example.com/old", "v3.0.0+incompatible", ""),
    ],
)
def test_gopkg_and_incompatible(tmp_path: Path, module: str, version: str, go_mod: str) -> None:
    files = {"a.go": "package a\n", **({"go.mod": go_mod} if go_mod else {})}
    repo = repository(tmp_path / "r", files, version.removesuffix("+incompatible"))
    zip_line, mod_line = lines(f"{module}@{version}", "--repo", repo)
    assert zip_line.startswith(f"{module} {version} h1:")
    assert mod_line.startswith(f"{module} {version}/go.mod h1:")


def test_the_command_needs_nothing_but_the_repository(tmp_path: Path) -> None:
    """As installed, in an empty place, where neither a configuration nor a database nor Redis is to be had."""
    repo = repository(tmp_path / "r", {"go.mod": "module a.b/c\n"}, "v1.0.0")
    here = tmp_path / "empty"
    here.mkdir()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(here), "MODSYNC_CONFIG": str(here / "none.toml"),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1",
    }  # fmt: skip
    command = [str(Path(sys.executable).with_name("modsync")), "checksum", "a.b/c@v1.0.0", "--repo", repo]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == lines("a.b/c@v1.0.0", "--repo", repo)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "args",
    [
        ["checksum"],
        ["checksum", "a.b/c@v1.0.0"],
        ["checksum", "a.b/c", "--repo", "."],
        ["checksum", "a.b/c@", "--repo", "."],
        ["checksum", "a.b/c@v1.0.0", "--repo", ".", "--zip", __file__],
        ["checksum", "a.b/c@v1.0.0", "--zip", "no-such-file"],
        ["module-zip", "a.b/c@v1.0.0", "--repo", "."],
    ],
)
def test_usage(args: Sequence[str]) -> None:
    result = modsync(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("no-such-place", "no repository"),
        ("--upload-pack=touch /tmp/x", "neither a path nor a URL"),
        ("ext::sh -c false", "transport 'ext' not allowed"),
        ("ext://x", "transport 'ext' not allowed"),
        ("file:///no-such-place", "does not appear to be a git repository"),
        (str(Path(__file__).parent), "not a git repository"),
        ("http://user:secret@127.0.0.1:1/x", "unable to access"),
        ("http://127.0.0.1:1/x?private_token=secret", "unable to access"),
    ],
)
def test_places_that_are_no_repository(place: str, reason: str) -> None:
    message = refused("a.b/c@v1.0.0", f"--repo={place}")
    assert reason in message
    assert "secret" not in message


def test_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    repo = repository(tmp_path / "group" / "r.git", {"go.mod": "module a.b/c\n"}, "v1.0.0")
    with LoopbackServer(GitHttpBackend(tmp_path)) as server:
        url = f"{server.url}/group/r.git"
        commit = json.loads(lines("a.b/c@v1.0.0", "--repo", url, "--json")[0])["commit"]
        for version in ("v1.0.0", f"v0.0.0-20200913122641-{commit[:12]}"):
            assert lines(f"a.b/c@{version}", "--repo", url) == lines(f"a.b/c@{version}", "--repo", repo)
        assert "unknown revision" in refused("a.b/c@v1.0.1", "--repo", url)


def test_work_trees(tmp_path: Path) -> None:
    bare = repository(tmp_path / "bare", {"go.mod": "module a.b/c\n"}, "v1.0.0")
    subprocess.run(["git", "clone", "-q", bare, str(tmp_path / "clone")], check=True)
    subprocess.run(
        ["git", "-C", str(tmp_path / "clone"), "worktree", "add", "-q", "--detach", str(tmp_path / "linked")],
        check=True,
    )
    for place in ("clone", "linked"):
        assert lines("a.b/c@v1.0.0", "--repo", str(tmp_path / place)) == lines("a.b/c@v1.0.0", "--repo", bare)


def test_the_repository_is_not_touched(tmp_path: Path) -> None:
    repo = repository(
        tmp_path / "r",
        {"go.mod": "module a.b/c\n", ".gitattributes": "* export-ignore\n", "a.go": "package a\n"},
        "v1.0.0",
    )
    before = {path: path.stat().st_mtime_ns for path in Path(repo).rglob("*")}
    lines("a.b/c@v1.0.0", "--repo", repo)
    assert {path: path.stat().st_mtime_ns for path in Path(repo).rglob("*")} == before


@pytest.mark.parametrize("xdg", [False, True])
def test_settings_of_the_user_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xdg: bool) -> None:
    repo = repository(
        tmp_path / "r",
        {"go.mod": "module a.b/c\n", ".gitattributes": "* text\n*.x filter=evil\n", "a.x": "a\n", "b.y": "b\n"},
        "v1.0.0",
    )
    expected = lines("a.b/c@v1.0.0", "--repo", repo)
    (tmp_path / ".gitconfig").write_text(
        f'[core]\n\tautocrlf = true\n\teol = crlf\n[filter "evil"]\n\tsmudge = touch {tmp_path}/ran\n\trequired\n'
    )
    attributes = tmp_path / ("xdg" if xdg else ".config") / "git" / "attributes"
    attributes.parent.mkdir(parents=True)
    attributes.write_text("* text eol=crlf\n*.y ident working-tree-encoding=UTF-16\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    if xdg:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.eol'='crlf'")
    assert lines("a.b/c@v1.0.0", "--repo", repo) == expected
    assert not (tmp_path / "ran").exists()


def test_module_zip_satisfies_go_and_gives_the_same_sums(tmp_path: Path, go: GoOracle) -> None:
    release = f"{SITE}/z.git/sub@v1.0.0"
    files = {
        b".gitattributes": Blob(b"*.txt eol=crlf\nsecret export-ignore\n*.go ident\n"),
        b"sub/go.mod": Blob(f"module {SITE}/z.git/sub\n\ngo 1.24\n".encode()),
        b"sub/a.txt": Blob(b"1\n2\n"),
        b"sub/secret": Blob(b"x"),
        b"sub/a.go": Blob(b"// $Id$\n"),
        "sub/é.go".encode(): Blob(b""),
        b"sub/link": Blob(b"a.txt", SYMLINK),
        b"sub/vendor/x/y.go": Blob(b""),
        b"LICENSE": Blob(b"free\n"),
    }
    make_repository(tmp_path / "z", [Commit(files, {"sub/v1.0.0": "light"})])
    target = tmp_path / "out.zip"
    assert modsync("module-zip", release, "--repo", str(tmp_path / "z"), "-o", str(target)).output == ""
    answer = download(tmp_path, tmp_path / "cache", [release])[release]
    assert go.ask("zip", *release.split("@"), str(target)).text == [answer.h1]
    module, version = release.split("@")
    expected = [f"{module} {version} {answer.h1}", f"{module} {version}/go.mod {answer.h1_go_mod}"]
    assert lines(release, "--zip", str(target)) == expected == lines(release, "--zip", answer.zip)
    first = target.read_bytes()
    assert modsync("module-zip", release, "--repo", str(tmp_path / "z"), "-o", str(target)).exit_code == 0
    assert target.read_bytes() == first


@pytest.mark.parametrize("marked", [True, False])
def test_go_refuses_zips_with_names_that_are_no_utf8(tmp_path: Path, go: GoOracle, marked: bool) -> None:
    target = tmp_path / "m.zip"
    target.write_bytes(no_utf8(b"\xff.go", marked=marked, prefix="a.b/c@v1.0.0/"))
    assert go.ask("zip", "a.b/c", "v1.0.0", str(target)).error
    assert modsync("checksum", "a.b/c@v1.0.0", "--zip", str(target)).exit_code == 1


@pytest.mark.parametrize("data", [renamed_locally(), overlapping()], ids=["local-name", "overlap"])
def test_go_takes_what_only_zipfile_would_not_open(tmp_path: Path, go: GoOracle, data: bytes) -> None:
    target = tmp_path / "m.zip"
    target.write_bytes(data)
    expected = go.ask("zip", "a.b/c", "v1.0.0", str(target))
    assert not expected.error
    assert lines("a.b/c@v1.0.0", "--zip", str(target))[0] == f"a.b/c v1.0.0 {expected.text[0]}"


def test_module_zip_leaves_nothing_behind_when_refused(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", {"go.mod": "module a.b/c\n", "A.go": "", "a.go": ""}, "v1.0.0")
    target = tmp_path / "out" / "m.zip"
    target.parent.mkdir()
    result = modsync("module-zip", "a.b/c@v1.0.0", "--repo", repo, "-o", str(target))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "differ only in letter case" in result.stderr
    assert list(target.parent.iterdir()) == []


def test_go_mod_of_17_mib(tmp_path: Path) -> None:
    release = f"{SITE}/big.git@v1.0.0"
    go_mod = f"module {SITE}/big.git\n".encode() + b"// padding\n" * (17 * 1024 * 1024 // 11)
    make_repository(tmp_path / "big", [Commit({b"go.mod": Blob(go_mod)}, {"v1.0.0": "light"})])
    assert download(tmp_path, tmp_path / "cache", [release])[release].error
    assert "at most 16777216" in refused(release, "--repo", str(tmp_path / "big"))


def test_zip_from_a_file_object(tmp_path: Path) -> None:
    repo = repository(tmp_path / "r", {"go.mod": "module a.b/c\n"}, "v1.0.0")
    target = tmp_path / "m.zip"
    assert modsync("module-zip", "a.b/c@v1.0.0", "--repo", repo, "-o", str(target)).exit_code == 0
    with target.open("rb") as file:
        sums = zip_sums(file, ModulePath.parse("a.b/c"), Version.parse("v1.0.0"))
    assert list(sums.go_sum) == lines("a.b/c@v1.0.0", "--repo", repo)
    assert "does not start with" in refused("a.b/c@v1.0.1", "--zip", str(target))
