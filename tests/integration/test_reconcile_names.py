"""What reconcile calls a root tag v2 and above: `/v2`, or without a go.mod +incompatible. Only the worker has the commit."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters.intake_store import SqlIntakeStore
from app.domain.events import ReleaseEvent
from app.domain.gomod import synthesized_go_mod
from app.domain.modules import ModulePath, Version, of_major
from app.domain.reconcile import Finding, Known, Observed, Release, compare
from app.domain.refs import TagAt
from app.domain.run import Run, Status
from app.services.ports import ProxyInfo
from app.services.stores import NewDelivery
from tests.integration.flow_world import MIRROR, MODULE, SOURCE
from tests.integration.reconcile_world import ReconcileWorld

V2 = f"{MODULE}/v2"
OLD = (MODULE, "v2.0.0+incompatible")
NEW = (V2, "v2.0.1")
GUESSED = (MODULE, "v2.0.1+incompatible")
A, B = "a" * 40, "b" * 40


class Adopting(ReconcileWorld):
    """A repository that got its go.mod within a major: v2.0.0 has none, v2.0.1 says /v2."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.settle(self.take().run_id)
        self.old = self.without_go_mod("v2.0.0")
        self.new = self.source.commit({"go.mod": f"module {V2}\n".encode()})
        self.source.tag("v2.0.1", self.new)

    def without_go_mod(self, version: str) -> str:
        commit = self.source.commit({"go.mod": b"", f"{version}.go": b""})
        del self.source.commits[commit][0]["go.mod"]
        self.source.tag(version, commit)
        return commit

    def told(self, version: str, commit: str) -> Run:
        """By a webhook that names the module without suffix; brought to its end."""
        run = self.take(version, commit).run_id
        self.settle(run)
        return self.run(run)

    def tagged(self, tag: str, commit: str | None) -> str:
        """By a webhook that names the tag alone, or also its commit; brought to its end."""
        told = ReleaseEvent(
            module=None, ref=tag, is_tag=True, commit=commit, version=Version.parse(tag), repo_url=SOURCE
        )
        delivery = NewDelivery(
            id=self.new_id("d"), source="platform", dedupe=self.new_id("x"), scheme="article", secret_id="x",
            received_at=self.clock.now(), headers={}, body=b"{}", verdict="accepted",
        )  # fmt: skip
        receipt = SqlIntakeStore(self.engine).record(delivery, [self.planner.plan("platform", told)])[2][0]
        self.settle(receipt.run_id, rounds=300)
        return receipt.run_id

    def world_goes_on(self) -> None:
        """The proxy has each release under the name that its pipeline was given."""
        for made in self.gitlab.pipelines.values():
            module, version = made.variables["MODSYNC_MODULE"], Version.parse(made.variables["MODSYNC_VERSION"])
            if at := self.mirror.refs.get(f"refs/tags/{version.tag_part}"):
                mod = self.source.commits[at][0].get("go.mod", synthesized_go_mod(module))
                self.proxy.hold(module, ProxyInfo(version.text, None, at), mod, at.encode())
        super().world_goes_on()

    def cache(self, version: str) -> None:
        """Not without its module."""

    def releases(self, *runs: str) -> dict[tuple[str, str | None], Status]:
        return {(run.module, run.version): run.status for run in map(self.run, runs)}


@pytest.fixture
def adopting(tmp_path: Path) -> Adopting:
    return Adopting(tmp_path)


def test_a_lost_release_with_go_mod_is_healed_beside_an_incompatible_one(adopting: Adopting) -> None:
    assert adopting.told("v2.0.0+incompatible", adopting.old).status is Status.DONE
    report = adopting.reconcile()
    assert adopting.releases(*report.runs) == {NEW: Status.DONE}
    assert adopting.mirror.refs["refs/tags/v2.0.1"] == adopting.new
    assert adopting.reconcile().items == ()


def test_a_first_backfill_finds_both_names_and_says_nothing_afterwards(adopting: Adopting) -> None:
    report = adopting.reconcile()
    assert adopting.releases(*report.runs) == {OLD: Status.DONE, NEW: Status.DONE}
    assert adopting.reconcile().items == ()


def test_another_one_without_go_mod_is_brought_too(adopting: Adopting) -> None:
    adopting.reconcile()
    adopting.without_go_mod("v2.0.2")
    report = adopting.reconcile()
    assert adopting.releases(*report.runs) == {(MODULE, "v2.0.2+incompatible"): Status.DONE}
    assert adopting.reconcile().items == ()


def test_what_was_guessed_wrongly_before_is_healed(adopting: Adopting) -> None:
    wrong = adopting.told("v2.0.1+incompatible", adopting.new)
    assert (wrong.status, wrong.error) == (Status.FAILED, "module_mismatch")
    report = adopting.reconcile()
    assert adopting.releases(*report.runs) == {OLD: Status.DONE, NEW: Status.DONE}
    assert adopting.reconcile().items == ()


def test_of_lost_records_a_name_that_the_proxy_lists_and_does_not_serve_is_no_release(adopting: Adopting) -> None:
    adopting.mirror.commits = dict(adopting.source.commits)
    adopting.mirror.refs |= {
        f"refs/tags/{tag}": adopting.source.refs[f"refs/tags/{tag}"] for tag in ("v2.0.0", "v2.0.1")
    }
    adopting.proxy.hold(V2, ProxyInfo(NEW[1], None, adopting.new), b"", adopting.new.encode())
    adopting.proxy.hold(
        V2, ProxyInfo("v2.9.9", None, None), b"", b"", version="v2.0.0"
    )  # as go, which lists all tags there
    adopting.proxy.unlisted = {OLD[1]}  # as go, beside a v1 with go.mod

    report = adopting.reconcile()
    assert adopting.found(report) == {"v2.0.0": "missing_in_proxy", NEW[1]: "adopted"}
    assert adopting.releases(*report.runs) == {OLD: Status.DONE}
    assert adopting.reconcile().items == ()


