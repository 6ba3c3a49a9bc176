"""The main job through real processes: what the demo's story does not tell."""

import re
import subprocess
import sys
from pathlib import Path

import redis
import requests

from app.adapters.embedded_redis import socket_url
from app.adapters.git_archive import GitArchive
from app.domain.modules import ModulePath, Version
from app.services.checksum import module_sums
from tests.sandbox.modules import HOST, make_plain
from tests.sandbox.service import Service
from tests.sandbox.webhook import Delivered
from tests.sandbox.world import MIRRORS, World


def _send(world: World, release: object, **fields: object) -> Delivered:
    return world.platform.webhook(f"{world.url}/webhooks/platform", world.secret, release, **fields)  # type: ignore[arg-type]


def _run(delivered: Delivered) -> str:
    assert delivered.status in (200, 202), delivered.text
    return str(delivered.json["runs"][0]["id"])


def test_a_branch_brings_every_version_tag_of_its_commit(world: World, service: Service) -> None:
    module = make_plain(world.platform, world.mirrored("branch/both"), "v1.0.0")
    release = module.releases["v1.0.0"]
    world.platform.tag("branch/both", "v1.0.1", release.commit)
    world.platform.tag("branch/both", "not-a-version", release.commit)

    run = _run(_send(world, release, ref="refs/heads/main", version=None))
    done = service.wait_for(run, "done", "failed", "rejected")

    assert (done["status"], done["version"]) == ("done", "v1.0.1")
    listed = requests.get(
        f"{world.url}/api/runs", params={"module": module.path}, headers=service.authorization, timeout=10
    ).json()["runs"]
    assert {each["version"] for each in listed} == {"v1.0.0", "v1.0.1"}
    other = next(each["id"] for each in listed if each["version"] == "v1.0.0")
    assert service.wait_for(other, "done", "failed", "rejected")["status"] == "done"
    refs = world.gitlab.refs(f"{MIRRORS}/branch/both")
    assert refs["refs/tags/v1.0.0"] == refs["refs/tags/v1.0.1"] == release.commit
    assert "refs/tags/not-a-version" not in refs


def test_a_branch_without_a_version_tag_ends_no_version(world: World, service: Service) -> None:
    release = make_plain(world.platform, world.mirrored("branch/none2"), "v1.0.0").releases["v1.0.0"]
    commit = world.platform.commit("branch/none2", {"more.go": "package none2\n"}, "Not released")

    ended = service.wait_for(
        _run(_send(world, release, ref="main", version=None, commit_id=commit)), "failed", "done", "rejected"
    )

    assert ended["error"]["code"] == "no_version"


def test_ids_of_jobs_work_everywhere_also_after_redis_was_flushed(world: World, service: Service) -> None:
    release = make_plain(world.platform, world.mirrored("ids/flushed"), "v1.0.0").releases["v1.0.0"]
    wrong = "f" * 40
    failed = service.wait_for(_run(_send(world, release, commit_id=wrong)), "failed")
    assert failed["error"]["code"] == "commit_mismatch"
    job = failed["attempts"][0]["jobs"][0]

    redis.Redis.from_url(socket_url(world.root / "data")).flushall()

    assert service.run(job)["id"] == failed["id"]
    replayed = requests.post(
        f"{world.url}/api/runs/{job}/replay", json={"reason": "again"}, headers=service.authorization, timeout=10
    )
    assert replayed.status_code == 202
    again = service.wait_for(failed["id"], "failed", seconds=40)
    service.until(
        lambda: service.run(job)["attempt"] == 2 and service.run(job)["status"] == "failed", "attempt 2's end"
    )
    assert again["id"] == failed["id"]
    assert service.run(job)["attempts"][1]["reason"] == "again"


def test_a_mirror_that_was_deleted_is_set_up_anew_and_never_by_push(world: World, service: Service) -> None:
    """GitLab creates a project for who pushes to one that is not there, and even for who asks for its refs before."""
    module = make_plain(world.platform, world.mirrored("deleted/mirror"), "v1.0.0")
    assert service.wait_for(_run(_send(world, module.releases["v1.0.0"])), "done", "failed")["status"] == "done"
    path = f"{MIRRORS}/deleted/mirror"
    before, asked = world.gitlab.project(path), len(world.gitlab.faults.requests)
    del world.gitlab.world.projects[before.id]

    module.release("v1.1.0", {"more.go": "package mirror\n"})
    ended = service.wait_for(_run(_send(world, module.releases["v1.1.0"])), "done", "failed")
    assert ended["status"] == "done", ended["error"]

    after = world.gitlab.project(path)
    assert after.id != before.id
    assert set(after.protected_branches) == {"ci-sync"}
    assert set(after.protected_tags) == {"v*", "*/v*"}
    requests_ = [(each.method, each.path) for each in world.gitlab.faults.requests[asked:]]
    made = requests_.index(("POST", "/api/v4/projects"))
    assert not [address for _, address in requests_[:made] if f"/{path}.git/" in address]


def test_another_commit_takes_the_place_of_one_that_was_never_pushed(world: World, service: Service) -> None:
    release = make_plain(world.platform, world.mirrored("moved/early"), "v1.0.0").releases["v1.0.0"]
    first = service.wait_for(_run(_send(world, release, commit_id="1" * 40)), "failed")

    second = service.wait_for(_run(_send(world, release)), "done", "failed", "rejected")

    assert second["status"] == "done"
    assert second["id"] != first["id"]
    early = service.run(first["id"])
    assert (early["status"], early["error"]["code"]) == ("rejected", "superseded")
    assert early["replaced_by"] == second["id"]


