"""Every figure that is shown to Prometheus, once: name, kind, labels, unit and meaning."""

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    make_wsgi_app,
)
from prometheus_client.exposition import ThreadingWSGIServer

from sluicegate.errors import Problem


class Part(StrEnum):
    """A process that shows figures."""

    ROUTER = "router"
    WORKER = "worker"
    LIAISON = "liaison"
    COUNTER = "counter"


class MetricKind(StrEnum):
    """What Prometheus takes a figure for."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One figure of one part."""

    parts: tuple[Part, ...]
    kind: MetricKind
    name: str
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()


RESTARTS_VARIABLE = "SLUICEGATE_RESTARTS"
"""By it a supervisor tells its child how often it has died before."""

EVERY = tuple(Part)
ROUTER, WORKER, LIAISON, COUNTER_PART = ((part,) for part in Part)
COUNTER, GAUGE, HISTOGRAM = MetricKind

METRICS: tuple[Metric, ...] = (
    Metric(
        EVERY,
        GAUGE,
        "sluicegate_restarts",
        "starts",
        "how often the supervisor had to start this part again; rising: it does not stay up",
    ),
    Metric(EVERY, GAUGE, "sluicegate_build_info", "1", "version that runs", ("version", "part")),
    Metric(
        EVERY,
        HISTOGRAM,
        "sluicegate_stage_seconds",
        "seconds",
        "age of the source record when a stage was done with it: routed, departure_judged, "
        "arrival_judged, alert_sent, alert_stored",
        ("stage",),
    ),
    Metric(
        ROUTER,
        COUNTER,
        "sluicegate_router_transactions_total",
        "records",
        "read from transactions: departures + repeats + refused",
    ),
    Metric(
        ROUTER,
        COUNTER,
        "sluicegate_router_departures_total",
        "records",
        "departures and cash arrivals written to the legs logs",
    ),
    Metric(
        ROUTER,
        COUNTER,
        "sluicegate_router_refused_total",
        "records",
        "sent to dead-letter, by the name of the refusal",
        ("reason",),
    ),
    Metric(
        ROUTER,
        COUNTER,
        "sluicegate_router_repeats_total",
        "records",
        "the bank's own repeats, recognised and left out",
    ),
    Metric(
        ROUTER, HISTOGRAM, "sluicegate_router_batch_seconds", "seconds", "time a batch took to pass"
    ),
    Metric(
        ROUTER,
        COUNTER,
        "sluicegate_router_held_seconds_total",
        "seconds",
        "waited for the workers, so as not to run too far ahead of them",
    ),
    Metric(
        ROUTER,
        GAUGE,
        "sluicegate_router_lag_records",
        "records",
        "not yet read, by partition of transactions",
        ("partition",),
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_legs_total",
        "records",
        "judged and remembered, by side: outflow or inflow",
        ("side",),
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_repeats_total",
        "records",
        "legs that were applied before, left out",
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_late_legs_total",
        "records",
        "legs older than their account's latest event; each counts in its own time",
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_too_late_legs_total",
        "records",
        "late legs whose local day their account remembers no longer",
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_arrivals_sent_total",
        "records",
        "arrivals written to the legs logs",
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_alerts_total",
        "records",
        "alerts sent to stop-payment, by recommended measure",
        ("measure",),
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_unjudged_total",
        "records",
        "judgements that failed and went to dead-letter, by pattern",
        ("pattern",),
    ),
    Metric(
        WORKER, HISTOGRAM, "sluicegate_worker_batch_seconds", "seconds", "time a batch took to pass"
    ),
    Metric(
        WORKER,
        HISTOGRAM,
        "sluicegate_worker_checkpoint_seconds",
        "seconds",
        "time a checkpoint of one partition took until it was acknowledged",
    ),
    Metric(
        WORKER,
        COUNTER,
        "sluicegate_worker_checkpoint_bytes_total",
        "bytes",
        "written to the changelog",
    ),
    Metric(
        WORKER,
        HISTOGRAM,
        "sluicegate_worker_restore_seconds",
        "seconds",
        "from an assignment to reading its legs logs",
    ),
    Metric(
        WORKER,
        GAUGE,
        "sluicegate_worker_lag_records",
        "batches",
        "not yet applied, by partition of the legs logs",
        ("partition",),
    ),
    Metric(
        WORKER,
        GAUGE,
        "sluicegate_worker_accounts",
        "account rows",
        "remembered, by partition",
        ("partition",),
    ),
    Metric(
        LIAISON,
        COUNTER,
        "sluicegate_liaison_stored_total",
        "alerts",
        "new in the database",
    ),
    Metric(
        LIAISON,
        COUNTER,
        "sluicegate_liaison_repeats_total",
        "alerts",
        "read again, already in the database",
    ),
    Metric(
        LIAISON,
        COUNTER,
        "sluicegate_liaison_unreadable_total",
        "records",
        "sent to dead-letter, by reason",
        ("reason",),
    ),
    Metric(
        LIAISON,
        COUNTER,
        "sluicegate_liaison_failures_total",
        "attempts",
        "batches read again because the database or dead-letter did not take them",
    ),
    Metric(
        LIAISON,
        GAUGE,
        "sluicegate_liaison_lag_records",
        "records",
        "alerts not yet stored, by partition of stop-payment",
        ("partition",),
    ),
    Metric(
        COUNTER_PART,
        COUNTER,
        "sluicegate_counter_checks_total",
        "checks",
        "answered, by verdict: allow, verify or refer",
        ("verdict",),
    ),
    Metric(
        COUNTER_PART,
        COUNTER,
        "sluicegate_counter_degraded_total",
        "checks",
        "answered by the policy of the channel, by why a side was not judged",
        ("why",),
    ),
    Metric(
        COUNTER_PART,
        COUNTER,
        "sluicegate_counter_refused_total",
        "requests",
        "not answered, by the kind of problem",
        ("problem",),
    ),
    Metric(
        COUNTER_PART,
        HISTOGRAM,
        "sluicegate_counter_check_seconds",
        "seconds",
        "from the request to the answer, its audit record written",
    ),
    Metric(
        COUNTER_PART,
        COUNTER,
        "sluicegate_counter_alerts_total",
        "alerts",
        "of referred checks, taken by stop-payment",
    ),
    Metric(
        COUNTER_PART,
        COUNTER,
        "sluicegate_counter_outcomes_total",
        "outcomes",
        "recorded, by how the check ended",
        ("outcome",),
    ),
)

