"""The stand-in GitLab's git side: who gets in, what a push may do, what it sets off. Real git, real hooks."""

from collections.abc import Iterator
from pathlib import Path

import gitlab as client
import pytest
import requests

from tests.integration.gitlab_world import AUTHOR, Clock, Worktree, connect, make_project
from tests.sandbox.gitlab import GitLab
from tests.sandbox.gitlab.model import Level

PATH = "platform/widgets"
CI_SYNC, TAG = "HEAD:refs/heads/ci-sync", "HEAD:refs/tags/v1.0.0"
FORCED = "+HEAD:refs/heads/ci-sync"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n".format("4" * 64)
CI_FILE = "job:\n  script: [true]\n"
NO_FORCE = "remote: GitLab: You are not allowed to force push code to a protected branch on this project."


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[GitLab]:
    with GitLab(tmp_path / "gitlab", clock=clock) as running:
        running.create_project(PATH)
        yield running


@pytest.fixture
def token(server: GitLab) -> str:
    return server.create_token()


@pytest.fixture
def api(server: GitLab, token: str) -> client.Gitlab:
    return connect(server, token)


@pytest.fixture
def work(tmp_path: Path) -> Worktree:
    return Worktree.create(tmp_path / "work")


def member(server: GitLab, level: int) -> str:
    """A token of somebody with this level on the project."""
    server.add_member(PATH, f"user-{level}", level)
    return server.create_token(user=f"user-{level}")


def test_nobody_and_a_bad_token_are_401_even_for_what_does_not_exist(server: GitLab) -> None:
    for path in (PATH, "no/where"):
        for auth in (None, ("x", "wrong")):
            answer = requests.get(f"{server.url}/{path}.git/info/refs?service=git-upload-pack", auth=auth, timeout=9)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="GitLab"')
            assert "HTTP Basic: Access denied" in answer.text


def test_an_expired_token_is_a_401(server: GitLab, clock: Clock, work: Worktree) -> None:
    token = server.create_token(expires_at=clock().date())
    # git takes the 401 for a challenge and wants to ask somebody; a header that it was given is no credential to it
    assert "could not read Username" in work.ls_remote(server, PATH, token).said
    assert (server.requests[-1].status, server.requests[-1].service) == (401, "git-upload-pack")


def test_invisible_is_404_and_forbidden_is_403_with_a_text(server: GitLab, work: Worktree) -> None:
    stranger = server.create_token(user="stranger")
    answer = requests.get(f"{server.url}/{PATH}.git/info/refs?service=git-upload-pack", auth=("x", stranger), timeout=9)
    assert (answer.status_code, "could not be found or you don't have permission" in answer.text) == (404, True)
    reporter = member(server, Level.REPORTER)
    assert work.ls_remote(server, PATH, reporter).code == 0
    assert "remote: You are not allowed to push code to this project." in work.push(server, PATH, reporter, TAG).said
    assert "403" in work.push(server, PATH, reporter, TAG).said
    guest = member(server, Level.GUEST)
    assert "not allowed to download code from this project" in work.ls_remote(server, PATH, guest).said


@pytest.mark.parametrize(
    ("scopes", "fetch", "push"),
    [
        (("api",), 0, 0),
        (("write_repository",), 0, 0),
        (("read_repository",), 0, 128),
        (("read_api",), 128, 128),
    ],
)
def test_scopes(server: GitLab, work: Worktree, scopes: tuple[str, ...], fetch: int, push: int) -> None:
    token = server.create_token(scopes=scopes)
    assert work.ls_remote(server, PATH, token).code == fetch
    assert work.push(server, PATH, token, TAG).code == push


def test_a_bots_token_is_a_bad_one_where_the_bot_may_not_read(server: GitLab, work: Worktree) -> None:
    token = server.create_token(user="bot", bot=True)
    place = f"{server.url}/{PATH}.git/info/refs?service=git-upload-pack"
    assert requests.get(place, auth=("x", token), timeout=9).status_code == 401
    assert requests.get(place.replace(PATH, "no/such"), auth=("x", token), timeout=9).status_code == 404
    api = requests.get(f"{server.url}/api/v4/projects/{PATH.replace('/', '%2F')}", {"private_token": token}, timeout=9)
    assert api.status_code == 404
    server.add_member(PATH, "bot", Level.REPORTER)
    assert work.ls_remote(server, PATH, token).code == 0


def test_thirty_bad_logins_ban_git_too(server: GitLab, token: str, work: Worktree, clock: Clock) -> None:
    place = f"{server.url}/{PATH}.git/info/refs?service=git-upload-pack"
    for _ in range(30):
        assert requests.get(place, auth=("x", "wrong"), timeout=9).status_code == 401
    said = work.ls_remote(server, PATH, token).said
    assert "remote: Too many failed authentication attempts from this IP" in said
    assert "returned error: 403" in said
    server.settings.old_ban = True
    assert "remote: Forbidden" in work.ls_remote(server, PATH, token).said
    clock.advance(3601)
    assert work.ls_remote(server, PATH, token).code == 0


