"""What the other side says or does wrong, and the code it becomes; nothing changes at the mirror."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import SyncError
from app.domain.refs import RefUpdate
from tests.integration.git_world import MIRROR, SOURCE, World, nothing, status

BRANCH = "refs/heads/ci-sync"

GITLAB_SAYS = {
    "You are not allowed to force push code to a protected branch on this project.": "protected_branch",
    "You are not allowed to push code to protected branches on this project.": "protected_branch",
    "Protected tags cannot be updated.": "tag_protected",
    "You are not allowed to create this tag as it is protected.": "tag_protected",
    "You are not allowed to change existing tags on this project.": "tag_protected",
    "A default branch (e.g. main) does not yet exist for mirror/lib": "push_refused",
    'File "big.bin" is larger than the allowed size of 1 MiB. Use Git LFS to manage this file.': "too_large",
    "Your push has been rejected, because this repository has exceeded its size limit of 1 GiB by 2 MiB.": "quota",
    "Your push to this repository would cause it to exceed the size limit of 1 GiB by 2 MiB so it has been rejected.": "quota",
    "You can't push code to a read-only GitLab instance.": "read_only",
    "The repository is temporarily read-only. Please try again later.": "read_only",
    "Git push is not allowed because this GitLab instance is currently in (read-only) maintenance mode.": "read_only",
    "LFS objects are missing. Ensure LFS is properly set up or try a manual 'git lfs push --all'.": "lfs_missing",
    "You are not allowed to push code to this project.": "forbidden",
    "500 Internal Server Error": "gitlab_unavailable",
    "502 Bad Gateway": "gitlab_unavailable",
    "Commit message does not follow the pattern '^[A-Z]'": "push_refused",
}

HTTP_SAYS = {
    "401 Unauthorized": ("source_denied", "token_expired"),
    "403 Forbidden": ("source_denied", "forbidden"),
    "404 Not Found": ("source_missing", "project_missing"),
    "429 Too Many Requests": ("source_unreachable", "rate_limited"),
    "500 Internal Server Error": ("source_unreachable", "gitlab_unavailable"),
    "502 Bad Gateway": ("source_unreachable", "gitlab_unavailable"),
    "503 Service Unavailable": ("source_unreachable", "gitlab_unavailable"),
    "302 Found": ("source_missing", "project_missing"),
    "200 OK": ("source_unreachable", "gitlab_unreachable"),  # a login page
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.release("v1.0.0")
    with made.server:
        yield made


def _pushed(world: World) -> SyncError:
    """Push a release to the mirror, which must refuse it."""
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        tag = copy.fetch(["v1.0.0"], [])["v1.0.0"].object
        updates = [RefUpdate(BRANCH, tag, None), RefUpdate("refs/tags/v1.0.0", tag, None)]
        with pytest.raises(SyncError) as caught:
            copy.push(world.url(MIRROR), updates, [], nothing)
    return caught.value


def _fetched(world: World, url: str) -> SyncError:
    """Fetch from a source that does not give anything."""
    with world.door().source(url, nothing) as copy, pytest.raises(SyncError) as caught:
        copy.fetch(["v1.0.0"], [])
    return caught.value


@pytest.mark.parametrize(("text", "code"), GITLAB_SAYS.items())
def test_gitlabs_refusals(world: World, text: str, code: str) -> None:
    world.hook(MIRROR, f"cat >&2 <<'END'\nGitLab: {text}\nEND\nexit 1")
    error = _pushed(world)
    assert error.code == code
    assert text in error.message
    assert "mirror/lib" in error.message
    assert world.refs(MIRROR) == {}


def test_a_push_above_the_size_limit(world: World) -> None:
    world.git(MIRROR, "config", "receive.maxInputSize", "10")
    assert _pushed(world).code == "too_large"
    assert world.refs(MIRROR) == {}


@pytest.mark.parametrize(("line", "codes"), HTTP_SAYS.items())
def test_http_answers(world: World, line: str, codes: tuple[str, str]) -> None:
    answer = status(line, ("Location", f"{world.server.url}/elsewhere/info/refs"), body=b"<html>Please log in</html>")
    world.front.answers = {f"/{MIRROR}.git": answer, "/away": answer}
    assert _fetched(world, world.url("away")).code == codes[0]
    assert _pushed(world).code == codes[1]
    with pytest.raises(SyncError) as caught:
        world.door().remote_refs(world.url(MIRROR), [], nothing)
    assert caught.value.code == codes[1]


def test_nobody_listens(world: World) -> None:
    world.server.stop()
    assert _fetched(world, world.url(SOURCE)).code == "source_unreachable"
    assert _pushed(world).code == "gitlab_unreachable"


def test_a_name_that_does_not_resolve(world: World) -> None:
    assert _fetched(world, "http://git.invalid/lib.git").code == "source_unreachable"


def test_a_connection_that_is_cut(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/lib.git"

        def cut() -> None:
            """The checkpoint runs while git waits for an answer; hanging up makes git's answer an empty reply."""
            connection, _ = listener.accept()
            connection.close()

        with pytest.raises(SyncError) as caught:
            world.door().remote_refs(url, [], cut)
    assert caught.value.code == "gitlab_unreachable"


