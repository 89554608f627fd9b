"""The figures for Prometheus: one table, one page, one registry a process."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

from sluicegate.errors import Problem
from sluicegate.operations.health import is_alive
from sluicegate.operations.metrics import (
    METRICS,
    SECONDS_BUCKETS,
    MetricKind,
    Metrics,
    Part,
    metrics_page,
    serve_metrics,
)
from sluicegate.operations.readiness import DEAD_SECONDS, SILENT_SECONDS

ROOT = Path(__file__).parents[2]


def test_every_name_says_its_unit_as_prometheus_asks() -> None:
    for metric in METRICS:
        assert metric.name.startswith("sluicegate_")
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        if metric.kind is MetricKind.HISTOGRAM:
            assert metric.name.endswith("_seconds")


def test_no_label_has_values_without_bound() -> None:
    bounded = {
        *("part", "version", "stage", "side", "reason", "partition", "measure", "pattern"),
        *("verdict", "why", "problem", "outcome", "page", "topic", "answer", "level", "state"),
    }
    assert {label for metric in METRICS for label in metric.labels} <= bounded


def test_many_values_at_once_are_as_one_by_one() -> None:
    values = np.array([0.0, 0.001, 0.0011, 0.5, 59.9, 60.0, 61.0, 1e9])
    one, many = Metrics(Part.WORKER), Metrics(Part.WORKER)
    for value in values.tolist():
        one.histogram("sluicegate_transaction_seconds").observe(value)
    many.histogram("sluicegate_transaction_seconds").observe_many(values)
    many.histogram("sluicegate_transaction_seconds").observe_many(values[:0])

    def shown(metrics: Metrics) -> list[Any]:
        (found,) = (
            each.samples
            for each in metrics.registry.collect()
            if each.name == "sluicegate_transaction_seconds"
        )
        return [
            (each.name, each.labels, each.value) for each in found if "created" not in each.name
        ]

    assert shown(one) == shown(many)


def answer(port: int, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a page."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}") as answered:
            return answered.status, json.load(answered)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_part_says_whether_it_is_alive_and_ready_and_why_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = Metrics(Part.WORKER)
    page = serve_metrics(metrics, "127.0.0.1", 0)
    now = time.monotonic()
    try:
        status, told = answer(page.port, "/readyz")
        assert (status, told["reasons"], told["part"]) == (503, ["starts"], "worker")
        metrics.readiness.report("owns no partition")
        assert answer(page.port, "/readyz")[1]["reasons"] == ["owns no partition"]
        assert metrics.registry.get_sample_value("sluicegate_ready") == 0
        metrics.readiness.report()
        assert answer(page.port, "/readyz")[0] == answer(page.port, "/healthz")[0] == 200
        assert metrics.registry.get_sample_value("sluicegate_ready") == 1
        monkeypatch.setattr("time.monotonic", lambda: now + SILENT_SECONDS + 10)
        status, told = answer(page.port, "/readyz")
        assert status == 503
        assert "has said nothing" in told["reasons"][0]
        assert answer(page.port, "/healthz")[0] == 200
        monkeypatch.setattr("time.monotonic", lambda: now + DEAD_SECONDS + 10)
        assert answer(page.port, "/healthz")[0] == 503
        assert not is_alive(page.port)
        monkeypatch.undo()
        assert is_alive(page.port)
    finally:
        monkeypatch.undo()
        page.close()


def test_no_figure_stands_twice() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("part", Part)
def test_a_part_shows_its_figures_and_no_others(part: Part) -> None:
    metrics = Metrics(part)
    page = serve_metrics(metrics, "127.0.0.1", 0)
    try:
        with urlopen(f"http://127.0.0.1:{page.port}/metrics") as answer:
            text = answer.read().decode()
    finally:
        page.close()
    for metric in METRICS:
        assert (f"# TYPE {metric.name} {metric.kind}\n" in text) == (part in metric.parts)
    assert f'sluicegate_build_info{{part="{part}",version=' in text


def test_two_processes_of_a_kind_count_apart() -> None:
    name = "sluicegate_liaison_stored_total"
    one, other = Metrics(Part.LIAISON), Metrics(Part.LIAISON)
    one.counter(name).inc(3)
    assert one.registry.get_sample_value(name) == 3
    assert other.registry.get_sample_value(name) == 0


def test_a_figure_has_the_labels_of_the_table() -> None:
    metrics = Metrics(Part.WORKER)
    labels = {"measure": "verify"}
    metrics.counter("sluicegate_worker_alerts_total", **labels).inc()
    metrics.gauge("sluicegate_worker_accounts", partition="3").set(7)
    metrics.histogram("sluicegate_stage_seconds", stage="alert_sent").observe(0.07)
    value = metrics.registry.get_sample_value
    assert value("sluicegate_worker_alerts_total", labels) == 1
    assert value("sluicegate_worker_accounts", {"partition": "3"}) == 7
    assert value("sluicegate_stage_seconds_bucket", {"stage": "alert_sent", "le": "0.08"}) == 1
    assert value("sluicegate_stage_seconds_bucket", {"stage": "alert_sent", "le": "0.06"}) == 0


def test_a_name_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        Metrics(Part.ROUTER).counter("sluicegate_worker_legs_total")


def test_latency_is_measured_from_a_millisecond_to_a_minute() -> None:
    assert SECONDS_BUCKETS[0] == 0.001
    assert SECONDS_BUCKETS[-1] == 60
    assert list(SECONDS_BUCKETS) == sorted(SECONDS_BUCKETS)


def test_a_port_that_is_taken_is_a_problem() -> None:
    page = serve_metrics(Metrics(Part.ROUTER), "127.0.0.1", 0)
    try:
        with pytest.raises(Problem, match="set another metrics_port"):
            serve_metrics(Metrics(Part.ROUTER), "127.0.0.1", page.port)
    finally:
        page.close()


def test_the_page_of_metrics_is_fresh() -> None:
    again = "run: python -m sluicegate.operations.metrics > docs/metrics.md"
    assert (ROOT / "docs/metrics.md").read_text(encoding="utf-8") == metrics_page(), again
