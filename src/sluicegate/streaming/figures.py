"""What the router and a worker show to Prometheus."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from sluicegate.domain.alert import AlertFields
from sluicegate.domain.measure import Measure
from sluicegate.domain.refusal import Refusal
from sluicegate.judging.model_words import MODEL
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.accounts import Records
from sluicegate.memory.row import ARRIVAL, FLAG_OUTSIDE
from sluicegate.operations.metrics import Metrics
from sluicegate.streaming.lead import Lead
from sluicegate.streaming.partition import Applied, Partition
from sluicegate.streaming.scoring import Scoring
from sluicegate.streaming.sources import SourceReader

if TYPE_CHECKING:
    import prometheus_client

USUAL_LAG_SECONDS: Final = 60.0
OF_SOURCES: Final = tuple(
    f"sluicegate_router_{name}" for name in ("lag_records", "lag_seconds", "unapplied_batches")
)
OF_PARTITIONS: Final = tuple(
    f"sluicegate_worker_{name}"
    for name in (
        *("lag_records", "lag_seconds", "accounts", "memory_bytes", "table_load"),
        *("checkpoint_timestamp_seconds", "untrimmed_bytes"),
    )
)


class RouterFigures:
    """What the router shows to Prometheus."""

    def __init__(self, metrics: Metrics, max_lag_seconds: float = USUAL_LAG_SECONDS) -> None:
        self._metrics = metrics
        self._max_lag_seconds = max_lag_seconds
        self._transactions = metrics.counter("sluicegate_router_transactions_total")
        self._departures = metrics.counter("sluicegate_router_departures_total")
        self.repeats = metrics.counter("sluicegate_router_repeats_total")
        self.held = metrics.counter("sluicegate_router_held_seconds_total")
        self._batch = metrics.histogram("sluicegate_router_batch_seconds")
        self._routed = metrics.histogram("sluicegate_stage_seconds", stage="routed")
        self._read_at = metrics.gauge("sluicegate_router_read_timestamp_seconds")
        self._active = metrics.gauge("sluicegate_router_active")
        self._alignment = metrics.gauge("sluicegate_router_alignment_seconds")
        self._lead = metrics.gauge("sluicegate_router_lead_transactions")
        for refusal in Refusal:  # from 0 on, so that the first one shows as a rise
            metrics.counter("sluicegate_router_refused_total", reason=refusal.value)

    def passed(self, records: int, sent: int, first_recorded_ms: float, seconds: float) -> None:
        """A batch of records was read, decoded and handed to the producer."""
        self._transactions.inc(records)
        self._departures.inc(sent)
        self._batch.observe(seconds)
        now = time.time()
        self._read_at.set(now)
        self._routed.observe(max(0.0, now - first_recorded_ms / 1000))

    def refused(self, reason: str) -> None:
        """A record went to dead-letter."""
        self._metrics.counter("sluicegate_router_refused_total", reason=reason).inc()

    def stands_by(self) -> None:
        """Another router is the active one, and how far it is, is its to say."""
        self._active.set(0)
        self._alignment.set(0)
        self._lead.set(0)
        for name in OF_SOURCES:
            self._metrics.gauge(name).clear()
        self._metrics.readiness.report()

    def state(self, readers: Sequence[SourceReader], lead: Lead) -> None:
        """How far the active router is, behind its sources and ahead of the workers."""
        self._active.set(1)
        gauge, now = self._metrics.gauge, time.time()
        behind = {
            reader.partition: now - reader.event_time_ms / 1000
            for reader in readers
            if reader.lag() and reader.event_time_ms
        }
        for reader in readers:
            label = str(reader.partition)
            gauge("sluicegate_router_lag_records", partition=label).set(reader.lag())
            seconds = max(0.0, behind.get(reader.partition, 0.0))
            gauge("sluicegate_router_lag_seconds", partition=label).set(seconds)
        self._alignment.set(max(behind.values()) - min(behind.values()) if behind else 0.0)
        self._lead.set(lead.transactions)
        for partition, batches in lead.batches().items():
            gauge("sluicegate_router_unapplied_batches", partition=str(partition)).set(batches)
        self._metrics.readiness.report(*_too_far_behind(behind, self._max_lag_seconds))


def _too_far_behind(seconds: Mapping[int, float], most: float) -> list[str]:
    return [
        f"partition {number} is {behind:.0f} s behind"
        for number, behind in seconds.items()
        if behind > most
    ]


@dataclass(slots=True)
class _Turn:
    """What the messages of one delivery came to: shown when it is over, not for each message."""

    legs: list[Records] = field(default_factory=list)
    repeats: int = 0
    late: int = 0
    too_late: int = 0


class WorkerFigures:
    """What the worker shows to Prometheus."""

    def __init__(self, metrics: Metrics, max_lag_seconds: float = USUAL_LAG_SECONDS) -> None:
        self._metrics = metrics
        self._max_lag_seconds = max_lag_seconds
        self._turn = _Turn()
        self._event_ms: dict[int, int] = {}
        """Running maximum of the event times applied, by partition."""
        self._departures = metrics.counter("sluicegate_worker_legs_total", side="outflow")
        self._arrivals = metrics.counter("sluicegate_worker_legs_total", side="inflow")
        self._repeats = metrics.counter("sluicegate_worker_repeats_total")
        self._late = metrics.counter("sluicegate_worker_late_legs_total")
        self._too_late = metrics.counter("sluicegate_worker_too_late_legs_total")
        self._sent = metrics.counter("sluicegate_worker_arrivals_sent_total")
        self._suppressed = metrics.counter("sluicegate_worker_suppressed_total")
        self._suppressed_before: dict[int, int] = {}
        self._transactions = metrics.histogram("sluicegate_transaction_seconds")
        self._batch = metrics.histogram("sluicegate_worker_batch_seconds")
        self._checkpoint = metrics.histogram("sluicegate_worker_checkpoint_seconds")
        self._checkpoint_pause = metrics.histogram("sluicegate_worker_checkpoint_pause_seconds")
        self._checkpoint_bytes = metrics.counter("sluicegate_worker_checkpoint_bytes_total")
        self._checkpoint_rows = metrics.counter("sluicegate_worker_checkpoint_rows_total")
        self._restore = metrics.histogram("sluicegate_worker_restore_seconds")
        self._fenced = metrics.counter("sluicegate_worker_fenced_checkpoints_total")
        self._repaired = metrics.counter("sluicegate_worker_gaps_repaired_total")
        self._last_alert = metrics.gauge("sluicegate_worker_last_alert_timestamp_seconds")
        self._sent_alert = metrics.histogram("sluicegate_stage_seconds", stage="alert_sent")
        self._departure_judged, self._arrival_judged = (
            metrics.histogram("sluicegate_stage_seconds", stage=stage)
            for stage in ("departure_judged", "arrival_judged")
        )
        # What begins at 0 shows its first event as a rise; what begins at 1 does not.
        self._alerts = {
            measure.value: metrics.counter("sluicegate_worker_alerts_total", measure=measure.value)
            for measure in Measure
        }
        self._version = ""
        self._reasons: dict[tuple[str, str], prometheus_client.Counter] = {}

    # While the stream goes on.

    def applied(self, partition: int, applied: Applied) -> None:
        """A legs message was judged and remembered; `turn` shows it."""
        turn, legs = self._turn, applied.legs
        turn.repeats += applied.repeats
        turn.late += applied.stepped.late
        turn.too_late += applied.stepped.too_late
        if len(legs):
            turn.legs.append(legs)
            last = legs[-1]
            event_ms = min(int(last["occurred_at_ms"]), int(last["recorded_at_ms"]))
            self._event_ms[partition] = max(self._event_ms.get(partition, 0), event_ms)

    def turn(self, seconds: float) -> None:
        """One delivery of the reader took so long."""
        self._batch.observe(seconds)
        turn, self._turn = self._turn, _Turn()
        self._repeats.inc(turn.repeats)
        self._late.inc(turn.late)
        self._too_late.inc(turn.too_late)
        if not turn.legs:
            return
        sides, flags, recorded_ms = (
            np.concatenate([legs[name] for legs in turn.legs])
            for name in ("side", "flags", "recorded_at_ms")
        )
        ages = np.maximum(0.0, time.time() - recorded_ms / 1000)
        arrived = sides == ARRIVAL
        arrivals = int(np.count_nonzero(arrived))
        self._arrivals.inc(arrivals)
        self._departures.inc(len(sides) - arrivals)
        # A departure that leaves the bank, or in cash, has no arrival: its judgement is the last.
        self._transactions.observe_many(ages[arrived | ((flags & FLAG_OUTSIDE) != 0)])
        if arrivals:
            self._arrival_judged.observe(ages[arrived.argmax()])
        if arrivals < len(sides):
            self._departure_judged.observe(ages[arrived.argmin()])

    def shadows(self, applied: Applied, scoring: Scoring) -> None:
        """Patterns fired that are no part of a score."""
        indexes, fired = scoring.scorer.shadows.tolist(), applied.stepped.shadow_fired.tolist()
        for index, times in zip(indexes, fired, strict=True):
            name = scoring.pattern_set.patterns[index].pattern.name
            self._metrics.counter("sluicegate_worker_shadow_fired_total", pattern=name).inc(times)

    def alerts(self, alerts: Sequence[AlertFields]) -> None:
        """These alerts were sent."""
        if not alerts:
            return
        now = time.time()
        for measure, times in Counter(alert["measure"].value for alert in alerts).items():
            self._alerts[measure].inc(times)
        reasons = Counter(
            (reason["pattern"], alert["measure"].value)
            for alert in alerts
            for reason in alert["reasons"]
        )
        for (name, measure), times in reasons.items():
            # A model names its inputs, which are too many to count each.
            labels = (MODEL if name.startswith(f"{MODEL}.") else name, measure)
            counter = self._reasons.get(labels)
            if counter is None:  # asked for once: a look-up costs ten times an increment
                counter = self._reasons[labels] = self._metrics.counter(
                    "sluicegate_worker_reasons_total", pattern=labels[0], measure=measure
                )
            counter.inc(times)
        self._last_alert.set(now)
        moments = (datetime.fromisoformat(alert["recorded_at"]) for alert in alerts)
        recorded = np.array([moment.timestamp() for moment in moments])
        self._sent_alert.observe_many(np.maximum(0.0, now - recorded))

    def unjudged(self, pattern: str) -> None:
        """A judgement failed and went to dead-letter."""
        self._metrics.counter("sluicegate_worker_unjudged_total", pattern=pattern).inc()

    def sent(self, arrivals: int) -> None:
        """Arrivals were sent on."""
        self._sent.inc(arrivals)

    def checkpoint_paused(self, seconds: float) -> None:
        """The stream waited so long for one piece of a checkpoint."""
        self._checkpoint_pause.observe(seconds)

    def checkpoint(self, partition: int, seconds: float, size: int, rows: int) -> None:
        """A checkpoint of so many bytes and rows is in the changelog."""
        self._checkpoint.observe(seconds)
        self._checkpoint_bytes.inc(size)
        self._checkpoint_rows.inc(rows)
        self._checkpointed_now(partition)
        gauge = self._metrics.gauge("sluicegate_worker_untrimmed_bytes", partition=str(partition))
        gauge.inc(size)

    def trimmed(self, partition: int) -> None:
        """What a partition's changelog held before its last sweep was deleted."""
        self._metrics.gauge("sluicegate_worker_untrimmed_bytes", partition=str(partition)).set(0)

    # Now and then.

    def judges_by(self, pattern_set: PatternSet) -> None:
        """The pattern set in force from now on."""
        for version in {self._version or pattern_set.version, pattern_set.version}:
            is_now = version == pattern_set.version
            self._metrics.gauge("sluicegate_pattern_set_info", version=version).set(is_now)
        self._version = pattern_set.version
        for each in pattern_set.patterns:
            self._metrics.counter("sluicegate_worker_unjudged_total", pattern=each.pattern.name)

    def restored(self, seconds: float, partitions: Iterable[Partition], fenced: int) -> None:
        """The partitions are restored, so long after they were last held.

        `fenced` messages of their changelogs came from a worker that no longer owned them.
        """
        self._restore.observe(seconds)
        self._fenced.inc(fenced)
        now_ms = time.time_ns() // 1_000_000
        # Nothing is known of what waits: it is at least as old as the assignment.
        self._event_ms = {partition.number: now_ms for partition in partitions}
        for partition in partitions:
            self._checkpointed_now(partition.number)

    def left(self) -> None:
        """The partitions are held no longer: their figures are another worker's."""
        for name in OF_PARTITIONS:
            self._metrics.gauge(name).clear()

    def gap(self, partition: int) -> None:
        """A hole in this partition's log stopped a worker of this slot."""
        self._metrics.gauge("sluicegate_worker_gap", partition=str(partition)).set(1)

    def gap_repaired(self, partition: int) -> None:
        """The partition is past it."""
        self._metrics.gauge("sluicegate_worker_gap", partition=str(partition)).set(0)
        self._repaired.inc()

    def state(self, partitions: Sequence[Partition], ends: Mapping[int, int]) -> None:
        """What each partition remembers, and how far it is from the log's end.

        `ends` has none while nothing is read.
        """
        gauge, now = self._metrics.gauge, time.time()
        behind: dict[int, float] = {}
        for partition in partitions:
            label, memory = str(partition.number), partition.memory
            waiting = max(0, ends.get(partition.number, 0) - 1 - partition.place.applied)
            event_ms = self._event_ms.get(partition.number, 0)
            behind[partition.number] = max(0.0, now - event_ms / 1000) if waiting else 0.0
            gauge("sluicegate_worker_lag_records", partition=label).set(waiting)
            gauge("sluicegate_worker_lag_seconds", partition=label).set(behind[partition.number])
            gauge("sluicegate_worker_accounts", partition=label).set(len(memory))
            gauge("sluicegate_worker_memory_bytes", partition=label).set(memory.bytes_in_use)
            gauge("sluicegate_worker_table_load", partition=label).set(memory.table_load)
            before = self._suppressed_before.get(partition.number, 0)
            self._suppressed.inc(max(0, memory.suppressed_legs - before))
            self._suppressed_before[partition.number] = memory.suppressed_legs
        for partition in partitions[:1]:
            gauge("sluicegate_worker_accounts_capacity").set(partition.memory.capacity)
        reasons = _too_far_behind(behind, self._max_lag_seconds)
        if not partitions:
            reasons.append("owns no partition")
        elif not ends:
            reasons.append("does not read its partitions yet")
        self._metrics.readiness.report(*reasons)

    def _checkpointed_now(self, partition: int) -> None:
        gauge = "sluicegate_worker_checkpoint_timestamp_seconds"
        self._metrics.gauge(gauge, partition=str(partition)).set(time.time())
