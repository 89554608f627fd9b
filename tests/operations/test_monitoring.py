"""Rules, runbooks and dashboards agree with the table of metrics, and each rule is proved."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from ruamel.yaml import YAML
from tools.dashboards import DASHBOARDS, FOLDER, built

from sluicegate.operations.metric_table import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "rules"
UNIT_TESTS = sorted((ROOT / "tests" / "operations" / "rules").glob("*.yml"))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None and os.environ.get("CI") != "true",
    reason="promtool is missing: apt-get install prometheus",
)
ANNOTATIONS = {"summary", "summary_zh", "meaning", "meaning_zh", "runbook"}


def loaded(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text("utf-8"))


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for path in sorted(RULES.glob("*.yml")) for group in loaded(path)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def base_of(name: str) -> str:
    """The metric that a sample of a histogram belongs to."""
    known = {metric.name for metric in METRICS}
    without = re.sub(r"_(bucket|sum|count)$", "", name)
    return without if without in known else name


def asked_by(expr: str) -> set[str]:
    """The metrics behind an expression, recorded ones followed to their sources."""
    recorded = {rule["record"]: rule["expr"] for rule in rules("record")}
    asked = {base_of(name) for name in re.findall(r"\bsluicegate_\w+", expr)}
    for name in re.findall(r"\bsluicegate:[\w:]+", expr):
        asked |= asked_by(recorded[name])
    return asked


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_prometheus_takes_configuration_and_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", "config/prometheus/prometheus.yml")
    promtool("check", "rules", *map(str, RULES.glob("*.yml")))


@needs_promtool
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_every_alert_fires_when_it_should_and_not_before(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(path))


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    fires: dict[str, set[bool]] = {}
    for path in UNIT_TESTS:
        for case in loaded(path)["tests"]:
            for check in case["promql_expr_test"]:
                for alert in re.findall(r'alertname="(\w+)"', check["expr"]):
                    states = str(check["exp_samples"])
                    fires.setdefault(alert, set()).add('alertstate="firing"' in states)
    assert {rule["alert"]: {True, False} for rule in rules("alert")} == fires


def test_every_alert_says_what_it_means_and_where_to_read_on() -> None:
    for rule in rules("alert"):
        name, said = rule["alert"], rule["annotations"]
        assert set(said) == ANNOTATIONS, name
        assert said["runbook"] == f"docs/runbooks/{name}.md"
        assert rule["labels"]["severity"] in ("page", "ticket")
        page = (ROOT / said["runbook"]).read_text("utf-8")
        assert f"Severity: {rule['labels']['severity']}." in page, name
        for heading in ("## What it means", "## What to look at", "## What to do"):
            assert heading in page, name
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - {"README"}
    assert pages == {rule["alert"] for rule in rules("alert")}


def test_the_index_of_runbooks_names_each() -> None:
    index = (ROOT / "docs/runbooks/README.md").read_text("utf-8")
    for rule in rules("alert"):
        row = f"| [{rule['alert']}]({rule['alert']}.md) | {rule['labels']['severity']} |"
        assert row in index


def test_the_table_of_metrics_names_the_alerts_that_ask_for_each() -> None:
    asked: dict[str, set[str]] = {}
    for rule in rules("alert"):
        for metric in asked_by(rule["expr"]):
            asked.setdefault(metric, set()).add(rule["alert"])
    assert {metric.name: set(metric.alerts) for metric in METRICS if metric.alerts} == asked


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_fresh_and_keeps_to_the_schema(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    assert text == built(name), "run: python -m tools.dashboards"
    again = JSONEncoder(sort_keys=True, indent=2).encode(Dashboard.from_json(json.loads(text)))
    assert again + "\n" == text


def test_no_other_dashboard_lies_there() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(DASHBOARDS)


def test_dashboards_ask_only_for_figures_that_exist_and_leave_none_out() -> None:
    known = {metric.name for metric in METRICS}
    recorded = {rule["record"] for rule in rules("record")}
    asked: set[str] = set()
    for _, panels in DASHBOARDS.values():
        for expr, _ in (query for panel in panels for query in panel.queries):
            assert set(re.findall(r"\bsluicegate:[\w:]+", expr)) <= recorded
            asked |= asked_by(expr)
    assert asked <= known
    shown_by_status_alone = {
        "sluicegate_restarts",
        "sluicegate_worker_last_alert_timestamp_seconds",
    }
    assert known - asked <= shown_by_status_alone | {"sluicegate_router_departures_total"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_fit(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(built(name))["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
