"""Where the mirror stage looks for a module, against a real `go`: `dir` or `dir/vN`, never both; refused before any push."""

from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.stages.mirror import MirrorRequest, MirrorStage, Release
from tests.contract.fake_git import FakeGit, FakeRepository
from tests.contract.fake_gitlab import FakeGitLab
from tests.integration.flow_world import MIRROR, NO_REGISTRIES, SOURCE
from tests.integration.git_world import nothing
from tests.integration.go_repositories import SITE, Blob, Commit, download, make_repository
from tests.integration.service_way import as_the_service

V2 = "module {path}\n"  # {path} is the released module's
LAYOUTS: dict[str, tuple[str, dict[str, str], str]] = {
    # name: (subdirectory, files, the code of the refusal)
    "dir": ("sub", {"sub/go.mod": V2}, ""),
    "dir-v2": ("sub", {"sub/v2/go.mod": V2}, ""),
    "root": ("", {"go.mod": V2}, ""),
    "root-v2": ("", {"v2/go.mod": V2}, ""),
    "v1-beside": ("sub", {"sub/go.mod": "module example.com/x\n", "sub/v2/go.mod": V2}, ""),
    "both": ("sub", {"sub/go.mod": V2, "sub/v2/go.mod": V2}, "not_a_module"),
    "another-v2-beside": ("sub", {"sub/go.mod": V2, "sub/v2/go.mod": "module example.com/y/v2\n"}, "not_a_module"),
    "v1-in-v2": ("sub", {"sub/go.mod": V2, "sub/v2/go.mod": "module example.com/y\n"}, "module_mismatch"),
    "nothing-in-v2": ("sub", {"sub/go.mod": V2, "sub/v2/go.mod": "// empty\n"}, "module_mismatch"),
    "none": ("sub", {"sub/a.go": "package a\n"}, "go_mod_missing"),
    "v1-alone": ("sub", {"sub/go.mod": "module example.com/y\n"}, "module_mismatch"),
}


def release_of(name: str) -> str:
    subdir = LAYOUTS[name][0]
    return f"{SITE}/{name}.git{f'/{subdir}' if subdir else ''}/v2@v2.1.0"


def test_the_service_and_go_take_the_same_directory(tmp_path: Path) -> None:
    base = tmp_path / "repositories"
    base.mkdir()
    for name, (subdir, files, _) in LAYOUTS.items():
        path = release_of(name).partition("@")[0]
        blobs = {file.encode(): Blob(text.format(path=path).encode()) for file, text in files.items()}
        make_repository(base / name, [Commit(blobs, {f"{subdir}/v2.1.0".lstrip("/"): "light"})])
    answers = download(base, tmp_path / "modcache", [release_of(name) for name in LAYOUTS])
    for name, (subdir, _, refusal) in LAYOUTS.items():
        module, _, version = release_of(name).partition("@")
        found = as_the_service(base / name, ModulePath.parse(module), Version.parse(version), subdir)
        go = answers[release_of(name)]
        assert bool(go.error) == bool(refusal), (name, go)
        assert found.code == refusal if isinstance(found, SyncError) else found == (go.h1, go.h1_go_mod), name


@pytest.mark.parametrize("files", [LAYOUTS["both"][1], LAYOUTS["another-v2-beside"][1], LAYOUTS["v1-in-v2"][1]])
def test_a_module_in_two_places_is_never_pushed(files: dict[str, str]) -> None:
    """Its protected tag would stay, and no `go` would ever take it."""
    module = ModulePath.parse("go.example/team/thing/sub/v2")
    git, gitlab = FakeGit({SOURCE: FakeRepository()}), FakeGitLab()
    source = git.repositories[SOURCE]
    commit = source.commit({name: text.format(path=module).encode() for name, text in files.items()})
    source.tag("sub/v2.1.0", commit)
    stage = MirrorStage(git, gitlab, lambda *_: "h1:x", NO_REGISTRIES, {})
    release = Release("r", module, Version.parse("v2.1.0"), commit, "sub")
    outcome = stage.run(MirrorRequest(SOURCE, MIRROR, "ci-sync", (release,)), nothing, nothing).outcomes["r"]
    assert isinstance(outcome, SyncError)
    assert "sub/v2/go.mod" in outcome.message
    assert "push" not in git.calls
    assert "ensure_project" not in gitlab.calls
