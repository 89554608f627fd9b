"""What the router and a worker show to Prometheus."""

import time
from collections.abc import Iterable, Mapping

from sluicegate.domain.alert import Alert
from sluicegate.operations.metrics import Metrics
from sluicegate.streaming.partition import Applied, Partition, sides_of


class RouterFigures:
    """What the router shows to Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._transactions = metrics.counter("sluicegate_router_transactions_total")
        self._departures = metrics.counter("sluicegate_router_departures_total")
        self.repeats = metrics.counter("sluicegate_router_repeats_total")
        self.held = metrics.counter("sluicegate_router_held_seconds_total")
        self._batch = metrics.histogram("sluicegate_router_batch_seconds")
        self._routed = metrics.histogram("sluicegate_stage_seconds", stage="routed")

    def passed(self, records: int, sent: int, first_recorded_ms: float, seconds: float) -> None:
        """A batch of records was read, decoded and handed to the producer."""
        self._transactions.inc(records)
        self._departures.inc(sent)
        self._batch.observe(seconds)
        self._routed.observe(max(0.0, time.time() - first_recorded_ms / 1000))

    def refused(self, reason: str) -> None:
        """A record went to dead-letter."""
        self._metrics.counter("sluicegate_router_refused_total", reason=reason).inc()

    def lag(self, partition: int, records: int) -> None:
        """So many records of a source partition are not yet read."""
        self._metrics.gauge("sluicegate_router_lag_records", partition=str(partition)).set(records)


class WorkerFigures:
    """What the worker shows to Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._departures = metrics.counter("sluicegate_worker_legs_total", side="outflow")
        self._arrivals = metrics.counter("sluicegate_worker_legs_total", side="inflow")
        self._repeats = metrics.counter("sluicegate_worker_repeats_total")
        self._late = metrics.counter("sluicegate_worker_late_legs_total")
        self._too_late = metrics.counter("sluicegate_worker_too_late_legs_total")
        self._sent = metrics.counter("sluicegate_worker_arrivals_sent_total")
        self._batch = metrics.histogram("sluicegate_worker_batch_seconds")
        self._checkpoint = metrics.histogram("sluicegate_worker_checkpoint_seconds")
        self._checkpoint_bytes = metrics.counter("sluicegate_worker_checkpoint_bytes_total")
        self._restore = metrics.histogram("sluicegate_worker_restore_seconds")
        self._sent_alert = metrics.histogram("sluicegate_stage_seconds", stage="alert_sent")
        self._judged = {
            side: metrics.histogram("sluicegate_stage_seconds", stage=stage)
            for side, stage in ((-1, "departure_judged"), (1, "arrival_judged"))
        }

    def applied(self, applied: Applied) -> None:
        """A legs message was judged and remembered."""
        departures, arrivals = sides_of(applied.legs)
        counted = (
            (self._departures, departures),
            (self._arrivals, arrivals),
            (self._repeats, applied.repeats),
            (self._late, applied.stepped.late),
            (self._too_late, applied.stepped.too_late),
        )
        for counter, more in counted:
            if more:
                counter.inc(more)
        if len(applied.legs):
            age = time.time() - float(applied.legs["recorded_at_ms"][0]) / 1000
            self._judged[int(applied.legs["side"][0])].observe(max(0.0, age))

    def alert(self, alert: Alert) -> None:
        """An alert was sent."""
        measure = alert.measure.value
        self._metrics.counter("sluicegate_worker_alerts_total", measure=measure).inc()
        self._sent_alert.observe(max(0.0, time.time() - alert.recorded_at.timestamp()))

    def unjudged(self, pattern: str) -> None:
        """A judgement failed and went to dead-letter."""
        self._metrics.counter("sluicegate_worker_unjudged_total", pattern=pattern).inc()

    def sent(self, arrivals: int) -> None:
        """Arrivals were sent on."""
        self._sent.inc(arrivals)

    def turn(self, seconds: float) -> None:
        """One delivery of the reader took so long."""
        self._batch.observe(seconds)

    def checkpoint(self, seconds: float, size: int) -> None:
        """A checkpoint is in the changelog."""
        self._checkpoint.observe(seconds)
        self._checkpoint_bytes.inc(size)

    def restored(self, seconds: float) -> None:
        """The partitions are restored, so long after they were last held."""
        self._restore.observe(seconds)

    def state(self, partitions: Iterable[Partition], ends: Mapping[int, int]) -> None:
        """How many accounts each partition remembers, and how far it is from the log's end."""
        for partition in partitions:
            label, place = str(partition.number), partition.place
            accounts = self._metrics.gauge("sluicegate_worker_accounts", partition=label)
            accounts.set(len(partition.memory))
            lag = self._metrics.gauge("sluicegate_worker_lag_records", partition=label)
            lag.set(max(0, ends.get(partition.number, 0) - 1 - place.applied))