@pytest.mark.parametrize("retry", [False, True])
def test_one_that_an_outage_ended_is_brought_though_its_tag_was_told_twice(adopting: Adopting, retry: bool) -> None:
    adopting.reconcile()
    commit = adopting.without_go_mod("v2.0.2")
    url = f"{adopting.gitlab.url}/{MIRROR}.git"
    mirror = adopting.git.repositories.pop(url)
    first, second = (adopting.tagged("v2.0.2", commit) for _ in range(2))
    adopting.settle(first, rounds=300)
    assert (adopting.run(first).released.text, adopting.run(first).status) == ("v2.0.2+incompatible", Status.FAILED)
    assert (adopting.run(second).released.text, adopting.run(second).error) == ("v2.0.2", "duplicate_release")
    adopting.git.repositories[url] = mirror

    report = adopting.reconcile(module=MODULE, retry=retry)
    assert adopting.releases(*report.runs) == {(MODULE, "v2.0.2+incompatible"): Status.DONE}
    assert adopting.reconcile().items == ()


def test_one_that_an_outage_ended_is_brought_though_a_run_without_a_commit_ended_before(adopting: Adopting) -> None:
    adopting.reconcile()
    commit = adopting.without_go_mod("v2.0.2")
    source = adopting.git.repositories.pop(SOURCE)
    ended = adopting.run(adopting.tagged("v2.0.2", None))
    assert (ended.released.text, ended.commit, ended.status) == ("v2.0.2", "", Status.FAILED)
    adopting.git.repositories[SOURCE] = source
    url = f"{adopting.gitlab.url}/{MIRROR}.git"
    mirror = adopting.git.repositories.pop(url)
    again = adopting.run(adopting.tagged("v2.0.2", commit))
    assert (again.released.text, again.status) == ("v2.0.2+incompatible", Status.FAILED)
    adopting.git.repositories[url] = mirror

    report = adopting.reconcile()
    assert adopting.releases(*report.runs) == {(MODULE, "v2.0.2+incompatible"): Status.DONE}
    assert adopting.reconcile().items == ()


# --- the comparison alone ---------------------------------------------------------------------------------------------

DONE = Known(A, "r1", Status.DONE, None, pushed=True)


def release(module: str, version: str) -> Release:
    return ModulePath.parse(module), Version.parse(version)


def observed(known: dict[tuple[str, str], Known], served: dict[str, list[str]], tag: str = "v2.0.1") -> Observed:
    """One tag, at source and mirror alike."""
    tags = {tag: TagAt(A, A)}
    lists = {ModulePath.parse(module): frozenset(map(Version.parse, each)) for module, each in served.items()}
    return Observed(tags, tags, lists, {release(*name): each for name, each in known.items()})


def found(seen: Observed) -> list[tuple[Finding, str, str]]:
    items = compare(seen, lambda _, version: of_major(MODULE, int(version.major[1:])))
    return [(item.finding, str(item.module), item.version.text) for item in items]


def test_of_two_names_the_released_one_is_meant() -> None:
    failed = Known(A, "r2", Status.FAILED, "go_mod_missing")
    lists = {MODULE: [GUESSED[1]], V2: [NEW[1]]}
    assert found(observed({GUESSED: DONE, NEW: failed}, lists)) == []
    assert found(observed({NEW: DONE, GUESSED: replace(failed, error="module_mismatch")}, lists)) == []


def test_a_tag_that_is_there_is_not_gone_under_its_other_name() -> None:
    again = Known(A, "r2", Status.QUEUED)  # the platform's event names no module: the worker will rename it
    assert found(observed({GUESSED: DONE, NEW: again}, {MODULE: [GUESSED[1]], V2: []})) == [(Finding.WAITING, *NEW)]


def test_a_proxy_that_has_it_as_incompatible_is_believed_where_nothing_is_known() -> None:
    assert found(observed({}, {MODULE: [GUESSED[1]], V2: []})) == [(Finding.ADOPTED, *GUESSED)]


def test_go_lists_every_tag_of_the_major_as_v2s_and_that_is_nothing_extra() -> None:
    assert found(observed({GUESSED: DONE}, {MODULE: [GUESSED[1]], V2: [NEW[1]]})) == []


def test_a_name_that_the_worker_gave_up_for_the_other_is_not_meant() -> None:
    down = Known(A, "r1", Status.FAILED, "gitlab_unreachable")
    told_again = Known(A, "r2", Status.REJECTED, "duplicate_release")
    seen = observed({GUESSED: down, NEW: told_again}, {MODULE: [], V2: []})
    assert found(seen) == [(Finding.MISSING_IN_PROXY, *GUESSED)]


def test_a_name_whose_run_ended_without_a_commit_is_meant_only_where_the_other_says_nothing() -> None:
    ended = Known("", "r1", Status.FAILED, "source_missing")
    down = Known(A, "r2", Status.FAILED, "gitlab_unreachable")
    lists: dict[str, list[str]] = {MODULE: [], V2: []}
    assert found(observed({NEW: ended, GUESSED: down}, lists)) == [(Finding.MISSING_IN_PROXY, *GUESSED)]
    assert found(observed({NEW: ended}, lists)) == [(Finding.FAILED, *NEW)]
    assert found(observed({NEW: replace(ended, status=Status.QUEUED, error=None), GUESSED: down}, lists)) == [
        (Finding.WAITING, *NEW)
    ]
