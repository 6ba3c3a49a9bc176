"""Which rule, clone URL, mirror, tag and proxy apply to a module, and what is known of it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.adapters.database import writing
from app.adapters.read_store import SqlReadStore
from app.adapters.repository_store import SqlRepositoryStore
from app.adapters.retention_store import SqlRetentionStore
from app.adapters.tables import releases
from app.domain.errors import CATALOG, SyncError
from app.domain.modules import ModulePath, Version
from app.domain.reconcile import Finding, Item
from app.domain.routing import Rule
from app.services.queries import Queries, Routing
from tests.integration.stored import MODULE, TARGET, A, B, Stored

RULES = (
    Rule("go.corp.example/{team}/{repo}", "go-mirrors/{team}/{repo}", "https://git.corp.example/{team}/{repo}.git"),
    Rule("told.corp.example/{repo}", "go-mirrors/told/{repo}", source="platform"),
    Rule("made.corp.example/{repo}", "go-mirrors/made/{repo}", "https://git.corp.example/{repo}", tags="make"),
)
ROUTING = Routing(RULES, {"platform": ["https://git.corp.example/**"], "other": []})


@pytest.fixture
def queries(stored: Stored) -> Queries:
    return Queries(SqlReadStore(stored.engine), ROUTING)


def test_an_explanation_says_where_a_release_goes(queries: Queries) -> None:
    explanation = queries.explain(f"{MODULE}/sdk/v2", "v2.1.0")
    platform, other = explanation.routes
    assert (platform.source, platform.tag, platform.error) == ("platform", "sdk/v2.1.0", None)
    assert platform.target is not None
    assert (platform.target.clone_url, platform.target.mirror) == (TARGET.clone_url, TARGET.mirror)
    assert (platform.target.subdir, platform.target.proxy, platform.target.rule) == ("sdk", "default", RULES[0].modules)
    # The other source's allow-list is empty: it may report nothing.
    assert (other.target, other.error and other.error.code) == (None, "clone_url_refused")
    assert explanation.routed
    assert (explanation.runs, explanation.releases, explanation.mirrors) == ((), (), ())


def test_an_explanation_says_that_no_rule_applies(queries: Queries) -> None:
    explanation = queries.explain("elsewhere.example/x")
    (route,) = explanation.routes
    assert not explanation.routed
    assert route.error is not None
    assert (route.error.code, route.error.advice) == ("no_rule", CATALOG["no_rule"].advice)


def test_an_explanation_knows_what_was_there(stored: Stored, queries: Queries) -> None:
    run_id = stored.release().run_id
    stored.release(version="v1.1.0")
    stored.finish(run_id)
    lease = stored.flow.lease_mirror(TARGET.mirror, "worker-1", stored.now, 10)
    assert lease is not None
    stored.flow.release_mirror(
        lease, stored.now, project=(7, "https://gitlab.corp.example/x.git", "https://x"), branch_at=A
    )

    explanation = queries.explain(MODULE, "v1.0.0")
    assert [run.id for run in explanation.runs] == [run_id]
    (release,) = explanation.releases
    assert (release.run, release.commit, release.pushed_at is not None) == (run_id, A, True)
    (mirror,) = explanation.mirrors
    assert (mirror.path, mirror.project_id, mirror.branch_at) == (TARGET.mirror, 7, A)
    assert [release.version for release in queries.explain(MODULE).releases] == ["v1.1.0", "v1.0.0"]
    # Another module of the same repository: its mirror is known, though it was never released itself.
    assert [mirror.path for mirror in queries.explain(f"{MODULE}/sdk").mirrors] == [TARGET.mirror]


def test_the_newest_versions_come_first_and_that_there_are_more_is_said(stored: Stored, queries: Queries) -> None:
    for number in range(9, 12):  # one push brings them
        stored.finish(stored.release(version=f"v1.{number}.0").run_id)
    with writing(stored.engine) as connection:
        connection.execute(update(releases).values(pushed_at=stored.now))
    stored.later()
    stored.finish(stored.release(version="v1.2.0").run_id)  # an old line's, later
    stored.release(version="v1.1.0")
    found = queries.explain(MODULE)
    assert [each.version for each in found.releases] == ["v1.1.0", "v1.2.0", "v1.11.0", "v1.10.0", "v1.9.0"]
    assert not found.more_releases
    for number in range(16):
        stored.release(version=f"v0.0.{number}")
    found = queries.explain(MODULE)
    assert (len(found.releases), len(found.runs), found.more_releases) == (20, 20, True)
    assert [each.version for each in found.releases[:2]] == ["v1.1.0", "v0.0.15"]


def test_a_version_without_a_run_says_so(stored: Stored, queries: Queries) -> None:
    kept, pruned = stored.release(version="v1.0.0").run_id, stored.release(version="v1.1.0").run_id
    stored.finish(pruned)
    past = stored.later(100 * 86400)
    assert SqlRetentionStore(stored.engine).prune_runs(past - timedelta(days=30), 10) == 1
    module = ModulePath.parse(MODULE)
    adopted = Item(Finding.ADOPTED, "v1.2.0", module, Version.parse("v1.2.0"), commit=A)
    assert SqlRepositoryStore(stored.engine).adopt([adopted], past) == 1
    found = {each.version: (each.run, each.run_kept) for each in queries.explain(MODULE).releases}
    assert found == {"v1.0.0": (kept, True), "v1.1.0": (pruned, False), "v1.2.0": ("", False)}


def test_a_rule_without_a_clone_url_takes_the_one_that_was_told_last(stored: Stored, queries: Queries) -> None:
    module = "told.corp.example/x"
    (before,) = queries.explain(module).routes
    assert before.target is not None
    assert (before.target.clone_url, before.target.mirror) == ("", "go-mirrors/told/x")
    stored.release(module=module, event={"repo_url": "https://git.corp.example/told/x.git"})
    (after,) = queries.explain(module).routes
    assert after.target is not None
    assert after.target.clone_url == "https://git.corp.example/told/x.git"
    stored.later()
    stored.release(B, "v1.1.0", module=module, event={"repo_url": "https://user:hunter2@evil.example/x"})
    refused = queries.explain(module)
    assert refused.routes[0].error is not None
    assert refused.routes[0].error.code == "clone_url_refused"
    assert "hunter2" not in json.dumps(refused.as_json())


@pytest.mark.parametrize(
    ("module", "version", "field"),
    [
        ("not a module", None, "module"),
        ("x", None, "module"),
        (MODULE, "1.0", "version"),
        (MODULE, "v2.0.0", "version"),
    ],
)
def test_a_name_that_go_would_not_take_is_refused(
    queries: Queries, module: str, version: str | None, field: str
) -> None:
    with pytest.raises(SyncError) as caught:
        queries.explain(module, version)
    assert (caught.value.code, caught.value.field) == ("bad_request", field)


def test_a_missing_tag_can_be_modsyncs_own(queries: Queries) -> None:
    route, _ = queries.explain("made.corp.example/x", "v1.0.0").routes
    assert route.target is not None
    assert (route.target.tags, route.tag) == ("make", "v1.0.0")
