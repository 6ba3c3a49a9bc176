"""Reads /metrics as Prometheus does, and finds numbers in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from prometheus_client import Counter, Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from app.domain.measures import MEASURES
from app.web import metrics
from app.web.metric_families import COUNTERS, GAUGES

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES, DASHBOARD = DEPLOY / "prometheus/modsync.rules.yml", DEPLOY / "grafana/modsync.json"


@dataclass
class Scrape:
    """One answer of /metrics."""

    text: str
    seconds: float = 0.0

    @property
    def families(self) -> dict[str, Metric]:
        """By name, counters without `_total`."""
        return {family.name: family for family in text_string_to_metric_families(self.text)}

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series of this name with these labels, as sum() would have it; 0 without one."""
        found = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(found)

    def has(self, name: str) -> bool:
        """Whether there is a series of this name."""
        return any(sample.name == name for family in self.families.values() for sample in family.samples)


def scrape(url: str) -> Scrape:
    """GET /metrics, as it stands now."""
    answer = requests.get(f"{url}/metrics", timeout=20)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text, answer.elapsed.total_seconds())


def settled(url: str, condition: Callable[[Scrape], bool], until: Callable[..., object]) -> Scrape:
    """The first scrape that fits: what a job counted is shared a moment after its run has ended."""
    found: list[Scrape] = []

    def fits() -> bool:
        found.append(scrape(url))
        return condition(found[-1])

    until(fits, 30, "the metrics")
    return found[-1]


def promtool() -> str:
    """Prometheus' own checker; where it is missing the test is skipped, which CI forbids."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return found


def families() -> dict[str, tuple[str, ...]]:
    """Every family that /metrics can give, with its labels."""
    own = [each for each in vars(metrics).values() if isinstance(each, Counter | Gauge)]
    counted = {each._name: tuple(each._labelnames) for each in own}
    summed = {name: each.labels for name, each in MEASURES.items()}
    read = {name: labels for name, (_, labels) in [*GAUGES.items(), *COUNTERS.items()]}
    return counted | summed | read


def used() -> set[str]:
    """modsync's metrics that the rules and the dashboard name, as they name them."""
    text = RULES.read_text() + DASHBOARD.read_text()
    return set(re.findall(r"\bmodsync_[a-z0-9_]+", text))


def family_of(name: str) -> str:
    """The name's family: without what counters and histograms add."""
    return re.sub(r"_(total|bucket|count|sum)$", "", name)


def counter_files(data: Path) -> set[str]:
    """The files that gunicorn's workers count in."""
    return {path.name for path in (data / "metrics" / "web").glob("*.db")}