# From 1 ms, fine around the promised 120 ms, to a minute: what a catch-up takes is no latency.
SECONDS_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
    *(0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60),
)


STOP_LOOK_SECONDS = 0.05


class Metrics:
    """The figures of one process, in a registry of its own.

    A name that is not in `METRICS`, or is of another kind, is a KeyError at the start of the part:
    ask once and keep what is returned.
    """

    def __init__(self, part: Part) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in METRICS:
            if part in metric.parts:
                self._add(metric)
        if sys.platform == "linux":
            ProcessCollector(registry=self.registry)
        restarts = float(os.environ.get(RESTARTS_VARIABLE, "0"))
        self.gauge("sluicegate_restarts").set(restarts)
        self.gauge("sluicegate_build_info", version=version("sluicegate"), part=part.value).set(1)

    def counter(self, name: str, **labels: str) -> Counter:
        """The counter of this name, of these label values if it has labels."""
        counter = self._counters[name]
        return counter.labels(**labels) if labels else counter

    def gauge(self, name: str, **labels: str) -> Gauge:
        """The gauge of this name, of these label values if it has labels."""
        gauge = self._gauges[name]
        return gauge.labels(**labels) if labels else gauge

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram of this name, of these label values if it has labels."""
        histogram = self._histograms[name]
        return histogram.labels(**labels) if labels else histogram

    def _add(self, metric: Metric) -> None:
        name, meaning, labels = metric.name, metric.meaning, metric.labels
        match metric.kind:
            case MetricKind.COUNTER:
                self._counters[name] = Counter(name, meaning, labels, registry=self.registry)
            case MetricKind.GAUGE:
                self._gauges[name] = Gauge(name, meaning, labels, registry=self.registry)
            case MetricKind.HISTOGRAM:
                self._histograms[name] = Histogram(
                    name, meaning, labels, registry=self.registry, buckets=SECONDS_BUCKETS
                )


@dataclass(frozen=True)
class MetricsPage:
    """A running page of figures."""

    port: int
    _server: WSGIServer
    _thread: Thread

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(metrics: Metrics, bind: str, port: int) -> MetricsPage:
    """Serve the figures at http://bind:port/metrics from a thread; port 0 chooses a free one.

    Raises:
        Problem: The address cannot be used.
    """
    app = make_wsgi_app(metrics.registry)
    try:
        server = make_server(bind, port, app, _server_at(bind), handler_class=_Silent)
    except OSError as error:
        raise Problem(
            f"metrics: cannot listen on {bind}:{port}",
            str(error),
            "set another metrics_port, or 0 for any free one",
        ) from error
    # prometheus_client's own start_http_server looks only twice a second whether it shall stop.
    thread = Thread(
        target=server.serve_forever, kwargs={"poll_interval": STOP_LOOK_SECONDS}, daemon=True
    )
    thread.start()
    return MetricsPage(server.server_port, server, thread)


class _ServerV6(ThreadingWSGIServer):
    address_family = socket.AF_INET6


def _server_at(bind: str) -> type[ThreadingWSGIServer]:
    return _ServerV6 if ":" in bind else ThreadingWSGIServer


class _Silent(WSGIRequestHandler):
    """Says nothing of requests that are answered."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


PAGE_HEAD = """\
# Metrics

Generated from src/sluicegate/operations/metrics.py by `python -m sluicegate.operations.metrics`;
do not edit. Each part serves its own at `/metrics` on its `metrics_port` (docs/settings.md),
together with the usual `process_...` figures of CPU and memory.
"""


def metrics_page() -> str:
    """The page docs/metrics.md, in Markdown."""
    return PAGE_HEAD + "".join(_lines())


def _lines() -> Iterator[str]:
    for part in Part:
        yield f"\n## {part.value}\n\n"
        yield "| metric | kind | labels | unit | meaning |\n|---|---|---|---|---|\n"
        for each in METRICS:
            if part in each.parts:
                labels = ", ".join(each.labels)
                yield f"| `{each.name}` | {each.kind} | {labels} | {each.unit} | {each.meaning} |\n"


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