def test_the_first_branch_becomes_default_and_is_protected(
    server: GitLab, api: client.Gitlab, token: str, work: Worktree
) -> None:
    assert work.push(server, PATH, token, CI_SYNC).code == 0
    project = api.projects.get(PATH)
    assert (project.default_branch, project.empty_repo) == ("ci-sync", False)
    assert [(one.name, one.allow_force_push) for one in project.protectedbranches.list(get_all=True)] == [
        ("ci-sync", False)
    ]
    rewrite(work)
    pushed = work.push(server, PATH, token, FORCED)
    assert NO_FORCE in pushed.said
    assert "[remote rejected] HEAD -> ci-sync (pre-receive hook declined)" in pushed.said


def test_a_branch_protected_beforehand_is_left_alone(
    server: GitLab, api: client.Gitlab, token: str, work: Worktree
) -> None:
    project = api.projects.get(PATH)
    project.protectedbranches.create({"name": "ci-sync", "allow_force_push": True})
    assert work.push(server, PATH, token, CI_SYNC).code == 0
    rewrite(work)
    assert work.push(server, PATH, token, FORCED).code == 0
    assert server.refs(PATH)["refs/heads/ci-sync"] == work.head()


def rewrite(work: Worktree) -> None:
    work.git(*AUTHOR, "commit", "--quiet", "--amend", "-m", "rewritten")


def test_protected_tags_are_made_once_and_never_changed(
    server: GitLab, api: client.Gitlab, token: str, work: Worktree
) -> None:
    api.projects.get(PATH).protectedtags.create({"name": "v*"})
    assert work.push(server, PATH, token, CI_SYNC, TAG).code == 0
    work.commit("a", "a")
    assert "remote: GitLab: Protected tags cannot be updated." in work.push(server, PATH, token, f"+{TAG}").said
    assert "only delete protected tags using the web" in work.push(server, PATH, token, ":refs/tags/v1.0.0").said
    developer = member(server, Level.DEVELOPER)
    said = work.push(server, PATH, developer, "HEAD:refs/tags/v1.0.1").said
    assert "remote: GitLab: You are not allowed to create this tag as it is protected." in said
    assert work.push(server, PATH, developer, "HEAD:refs/tags/other").code == 0


def test_one_bad_ref_refuses_the_whole_push(server: GitLab, api: client.Gitlab, token: str, work: Worktree) -> None:
    api.projects.get(PATH).protectedtags.create({"name": "v*"})
    assert work.push(server, PATH, token, CI_SYNC, TAG).code == 0
    before = server.refs(PATH)
    work.commit("a", "a")
    pushed = work.push(server, PATH, token, CI_SYNC, "HEAD:refs/heads/new", f"+{TAG}")
    assert pushed.said.count("(pre-receive hook declined)") == 3
    assert server.refs(PATH) == before


def test_developers_and_protected_branches(server: GitLab, token: str, work: Worktree) -> None:
    developer = member(server, Level.DEVELOPER)
    said = work.push(server, PATH, developer, CI_SYNC).said
    assert f"remote: GitLab: A default branch (e.g. main) does not yet exist for {PATH}" in said
    assert work.push(server, PATH, token, CI_SYNC).code == 0
    work.commit("a", "a")
    said = work.push(server, PATH, developer, CI_SYNC).said
    assert "remote: GitLab: You are not allowed to push code to protected branches on this project." in said
    assert work.push(server, PATH, developer, "HEAD:refs/heads/free").code == 0
    assert "default branch of a project cannot be deleted" in work.push(server, PATH, token, ":refs/heads/ci-sync").said


def test_of_several_rules_the_most_permissive_one_decides(
    server: GitLab, api: client.Gitlab, token: str, work: Worktree
) -> None:
    project = api.projects.get(PATH)
    project.protectedbranches.create({"name": "ci-*", "push_access_level": 30})
    project.protectedbranches.create({"name": "ci-sync", "allow_force_push": True, "push_access_level": 0})
    developer = member(server, Level.DEVELOPER)
    assert work.push(server, PATH, token, "HEAD:refs/heads/main").code == 0
    assert work.push(server, PATH, developer, CI_SYNC).code == 0
    rewrite(work)
    assert work.push(server, PATH, developer, FORCED).code == 0


