"""Every figure that is shown to Prometheus, once: name, kind, labels, unit, meaning, its alerts."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Part(StrEnum):
    """A process that shows figures."""

    ROUTER = "router"
    WORKER = "worker"
    LIAISON = "liaison"
    COUNTER = "counter"
    DESK = "desk"


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
    """None whose values are without bound: an account never is one."""
    alerts: tuple[str, ...] = ()
    """The alert rules that ask for it, in config/prometheus/rules."""


EVERY: Final = tuple(Part)
ROUTER, WORKER, LIAISON, COUNTER_PART, DESK = ((part,) for part in Part)
COUNTER, GAUGE, HISTOGRAM = MetricKind

# fmt: off
METRICS: Final[tuple[Metric, ...]] = (
    Metric(EVERY, GAUGE, "sluicegate_build_info", "1", "version that runs", ("version", "part")),
    Metric(EVERY, GAUGE, "sluicegate_ready", "0 or 1", "1 while `/readyz` says that the part does its work", alerts=("PartNotReady",)),
    Metric(EVERY, GAUGE, "sluicegate_restarts", "starts", "how often the supervisor had to start this part again; rising: it does not stay up", alerts=("CrashLoop",)),
    Metric(EVERY, HISTOGRAM, "sluicegate_stage_seconds", "seconds", "age of the source record when a stage was done with it: routed, departure_judged, arrival_judged (the first record of each delivery stands for it), alert_sent, alert_stored", ("stage",)),

    Metric(ROUTER, GAUGE, "sluicegate_router_active", "0 or 1", "1 while this router routes; of those that stand by 0"),
    Metric(ROUTER, COUNTER, "sluicegate_router_transactions_total", "records", "read from transactions: departures + repeats + refused", alerts=("NoTransactions", "DeadLettersRising", "AlertFlood", "AlertDrought")),
    Metric(ROUTER, GAUGE, "sluicegate_router_read_timestamp_seconds", "unix seconds", "when transactions were read last; 0 before the first"),
    Metric(ROUTER, COUNTER, "sluicegate_router_departures_total", "records", "departures and cash arrivals written to the legs logs"),
    Metric(ROUTER, COUNTER, "sluicegate_router_refused_total", "records", "sent to dead-letter, by the name of the refusal", ("reason",), ("DeadLettersRising",)),
    Metric(ROUTER, COUNTER, "sluicegate_router_repeats_total", "records", "the bank's own repeats, recognised and left out"),
    Metric(ROUTER, HISTOGRAM, "sluicegate_router_batch_seconds", "seconds", "time a batch took to pass"),
    Metric(ROUTER, COUNTER, "sluicegate_router_held_seconds_total", "seconds", "waited for the workers, so as not to run too far ahead of them"),
    Metric(ROUTER, GAUGE, "sluicegate_router_lag_records", "records", "not yet read, by partition of transactions", ("partition",), ("LagGrowing",)),
    Metric(ROUTER, GAUGE, "sluicegate_router_lag_seconds", "seconds", "age, in event time, of what was read last while more waits, by partition of transactions; 0 when nothing waits", ("partition",), ("LagTooLong",)),
    Metric(ROUTER, GAUGE, "sluicegate_router_alignment_seconds", "seconds", "event time between the partition of transactions that is furthest and the one that is least far, of those that still have something to read"),
    Metric(ROUTER, GAUGE, "sluicegate_router_lead_transactions", "records", "routed and not yet known to be applied by the slowest partition: it grows while a worker is away", alerts=("LagGrowing",)),
    Metric(ROUTER, GAUGE, "sluicegate_router_unapplied_batches", "batches", "written to the legs logs by the router and not yet known to be applied, by partition of the legs logs", ("partition",)),

    Metric(WORKER, HISTOGRAM, "sluicegate_transaction_seconds", "seconds", "end to end: age of the source record when the transaction was judged with all its sides, each transaction counted", alerts=("JudgementsLate", "JudgementBudgetShrinks")),
    Metric(WORKER, COUNTER, "sluicegate_worker_legs_total", "records", "judged and remembered, by side: outflow or inflow", ("side",), ("CheckpointsMissing",)),
    Metric(WORKER, COUNTER, "sluicegate_worker_repeats_total", "records", "legs that were applied before, left out"),
    Metric(WORKER, COUNTER, "sluicegate_worker_late_legs_total", "records", "legs older than their account's latest event; each counts in its own time"),
    Metric(WORKER, COUNTER, "sluicegate_worker_too_late_legs_total", "records", "late legs whose local day their account remembers no longer"),
    Metric(WORKER, COUNTER, "sluicegate_worker_arrivals_sent_total", "records", "arrivals written to the legs logs"),
    Metric(WORKER, COUNTER, "sluicegate_worker_alerts_total", "records", "alerts sent to stop-payment, by recommended measure", ("measure",), ("AlertFlood", "AlertDrought")),
    Metric(WORKER, COUNTER, "sluicegate_worker_reasons_total", "reasons", "alerts by pattern and measure: an alert counts once for each of its reasons", ("pattern", "measure")),
    Metric(WORKER, COUNTER, "sluicegate_worker_suppressed_total", "records", "legs on which a whitelist took a pattern out of the score"),
    Metric(WORKER, GAUGE, "sluicegate_worker_last_alert_timestamp_seconds", "unix seconds", "when the last alert was sent; 0 before the first"),
    Metric(WORKER, COUNTER, "sluicegate_worker_shadow_fired_total", "legs", "legs on which a shadow pattern fired, by pattern", ("pattern",)),
    Metric(WORKER, COUNTER, "sluicegate_worker_unjudged_total", "records", "judgements that failed and went to dead-letter, by pattern", ("pattern",), ("JudgementsFail",)),
    Metric(WORKER, HISTOGRAM, "sluicegate_worker_batch_seconds", "seconds", "time a batch took to pass"),
    Metric(WORKER, HISTOGRAM, "sluicegate_worker_checkpoint_seconds", "seconds", "time a checkpoint of one partition took, from when it was taken until it was acknowledged"),
    Metric(WORKER, HISTOGRAM, "sluicegate_worker_checkpoint_pause_seconds", "seconds", "time the stream waited for one piece of a checkpoint: for its taking, or for a slice of its copying"),
    Metric(WORKER, COUNTER, "sluicegate_worker_checkpoint_bytes_total", "bytes", "written to the changelog"),
    Metric(WORKER, COUNTER, "sluicegate_worker_checkpoint_rows_total", "account rows", "written to the changelog: those that had changed, and the sweep's"),
    Metric(WORKER, GAUGE, "sluicegate_worker_checkpoint_timestamp_seconds", "unix seconds", "when the last checkpoint was safe, or the partitions were taken over, by partition", ("partition",), ("CheckpointsMissing",)),
    Metric(WORKER, GAUGE, "sluicegate_worker_untrimmed_bytes", "bytes", "written to the changelog since it was last trimmed, by partition", ("partition",), ("ChangelogNotTrimmed",)),
    Metric(WORKER, COUNTER, "sluicegate_worker_fenced_checkpoints_total", "messages", "found in the changelogs when they were restored, written by a worker that no longer owned the partition, and left out"),
    Metric(WORKER, GAUGE, "sluicegate_worker_gap", "0 or 1", "1 from when a hole in a partition's log stopped a worker of this slot until the partition is past it", ("partition",), ("GapNotRepaired",)),
    Metric(WORKER, COUNTER, "sluicegate_worker_gaps_repaired_total", "gaps", "partitions that were past their hole again"),
    Metric(WORKER, HISTOGRAM, "sluicegate_worker_restore_seconds", "seconds", "from an assignment to reading its legs logs"),
    Metric(WORKER, GAUGE, "sluicegate_worker_lag_records", "batches", "not yet applied, by partition of the legs logs", ("partition",)),
    Metric(WORKER, GAUGE, "sluicegate_worker_lag_seconds", "seconds", "age, in event time, of the last leg applied while more wait, by partition of the legs logs; 0 when none waits", ("partition",), ("LagTooLong",)),
    Metric(WORKER, GAUGE, "sluicegate_worker_accounts", "account rows", "remembered, by partition", ("partition",), ("MemoryNearlyFull",)),
    Metric(WORKER, GAUGE, "sluicegate_worker_accounts_capacity", "account rows", "that one partition can remember", alerts=("MemoryNearlyFull",)),
    Metric(WORKER, GAUGE, "sluicegate_worker_memory_bytes", "bytes", "of rows, index and directives in use, by partition; divided by accounts: bytes an account", ("partition",), ("ChangelogNotTrimmed",)),
    Metric(WORKER, GAUGE, "sluicegate_worker_table_load", "share", "of the index's slots that are in use, by partition; it grows at a half", ("partition",)),
    Metric(WORKER, GAUGE, "sluicegate_pattern_set_info", "1", "version of the pattern set by which is judged", ("version",)),

    Metric(LIAISON, COUNTER, "sluicegate_liaison_stored_total", "alerts", "new in the database"),
    Metric(LIAISON, COUNTER, "sluicegate_liaison_repeats_total", "alerts", "read again, already in the database"),
    Metric(LIAISON, COUNTER, "sluicegate_liaison_unreadable_total", "records", "sent to dead-letter, by reason", ("reason",), ("DeadLettersRising",)),
    Metric(LIAISON, COUNTER, "sluicegate_liaison_failures_total", "attempts", "batches read again because the database or dead-letter did not take them", alerts=("AlertsNotStored",)),
    Metric(LIAISON, GAUGE, "sluicegate_liaison_lag_records", "records", "alerts not yet stored, by partition of stop-payment", ("partition",), ("AlertsNotStored",)),

    Metric(COUNTER_PART, COUNTER, "sluicegate_counter_checks_total", "checks", "answered, by verdict: allow, verify or refer", ("verdict",), ("CounterDegraded",)),
    Metric(COUNTER_PART, COUNTER, "sluicegate_counter_degraded_total", "checks", "answered by the policy of the channel, by why a side was not judged", ("why",), ("CounterDegraded",)),
    Metric(COUNTER_PART, COUNTER, "sluicegate_counter_refused_total", "requests", "not answered, by the kind of problem", ("problem",)),
    Metric(COUNTER_PART, HISTOGRAM, "sluicegate_counter_check_seconds", "seconds", "from the request to the answer, its audit record written", alerts=("ChecksSlow", "CheckBudgetShrinks")),
    Metric(COUNTER_PART, COUNTER, "sluicegate_counter_alerts_total", "alerts", "of referred checks, taken by stop-payment"),
    Metric(COUNTER_PART, COUNTER, "sluicegate_counter_outcomes_total", "outcomes", "recorded, by how the check ended", ("outcome",)),
    Metric(COUNTER_PART, GAUGE, "sluicegate_counter_owned_partitions", "partitions", "whose worker answers the counter"),

    Metric(DESK, HISTOGRAM, "sluicegate_desk_page_seconds", "seconds", "from the request to the answer, by page", ("page",)),
    Metric(DESK, GAUGE, "sluicegate_desk_clocks", "cases", "for review whose clock runs, by what it is for (claim or decide) and whether it has run out", ("level", "state"), ("ServiceLevelRunsOut",)),
    Metric(DESK, GAUGE, "sluicegate_desk_live_clients", "browsers", "that follow the queue live"),
    Metric(DESK, COUNTER, "sluicegate_desk_sent_total", "messages", "taken by Kafka from the outbox, by topic: measures or directives", ("topic",)),
    Metric(DESK, COUNTER, "sluicegate_desk_answers_total", "answers", "of core banking on measures, by what they say: done or failed", ("answer",)),
    Metric(DESK, COUNTER, "sluicegate_desk_failures_total", "attempts", "of the desk's own work in the background that failed and are made again"),
)
# fmt: on
