"""Alert rules and dashboard: checked and run by promtool, and true to what /metrics gives and docs/ says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from app.web.metric_families import FORGED, TURNED_AWAY
from tests.integration.metrics_world import DASHBOARD, RULES, families, family_of, promtool, used

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).with_name("alerts.yml")
LABELS_OF_PROMETHEUS = {"le", "instance", "job"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool(), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_promtool_takes_the_rules_and_the_configuration() -> None:
    for done in (run("check", "rules", str(RULES)), run("check", "config", str(RULES.with_name("prometheus.yml")))):
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_shall_and_only_then() -> None:
    done = run("test", "rules", str(CASES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    asked = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    names = {each["alert"] for each in alerts()}
    assert names == {case["alertname"] for case in asked if case.get("exp_alerts")}
    assert names == {case["alertname"] for case in asked if not case.get("exp_alerts")}


def test_a_rule_that_is_worse_is_noticed(tmp_path: Path) -> None:
    worse = RULES.read_text().replace("modsync_database_up == 0", "modsync_database_up == 1")
    (tmp_path / "rules.yml").write_text(worse)
    cases = re.sub(r"rule_files: .*", "rule_files: [rules.yml]", CASES.read_text())
    (tmp_path / "cases.yml").write_text(cases)
    done = run("test", "rules", str(tmp_path / "cases.yml"))
    assert done.returncode != 0
    assert "ModsyncDatabaseAway" in done.stdout + done.stderr


def test_each_alert_says_what_to_do() -> None:
    headings = re.findall(r"(?m)^#+ (.+)$", (ROOT / "docs/operating.md").read_text())
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for each in alerts():
        assert each["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description", "runbook_url"} <= each["annotations"].keys()
        page, _, anchor = each["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operating.md"
        assert anchor in anchors, each["alert"]


def test_every_metric_that_is_used_exists_with_its_labels() -> None:
    known = families()
    assert used(), "there is something to look at"
    assert {name for name in used() if family_of(name) not in known} == set()
    for name, selected in re.findall(r"\b(modsync_[a-z0-9_]+)\{([^}]*)\}", RULES.read_text() + _queries()):
        labels = set(re.findall(r"(\w+)\s*[=!]~?", selected))
        assert labels <= {*known[family_of(name)], *LABELS_OF_PROMETHEUS}, (name, labels)


def test_what_alerts_ask_for_of_refusals_and_deliveries_begins_at_0() -> None:
    (asked,) = set(re.findall(r'modsync_refusals_total\{reason=~"([^"]+)"', RULES.read_text()))
    assert set(asked.split("|")) == set(FORGED)
    (turned_away,) = set(re.findall(r'modsync_deliveries_total\{verdict=~"([^"]+)"', RULES.read_text()))
    assert set(turned_away.split("|")) == set(TURNED_AWAY)


def test_every_recorded_name_that_is_used_is_recorded() -> None:
    text = RULES.read_text()
    recorded = set(re.findall(r"record: (\S+)", text))
    assert set(re.findall(r"\bmodsync:[a-z0-9_:]+", text + _queries())) == recorded


def test_every_metric_is_documented_and_no_other() -> None:
    rows = re.findall(r"(?m)^\| `(modsync_[a-z0-9_]+)` \|([^|]*)\|", (ROOT / "docs/metrics.md").read_text())
    assert len(rows) == len(dict(rows)), "each once"
    documented = {family_of(name) if name.endswith("_total") else name: labels for name, labels in rows}
    assert {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in documented.items()} == families()


def test_the_dashboard_is_whole() -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in panels)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert {panel["datasource"]["uid"] for panel in panels} == {source["datasources"][0]["uid"]}
    cells = [(x, y) for panel in board["panels"] for x, y in _cells(panel["gridPos"])]
    assert len(cells) == len(set(cells)), "no panel lies on another"


def test_promtool_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    targets = [each["expr"].replace("$__rate_interval", "5m") for each in _targets()]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(targets)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = run("check", "rules", str(tmp_path / "queries.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def _targets() -> list[dict[str, str]]:
    return [target for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel.get("targets", [])]


def _queries() -> str:
    return "\n".join(each["expr"] for each in _targets())


def _cells(at: dict[str, int]) -> list[tuple[int, int]]:
    return [(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])]
