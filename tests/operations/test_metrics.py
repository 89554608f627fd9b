"""The figures for Prometheus: one table, one page, one registry a process."""

from __future__ import annotations

from pathlib import Path
from urllib.request import urlopen

import pytest

from sluicegate.errors import Problem
from sluicegate.operations.metrics import (
    METRICS,
    SECONDS_BUCKETS,
    MetricKind,
    Metrics,
    Part,
    metrics_page,
    serve_metrics,
)

ROOT = Path(__file__).parents[2]


def test_every_name_says_its_unit_as_prometheus_asks() -> None:
    for metric in METRICS:
        assert metric.name.startswith("sluicegate_")
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert metric.name.endswith("_seconds") == (metric.kind is MetricKind.HISTOGRAM)


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
    metrics.counter("sluicegate_worker_alerts_total", measure="verify").inc()
    metrics.gauge("sluicegate_worker_accounts", partition="3").set(7)
    metrics.histogram("sluicegate_stage_seconds", stage="alert_sent").observe(0.07)
    value = metrics.registry.get_sample_value
    assert value("sluicegate_worker_alerts_total", {"measure": "verify"}) == 1
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
