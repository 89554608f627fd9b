"""What one process shows of itself: its figures, and the page that they are on."""

import os
import socket
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import numpy as np
import numpy.typing as npt
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
from sluicegate.operations.metric_table import METRICS, Metric, MetricKind, Part
from sluicegate.operations.readiness import PATHS, Readiness

__all__ = ["METRICS", "Metric", "MetricKind", "Metrics", "Part", "metrics_page", "serve_metrics"]

RESTARTS_VARIABLE = "SLUICEGATE_RESTARTS"
"""By it a supervisor tells its child how often it has died before."""

# From 1 ms, fine around the promised 120 ms, to a minute: what a catch-up takes is no latency.
SECONDS_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08),
    *(0.1, 0.12, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60),
)


STOP_LOOK_SECONDS = 0.05


class Seconds(Histogram):
    """A histogram that takes many values at once."""

    def observe_many(self, seconds: npt.NDArray[np.float64]) -> None:
        """As `observe` for each of them; cheap where they lie close together, as ages do."""
        if not len(seconds):
            return
        bounds = self._upper_bounds
        first, last = bisect_left(bounds, seconds.min()), bisect_left(bounds, seconds.max())
        below = 0
        for place in range(first, last):
            up_to = int(np.count_nonzero(seconds <= bounds[place]))
            if up_to > below:
                self._buckets[place].inc(up_to - below)
                below = up_to
        self._buckets[last].inc(len(seconds) - below)
        self._sum.inc(float(seconds.sum()))


class Metrics:
    """What one process shows of itself: its figures in a registry of its own, and its readiness.

    A name that is not in `METRICS`, or is of another kind, is a KeyError at the start of the part:
    ask once and keep what is returned.
    """

    def __init__(self, part: Part) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Seconds] = {}
        self.readiness = Readiness(part.value)
        for metric in METRICS:
            if part in metric.parts:
                self._add(metric)
        if sys.platform == "linux":
            ProcessCollector(registry=self.registry)
        restarts = float(os.environ.get(RESTARTS_VARIABLE, "0"))
        self.gauge("sluicegate_restarts").set(restarts)
        self.gauge("sluicegate_ready").set_function(lambda: not self.readiness.reasons())
        self.gauge("sluicegate_build_info", version=version("sluicegate"), part=part.value).set(1)

    def counter(self, name: str, **labels: str) -> Counter:
        """The counter of this name, of these label values if it has labels."""
        counter = self._counters[name]
        return counter.labels(**labels) if labels else counter

    def gauge(self, name: str, **labels: str) -> Gauge:
        """The gauge of this name, of these label values if it has labels."""
        gauge = self._gauges[name]
        return gauge.labels(**labels) if labels else gauge

    def histogram(self, name: str, **labels: str) -> Seconds:
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
                self._histograms[name] = Seconds(
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
    """Serve /metrics, /healthz and /readyz at http://bind:port from a thread; port 0: a free one.

    Raises:
        Problem: The address cannot be used.
    """
    figures = make_wsgi_app(metrics.registry)

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] in PATHS:
            return metrics.readiness.answer(environ["PATH_INFO"], start)
        page: Iterable[bytes] = figures(environ, start)
        return page

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

Generated from src/sluicegate/operations/metric_table.py by `python -m
sluicegate.operations.metrics`; do not edit. Each part serves its own at `/metrics` on its
`metrics_port` (docs/settings.md), together with the usual `process_...` figures of CPU and memory.
Beside them `/healthz` says whether the part is alive and `/readyz` whether it does its work, and if
not why. Of a histogram the buckets are {buckets} seconds. The last column names the alerts that ask
for a figure; [each has a page](runbooks/README.md).
"""


def metrics_page() -> str:
    """The page docs/metrics.md, in Markdown."""
    head = PAGE_HEAD.format(buckets=", ".join(f"{each:g}" for each in SECONDS_BUCKETS))
    return head + "".join(_lines())


def _lines() -> Iterator[str]:
    for part in Part:
        yield f"\n## {part.value}\n\n"
        yield "| metric | kind | labels | unit | meaning | alerts |\n|---|---|---|---|---|---|\n"
        for each in METRICS:
            if part in each.parts:
                labels, alerts = ", ".join(each.labels), ", ".join(each.alerts)
                yield (
                    f"| `{each.name}` | {each.kind} | {labels} | {each.unit} | {each.meaning} "
                    f"| {alerts} |\n"
                )


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
