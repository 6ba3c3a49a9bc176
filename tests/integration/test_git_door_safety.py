"""Credentials stay in the environment, time limits and lost leases leave no process, nothing inherited matters."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from app.adapters.git import Credential
from app.domain.errors import SyncError
from app.domain.refs import RefUpdate
from tests.integration.git_world import MIRROR, SOURCE, TOKEN, World, credential, git, nothing, status
from tests.sandbox.looked_at import arguments, gone, named

BRANCH = "refs/heads/ci-sync"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.release("v1.0.0", annotated=True)
    made.front.wants_token = (f"/{SOURCE}", f"/{MIRROR}")
    with made.server:
        yield made


@contextmanager
def silent_host() -> Iterator[str]:
    """A URL whose host takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/lib.git"


def children() -> list[psutil.Process]:
    """This process's descendants that still run and are git; another test's database server is none of ours."""
    return named("git", "env", "setpriv")


def still_running(processes: set[psutil.Process]) -> list[psutil.Process]:
    """Those that do not end within five seconds; orphans count, zombies that init has yet to reap do not."""
    _, alive = psutil.wait_procs(processes, timeout=5)
    return [process for process in alive if not gone(process)]


def seen_processes() -> str:
    """The command lines of all descendants in one text."""
    return "\n".join(arguments(children()))


def test_the_token_works_and_is_only_in_the_environment(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    door = world.door(lambda url: credential(), beat_seconds=0.001)
    with door.source(world.url(SOURCE), lambda: seen.append(seen_processes())) as copy:
        commit = copy.fetch(["v1.0.0"], [])["v1.0.0"].commit or ""
        copy.fetch(["v1.0.0"], [])
        copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, None)], [], nothing)
        files = [path for path in Path(copy.path()).parent.rglob("*") if path.is_file()]
        kept = b"".join(path.read_bytes() for path in files)
    assert world.refs(MIRROR) == {BRANCH: commit}
    header = credential().header().split(" ")[1]
    for command in ("git clone", "git fetch", "git push"):
        assert any(command in text for text in seen)
    for text in ("\n".join(seen), kept.decode("latin-1"), caplog.text):
        assert TOKEN not in text
        assert header not in text


def test_a_credential_is_chosen_by_url_and_never_in_an_error(world: World) -> None:
    asked: list[str] = []

    def choose(url: str) -> Credential:
        asked.append(url)
        return credential("somebody-else")

    with pytest.raises(SyncError) as caught:
        world.door(choose).remote_refs(world.url(MIRROR), [], nothing)
    assert caught.value.code == "token_expired"
    assert set(asked) == {world.url(MIRROR)}
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(choose(""))
    assert TOKEN not in told
    assert credential("somebody-else").header().split(" ")[1] not in told


def test_a_server_that_repeats_the_token_is_redacted(world: World) -> None:
    basic = credential().header()
    world.hook(MIRROR, f"printf '%s\\n' 'GitLab: you sent {TOKEN}' 'GitLab: as {basic.split()[1]}' >&2; exit 1")
    with world.door(lambda url: credential()).source(world.url(SOURCE), nothing) as copy:
        commit = copy.fetch(["v1.0.0"], [])["v1.0.0"].commit or ""
        with pytest.raises(SyncError, match=r"push_refused: .*you sent") as caught:
            copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, None)], [], nothing)
    assert TOKEN not in str(caught.value)
    assert basic.split()[1] not in str(caught.value)


def test_a_redirect_does_not_get_the_token(world: World) -> None:
    other = World(world.root / "elsewhere")
    with other.server:
        away = status("301 Moved Permanently", ("Location", f"{other.url(SOURCE)}/info/refs?service=git-upload-pack"))
        world.front.answers = {f"/{SOURCE}.git": away}
        with (
            world.door(lambda url: credential()).source(world.url(SOURCE), nothing) as copy,
            pytest.raises(SyncError, match="source_missing"),
        ):
            copy.fetch(["v1.0.0"], [])
    assert any(given for _, given in world.front.seen)  # this host got it, the other one was not even asked
    assert other.front.seen == []


def test_the_header_is_for_one_host_alone(world: World) -> None:
    """Whatever leads git to another host (here url.insteadOf in the cache), the token stays back."""
    other = World(world.root / "elsewhere")
    with other.server, world.door(lambda url: credential()).source(world.url(SOURCE), nothing) as copy:
        assert set(copy.fetch(["v1.0.0"], [])) == {"v1.0.0"}  # a cache is not empty when somebody gets at it
        git(Path(copy.path()), "config", f"url.{other.server.url}/.insteadOf", f"{world.server.url}/")
        assert copy.fetch(["v1.0.0"], []) == {}
    assert other.front.seen
    assert [given for _, given in other.front.seen if given] == []


