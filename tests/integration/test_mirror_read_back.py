"""What the mirror shows after a push counts, not what it answered: a real git says yes and the ref is not there."""

from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.modules import ModulePath, Version
from app.services.stages.mirror import Mirrored, MirrorRequest, MirrorStage, Release
from tests.contract.fake_gitlab import FakeGitLab
from tests.integration.flow_world import NO_REGISTRIES
from tests.integration.git_world import SOURCE, World, nothing

MODULE, MIRROR = ModulePath.parse("corp.example/lib"), "mirrors/lib"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.repositories.make_repository(MIRROR)
    return made


def mirrored(world: World, commit: str) -> Mirrored | SyncError:
    gitlab = FakeGitLab(url=f"file://{world.root}/served")
    stage = MirrorStage(world.door(), gitlab, lambda *_: "h1:", NO_REGISTRIES, {})
    release = Release("r", MODULE, Version.parse("v1.0.0"), commit, "", make_tag=True, source="platform")
    return stage.run(MirrorRequest(world.file_url(SOURCE), MIRROR, "ci-sync", (release,)), nothing, nothing).outcomes[
        "r"
    ]


def commit(world: World) -> str:
    return world.repositories.commit(SOURCE, {"go.mod": f"module {MODULE}\n"}, "one")


def test_a_push_that_was_said_to_be_good_and_is_not_there(world: World) -> None:
    hook = world.repositories.path(MIRROR) / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ngit update-ref -d refs/tags/v1.0.0\n")
    hook.chmod(0o755)
    made = commit(world)
    with pytest.raises(SyncError, match=r"push_not_visible: .* does not show v1\.0\.0") as caught:
        mirrored(world, made)
    assert caught.value.retryable
    hook.unlink()
    assert isinstance(mirrored(world, made), Mirrored)  # the next try mends it
    assert set(world.refs(MIRROR)) == {"refs/heads/ci-sync", "refs/tags/v1.0.0"}