def test_a_failed_release_delivered_again_is_tried_again(world: World, service: Service) -> None:
    repository = world.mirrored("again/later")
    release = make_plain(world.platform, repository, "v1.0.0").releases["v1.0.0"]
    world.platform.delete_tag(repository, "v1.0.0")
    delivered = _send(world, release)
    failed = service.wait_for(_run(delivered), "failed")
    assert failed["error"]["code"] == "tag_missing"
    assert len(failed["attempts"][0]["steps"]) > 1  # it was waited for

    world.platform.tag(repository, "v1.0.0", release.commit)
    again = delivered.resend()

    assert again.status == 200
    assert again.json["runs"][0] == again.json["runs"][0] | {"id": failed["id"], "duplicate": True}
    service.until(lambda: service.run(failed["id"])["status"] == "done", "the second attempt to be done")
    assert [each["kind"] for each in service.run(failed["id"])["attempts"]] == ["delivery", "redelivery"]


def test_a_module_without_a_rule_is_recorded_and_rejected(world: World, service: Service) -> None:
    release = make_plain(world.platform, world.mirrored("rules/none"), "v1.0.0").releases["v1.0.0"]

    run = service.run(_run(_send(world, release, module_path="other.example/team/thing")))

    assert (run["status"], run["error"]["code"]) == ("rejected", "no_rule")


def test_a_module_line_that_differs_is_refused_before_anything_is_pushed(world: World, service: Service) -> None:
    repository = world.mirrored("line/differs")
    module = make_plain(world.platform, repository, "v1.0.0", path=f"{HOST}/line/other")
    release = module.releases["v1.0.0"]

    failed = service.wait_for(_run(_send(world, release, module_path=f"{HOST}/{repository}")), "failed")

    assert failed["error"]["code"] == "module_mismatch"
    assert not world.gitlab.has_project(f"{MIRRORS}/{repository}")


def test_no_secret_is_anywhere(world: World, service: Service) -> None:
    """After all of the above: logs, database, caches and the queue's file."""
    service.until(lambda: (world.root / "data").is_dir(), "the data directory")
    for path in [*(world.root / "data").rglob("*"), *(world.root / "logs").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            for secret in world.secrets:
                assert secret.encode() not in content, f"a secret is in {path.relative_to(world.root)}"


def test_after_an_accepted_move_a_proxy_that_keeps_the_old_content_is_named(world: World, service: Service) -> None:
    """The stand-in keeps what it has, as Athens does: modsync can only say how to purge it."""
    repository = world.mirrored("moved/kept")
    module = make_plain(world.platform, repository, "v1.0.0")
    old = module.releases["v1.0.0"]
    first = service.wait_for(_run(_send(world, old)), "done", "failed")
    commit = world.platform.commit(repository, {"more.go": "package kept\n"}, "Another content")
    world.platform.move_tag(repository, "v1.0.0", commit)

    order = {"module": module.path, "version": "v1.0.0", "commit": commit, "reason": "the wrong branch was tagged"}
    accepted = requests.post(f"{world.url}/api/moves", json=order, headers=service.authorization, timeout=10)
    assert accepted.status_code == 202, accepted.text
    run = service.wait_for(accepted.json()["run"], "done", "failed", "rejected")

    assert run["error"]["code"] == "proxy_holds_old"
    for part in (old.commit, commit, first["facts"]["proof"]["h1"], run["facts"]["proof"]["h1"], "@v/v1.0.0.{info,mod"):
        assert part in run["error"]["message"]
    assert world.gitlab.refs(f"{MIRRORS}/{repository}")["refs/tags/v1.0.0"] == commit


def test_a_moved_tag_is_rejected_and_the_command_that_it_names_prints_the_new_h1(
    world: World, service: Service
) -> None:
    """Intake fetches nothing: the rejection says that the new h1 is not known, and how a person learns it."""
    module = make_plain(world.platform, world.mirrored("moved/told"), "v1.0.0")
    first = service.wait_for(_run(_send(world, module.releases["v1.0.0"])), "done", "failed")
    assert first["status"] == "done", first["error"]
    world.platform.delete_tag("moved/told", "v1.0.0")
    moved = module.release("v1.0.0", {"more.go": "package told\n"})
    rejected = service.run(_run(_send(world, moved)))
    assert (rejected["status"], rejected["error"]["code"]) == ("rejected", "version_moved")
    assert rejected["facts"]["conflict"]["new_h1"] is None
    named = re.search(r"never fetched; `modsync (checksum \S+ --repo \S+)` prints it", rejected["error"]["message"])
    assert named is not None, rejected["error"]["message"]
    world.platform.token = None  # whoever asks has a login of their own
    try:
        command = [str(Path(sys.executable).with_name("modsync")), *named[1].split()]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    finally:
        world.platform.token = world.clone_token
    archive = GitArchive(world.platform.path("moved/told"))
    h1 = module_sums(archive, moved.commit, ModulePath.parse(module.path), Version.parse("v1.0.0"), "").h1_zip
    assert printed.splitlines()[0] == f"{module.path} v1.0.0 {h1}"
    assert h1 != first["facts"]["proof"]["h1"]
