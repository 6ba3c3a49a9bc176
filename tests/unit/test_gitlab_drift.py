"""What of GitLab's rules is no drift, what is, and what is not ours to mend: by the rules as the API shows them."""

from __future__ import annotations

from typing import Any

import pytest

from app.adapters.gitlab_drift import _own_branch, _right_branch, _right_tags, _tags
from app.adapters.gitlab_project import VERSION_TAGS
from app.adapters.gitlab_rules import holding

KEY = {"id": 1002, "access_level": 40, "access_level_description": "Deploy key", "deploy_key_id": 1}
USER = {"id": 3, "access_level": None, "user_id": 7, "group_id": None}
GROUP = {"id": 4, "access_level": None, "user_id": None, "group_id": 5}
MAINTAINERS = {"id": 1, "access_level": 40, "user_id": None, "group_id": None, "deploy_key_id": None}
DEVELOPERS, NOBODY = {**MAINTAINERS, "access_level": 30}, {**MAINTAINERS, "access_level": 0}


def branch(*push: dict[str, Any], merge: tuple[dict[str, Any], ...] = (MAINTAINERS,)) -> dict[str, Any]:
    return {"allow_force_push": True, "push_access_levels": list(push), "merge_access_levels": list(merge)}


def told(rules: dict[str, dict[str, Any]]) -> list[str]:
    return [each.found for each in _own_branch("ci-sync", rules)]


def test_ours_is_right() -> None:
    assert told({"ci-sync": branch(MAINTAINERS)}) == []
    assert told({"ci-sync": branch(MAINTAINERS, merge=(NOBODY,))}) == []
    assert _right_branch(branch(MAINTAINERS))
    assert _right_tags({"create_access_levels": [MAINTAINERS]})


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (branch(MAINTAINERS, KEY), "push by maintainers, deploy key 1"),
        (branch(KEY), "push by deploy key 1"),
        (branch(MAINTAINERS, USER), "push by maintainers, user 7"),
        (branch(MAINTAINERS, merge=(DEVELOPERS,)), "merge by developers"),
        (branch(MAINTAINERS, merge=(MAINTAINERS, GROUP)), "merge by maintainers, group 5"),
    ],
)
def test_who_else_is_let_in_to_the_branch(rule: dict[str, Any], said: str) -> None:
    assert told({"ci-sync": rule}) == [said]
    assert not _right_branch(rule)


@pytest.mark.parametrize("entry", [KEY, USER, GROUP, DEVELOPERS])
def test_who_else_may_make_version_tags(entry: dict[str, Any]) -> None:
    own = {name: {"create_access_levels": [MAINTAINERS]} for name in VERSION_TAGS}
    assert list(_tags(own)) == []
    first = VERSION_TAGS[0]
    assert [each.what for each in _tags({**own, first: {"create_access_levels": [MAINTAINERS, entry]}})] == [
        f"protected tags {first}"
    ]
    wider = list(_tags({**own, "*": {"create_access_levels": [entry]}}))
    assert [(each.what, each.mendable) for each in wider] == [("protected tags *", False)]


def test_a_rule_that_somebody_may_well_write_is_not_taken_for_ours() -> None:
    assert told({"ci-sync": branch(MAINTAINERS), "ci-sync*": branch(MAINTAINERS)}) == []
    assert told({"ci-sync": branch(MAINTAINERS), holding("ci-sync"): branch(MAINTAINERS)}) == [
        "left over from a mending that was stopped"
    ]
    assert [holding(name) for name in ("ci-sync", "v*")] == ["ci-sync**", "v**"]