def test_leases_atomic_pushes_and_options_work_together(server: GitLab, token: str, work: Worktree) -> None:
    leases = ("--force-with-lease=refs/heads/ci-sync:", "--force-with-lease=refs/tags/v1.0.0:")
    assert work.push(server, PATH, token, "--atomic", "-o", "ci.skip", *leases, CI_SYNC, TAG).code == 0
    work.commit("a", "a")
    stale = f"--force-with-lease=refs/heads/ci-sync:{'1' * 40}"
    assert "stale info" in work.push(server, PATH, token, "--atomic", stale, CI_SYNC).said
    assert [(one.ref, one.status, one.source) for one in server.pipelines(PATH)] == [
        ("ci-sync", "skipped", "push"),
        ("v1.0.0", "skipped", "push"),
    ]


def test_pushing_to_what_does_not_exist(server: GitLab, api: client.Gitlab, token: str, work: Worktree) -> None:
    assert work.push(server, "platform/typo", token, CI_SYNC).code == 0
    assert api.projects.get("platform/typo").visibility == "private"
    assert "not found" in work.push(server, "no/such/group", token, CI_SYNC).said
    assert "not found" in work.ls_remote(server, "platform/typo2", token).said
    server.settings.push_to_create = False
    assert "not found" in work.push(server, "platform/typo3", token, CI_SYNC).said


def test_a_moved_project_takes_pushes_and_says_so(server: GitLab, token: str, work: Worktree) -> None:
    server.create_group("elsewhere")
    server.move_project(PATH, "elsewhere/new")
    pushed = work.push(server, PATH, token, CI_SYNC)
    assert (pushed.code, f"Project '{PATH}' was moved to 'elsewhere/new'." in pushed.said) == (0, True)
    assert server.refs("elsewhere/new")["refs/heads/ci-sync"] == work.head()


def test_sizes(server: GitLab, token: str, work: Worktree) -> None:
    limits = server.project(PATH).limits
    work.commit("big.bin", "".join(str(number * 7919) for number in range(40_000)))
    limits.pack_bytes = 1000
    assert "pack exceeds maximum allowed size" in work.push(server, PATH, token, CI_SYNC).said
    limits.pack_bytes, limits.file_bytes = 0, 1024
    assert 'GitLab: File "big.bin" is larger than the allowed size of' in work.push(server, PATH, token, CI_SYNC).said
    limits.file_bytes = 0
    assert work.push(server, PATH, token, CI_SYNC).code == 0
    limits.repository_bytes = 1000
    work.commit("a", "a")
    said = work.push(server, PATH, token, CI_SYNC).said
    assert "Your push has been rejected, because this repository has exceeded its size limit" in said


def test_read_only(server: GitLab, token: str, work: Worktree) -> None:
    server.project(PATH).limits.read_only = True
    said = work.push(server, PATH, token, CI_SYNC).said
    assert "remote: The repository is temporarily read-only. Please try again later." in said
    server.settings.read_only = "instance"
    said = work.push(server, PATH, token, CI_SYNC).said
    assert "remote: You can't push code to a read-only GitLab instance." in said
    assert work.ls_remote(server, PATH, token).code == 0


def test_lfs_pointers_without_objects_are_refused(
    server: GitLab, api: client.Gitlab, token: str, work: Worktree
) -> None:
    work.commit("model.bin", POINTER)
    said = work.push(server, PATH, token, CI_SYNC).said
    assert "GitLab: LFS objects are missing." in said
    assert "(pre-receive hook declined)" in said
    api.projects.update(api.projects.get(PATH).id, {"lfs_enabled": False})
    assert work.push(server, PATH, token, CI_SYNC).code == 0


def test_pushes_make_pipelines_for_their_first_four_refs(server: GitLab, token: str, work: Worktree) -> None:
    work.commit(".gitlab-ci.yml", CI_FILE)
    names = [f"HEAD:refs/tags/v1.0.{number}" for number in range(6)]
    assert work.push(server, PATH, token, *names).code == 0
    assert [(one.ref, one.status) for one in server.pipelines(PATH)] == [(f"v1.0.{n}", "pending") for n in range(4)]


def test_skip_ci_in_a_message_skips(server: GitLab, token: str, work: Worktree) -> None:
    work.commit(".gitlab-ci.yml", CI_FILE, "release [skip ci]")
    assert work.push(server, PATH, token, TAG).code == 0
    assert [one.status for one in server.pipelines(PATH)] == ["skipped"]


def test_a_public_project_is_fetched_without_a_token(server: GitLab, token: str, work: Worktree) -> None:
    server.create_group("open", visibility="public")
    make_project(connect(server, token), "open", "p", visibility="public")
    assert work.push(server, "open/p", token, CI_SYNC).code == 0
    assert "refs/heads/ci-sync" in work.ls_remote(server, "open/p", None).said
    assert work.push(server, "open/p", None, TAG).code == 128


def test_nothing_of_a_push_is_left_behind(server: GitLab, token: str, work: Worktree) -> None:
    assert work.push(server, PATH, token, CI_SYNC).code == 0
    rewrite(work)
    assert work.push(server, PATH, token, FORCED).code == 1
    assert list((server.world.root / "pushes").iterdir()) == []
