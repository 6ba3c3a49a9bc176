"""Which repository reconcile compares a mirror with, in both databases: the one that the mirror is of, whichever ran last."""

from __future__ import annotations

from dataclasses import replace

from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.retention_store import SqlRetentionStore
from app.domain.mirror_source import source_url
from app.domain.run import Status
from tests.integration.stored import TARGET, Stored
from tests.integration.test_mirror_source_store import ELSEWHERE, PATH, move, old_mirror


def recorded_at(stored: Stored, url: str) -> None:
    old_mirror(stored, project_id=7, source_url=source_url(url), clone_url="https://gitlab.example/x.git")


def runs_from(stored: Stored, *urls: str) -> list[str]:
    """Runs, each a second later than the one before."""
    made: list[str] = []
    for url in urls:
        stored.later()
        version = f"v1.{len(made)}.0"
        made.append(stored.release(version=version, target=replace(TARGET, clone_url=url)).run_id)
    return made


def compared_with(stored: Stored) -> tuple[str, str, str | None] | None:
    found = SqlRepositoryStore(stored.engine).find(PATH)
    return (found.source, found.clone_url, found.mirror_url) if found else None


def test_newer_runs_of_another_repository_change_nothing(stored: Stored) -> None:
    recorded_at(stored, TARGET.clone_url)
    waits = f"{ELSEWHERE}.git"
    first, *refused = runs_from(stored, TARGET.clone_url, *[waits] * 60)
    for each in refused[:-1]:  # the last one waits still
        stored.record(stored.claim(each), Status.REJECTED, error="mirror_of_another")
    assert compared_with(stored) == ("platform", TARGET.clone_url, "https://gitlab.example/x.git")
    assert stored.run(first).target.clone_url == TARGET.clone_url


def test_a_mirror_whose_repository_is_not_recorded_is_its_newest_runs(stored: Stored) -> None:
    old_mirror(stored)
    runs_from(stored, TARGET.clone_url, f"{ELSEWHERE}.git")
    assert compared_with(stored) == ("platform", f"{ELSEWHERE}.git", None)


def test_after_a_move_without_a_run_from_there_it_is_what_was_said(stored: Stored) -> None:
    recorded_at(stored, TARGET.clone_url)
    runs_from(stored, TARGET.clone_url)
    move(stored)
    assert compared_with(stored) == ("platform", f"{ELSEWHERE}.git", "https://gitlab.example/x.git")


def test_what_is_learnt_before_runs_go_is_the_mirrors_own_repository(stored: Stored) -> None:
    recorded_at(stored, TARGET.clone_url)
    done, refused = runs_from(stored, TARGET.clone_url, f"{ELSEWHERE}.git")
    stored.finish(done)
    stored.record(stored.claim(refused), Status.REJECTED, error="mirror_of_another")
    assert SqlRetentionStore(stored.engine).prune_runs(stored.later(1), 10) == 2
    assert compared_with(stored) == ("platform", TARGET.clone_url, "https://gitlab.example/x.git")