def test_a_push_that_is_cut_in_the_middle(world: World) -> None:
    runs = world.root / "hook-runs"
    world.hook(MIRROR, f"touch {runs}; mkfifo {world.root}/hang; exec cat {world.root}/hang")

    def cut() -> None:
        if runs.exists():
            world.server.stop()

    with world.door().source(world.file_url(SOURCE), cut) as copy:
        tag = copy.fetch(["v1.0.0"], [])["v1.0.0"].object
        with pytest.raises(SyncError) as caught:
            copy.push(world.url(MIRROR), [RefUpdate(BRANCH, tag, None)], [], nothing)
    assert caught.value.code == "gitlab_unreachable"
    assert world.refs(MIRROR) == {}


def test_what_is_no_repository(world: World) -> None:
    assert _fetched(world, f"file://{world.root}/nothing.git").code == "source_missing"


def test_an_unwritable_mirror(world: World) -> None:
    """The receiving end fails in a way of its own: its error is not mistaken for damage here."""
    world.hook(MIRROR, "exec 1>&2; echo 'error: unable to read tree 0123456789012345678901234567890123456789'; exit 1")
    error = _pushed(world)
    assert error.code == "push_refused"
    lock = world.repositories.path(MIRROR) / "refs" / "heads" / "ci-sync.lock"
    (world.repositories.path(MIRROR) / "hooks" / "pre-receive").unlink()
    lock.touch()
    assert _pushed(world).code == "mirror_moved"
    assert world.refs(MIRROR) == {}


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/owned",
        "-x",
        "",
        "ext::sh -c touch% /tmp/owned",
        "https://user:secret@host/lib.git",
        "http://glpat-token@host/lib.git",
        "git://host/lib.git",
        "ssh://git@host/lib.git",
        "git@host:lib.git",
        "http://host/a b.git",
        "http://host/a\n.git",
        "lib.git",
    ],
)
def test_urls_that_git_may_not_be_given(world: World, url: str) -> None:
    with pytest.raises(SyncError, match="clone_url_refused") as caught, world.door().source(url, nothing):
        pass  # pragma: no cover - opening must refuse
    assert "secret" not in caught.value.message
    with pytest.raises(SyncError, match="gitlab_refused"):
        world.door().remote_refs(url, [], nothing)


@pytest.mark.parametrize(
    "name", ["-x", "a..b", "a b", "a~1", "a.lock", "a\nb", "", "a/", "/a", "a//b", ".a", "x/.y", "a@{1}"]
)
def test_names_that_git_may_not_be_given(world: World, name: str) -> None:
    with world.door().source(world.file_url(SOURCE), nothing) as copy:
        found = copy.fetch([name, "v1.0.0"], [])
        assert set(found) == {"v1.0.0"}  # a name that cannot be does not hold up the others
        commit = found["v1.0.0"].object
        for wrong in (
            lambda: copy.fetch([], ["-" + commit[1:]]),
            lambda: copy.has_commit(f"{commit}\ninfo x"),
            lambda: copy.read_file("HEAD", "go.mod"),
            lambda: copy.make_tag(name, commit),
            lambda: copy.push(world.url(MIRROR), [RefUpdate(f"refs/tags/{name}", commit, None)], [], nothing),
            lambda: copy.push(world.url(MIRROR), [RefUpdate(BRANCH, "main", None)], [], nothing),
            lambda: copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, "main")], [], nothing),
            lambda: copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, None)], ["a\nb"], nothing),
        ):
            with pytest.raises(SyncError, match="bad_request"):
                wrong()
    assert world.refs(MIRROR) == {}