def test_inherited_git_variables_and_configuration_do_not_matter(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text('[url "http://127.0.0.1:1/"]\n\tinsteadOf = http://127.0.0.1\n')
    (home / ".netrc").write_text("machine 127.0.0.1 login evil password evil\n")
    hostile = {
        "HOME": str(home),
        "GIT_DIR": "/nowhere",
        "GIT_OBJECT_DIRECTORY": "/nowhere",
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_TRACE": str(tmp_path / "trace"),
        "GIT_TRACE_CURL": str(tmp_path / "trace"),
        "GIT_TRACE_REDACT": "0",
        "GIT_CONFIG_PARAMETERS": "'http.proxy'='http://127.0.0.1:1'",
        "GIT_EXEC_PATH": "/nowhere",
        "GIT_PROXY_COMMAND": "/nowhere",
        "GIT_NAMESPACE": "other",
        "LC_ALL": "de_DE.UTF-8",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    with world.door(lambda url: credential()).source(world.url(SOURCE), nothing) as copy:
        assert set(copy.fetch(["v1.0.0"], [])) == {"v1.0.0"}
    assert not (tmp_path / "trace").exists()


def test_a_hook_in_the_cache_never_runs(world: World) -> None:
    world.front.wants_token = ()
    with world.door().source(world.url(SOURCE), nothing) as copy:
        hook = Path(copy.path()) / "hooks" / "reference-transaction"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {world.root}/ran\n")
        hook.chmod(0o755)
        copy.fetch(["v1.0.0"], [])
    assert not (world.root / "ran").exists()


def test_the_time_limit_ends_the_whole_group(world: World) -> None:
    seen: set[psutil.Process] = set()
    with silent_host() as url:
        with pytest.raises(SyncError, match=r"git_timeout: git ls-remote http://127\.0\.0\.1.*0\.5 s"):
            world.door(timeout_seconds=0.5).remote_refs(url, [], lambda: seen.update(children()))
        assert len(seen) > 1  # git and its transport: a group
        assert still_running(seen) == []


def test_a_connection_without_progress_ends_before_the_time_limit(world: World) -> None:
    with silent_host() as url, pytest.raises(SyncError, match=r"git_timeout: .*Operation too slow"):
        world.door(timeout_seconds=8, beat_seconds=0.5).remote_refs(url, [], nothing)


def test_a_lost_lease_ends_git(world: World) -> None:
    seen: set[psutil.Process] = set()

    def lost() -> None:
        seen.update(children())
        if "remote-http" in seen_processes():
            raise SyncError("overtaken", "another worker has this run")

    with silent_host() as url:
        with world.door().source(url, lost) as copy, pytest.raises(SyncError, match="overtaken"):
            copy.fetch(["v1.0.0"], [])
        assert len(seen) > 1
        assert still_running(seen) == []


def test_a_lost_lease_ends_a_push_that_hangs(world: World) -> None:
    world.front.wants_token = ()
    runs = world.root / "hook-runs"
    world.hook(MIRROR, f"touch {runs}; mkfifo {world.root}/hang; exec cat {world.root}/hang")

    def lost() -> None:
        if runs.exists():
            raise SyncError("overtaken", "another worker has this run")

    with world.door().source(world.url(SOURCE), lost) as copy:
        commit = copy.fetch(["v1.0.0"], [])["v1.0.0"].commit or ""
        with pytest.raises(SyncError, match="overtaken"):
            copy.push(world.url(MIRROR), [RefUpdate(BRANCH, commit, None)], [], nothing)
        assert "git push" not in seen_processes()
    assert world.refs(MIRROR) == {}


def test_a_machine_without_git(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SyncError, match="git is not installed"):
        world.door().remote_refs(world.url(SOURCE), [], nothing)


def test_git_that_is_installed_while_we_run_is_found(tmp_path: Path) -> None:
    """An `import git` that breaks off once must not break every later one: in a process of its own, as imports are kept."""
    story = f"""
        import os, pathlib, sys
        from app.adapters.git_process import Watch, run
        from app.domain.errors import SyncError
        here, path = pathlib.Path({str(tmp_path)!r}), os.environ["PATH"]
        broken = here / "git"
        for wrong in (False, True):  # no git at all; one that cannot say its version
            if wrong:
                broken.write_text("#!/bin/sh\\nexit 1\\n")
                broken.chmod(0o755)
            os.environ["PATH"] = str(here)
            try:
                run(["version"], {{}}, here, Watch(10, lambda: None))
            except SyncError as error:
                print(error)
            os.environ["PATH"] = path
        print(run(["version"], {{}}, here, Watch(10, lambda: None)).out.decode())
    """
    done = subprocess.run([sys.executable, "-c", dedent(story)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("git is not installed") == 2
    assert "git version 2" in done.stdout


def test_any_other_end_of_the_job_ends_git_too(world: World) -> None:
    seen: set[psutil.Process] = set()

    def shot() -> None:
        seen.update(children())
        if len(seen) > 1:
            raise KeyboardInterrupt

    with silent_host() as url:
        with pytest.raises(KeyboardInterrupt):
            world.door().remote_refs(url, [], shot)
        assert still_running(seen) == []


def test_no_descriptor_is_left(world: World) -> None:
    world.front.wants_token = ()
    door = world.door()

    def once() -> None:
        with door.source(world.url(SOURCE), nothing) as copy:
            commit = copy.fetch(["v1.0.0"], [])["v1.0.0"].commit or ""
            copy.read_file(commit, "go.mod")

    once()
    before = len(list(Path("/proc/self/fd").iterdir()))
    once()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
