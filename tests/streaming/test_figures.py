"""What router and worker show: each transaction counted once, holes remembered over restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from tests.operations.test_torture_compare import alert
from tests.streaming.flow import SCORER, new_partition
from tests.streaming.test_partition import departures

from sluicegate.domain.alert import Reason
from sluicegate.operations.metrics import Metrics, Part
from sluicegate.streaming.figures import OF_PARTITIONS, RouterFigures, WorkerFigures
from sluicegate.streaming.gaps import Gaps
from sluicegate.streaming.lead import Lead
from sluicegate.streaming.partition import Gap

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.domain.alert import AlertFields


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_transaction_counts_when_its_last_side_is_judged_and_only_then() -> None:
    metrics = Metrics(Part.WORKER)
    figures, partition = WorkerFigures(metrics), new_partition()
    followed = partition.apply(0, departures(0, 3), SCORER)
    paid_out = partition.apply(1, departures(3, 2, previous=2, payee=None), SCORER)
    assert followed is not None
    assert paid_out is not None
    for applied in (followed, paid_out):
        figures.applied(0, applied)
    assert value(metrics, "sluicegate_worker_legs_total", side="outflow") == 0  # not before the end
    figures.turn(0.001)
    figures.turn(0.001)
    assert value(metrics, "sluicegate_worker_legs_total", side="outflow") == 5
    assert value(metrics, "sluicegate_transaction_seconds_count") == 2


def test_lag_is_in_event_time_and_only_while_something_waits() -> None:
    metrics = Metrics(Part.WORKER)
    figures, partition = WorkerFigures(metrics, max_lag_seconds=60), new_partition()
    applied = partition.apply(0, departures(0, 1), SCORER)  # it happened long ago
    assert applied is not None
    figures.applied(0, applied)
    figures.state([partition], {0: 1})
    assert value(metrics, "sluicegate_worker_lag_seconds", partition="0") == 0
    assert metrics.readiness.reasons() == ()
    figures.state([partition], {0: 5})
    assert value(metrics, "sluicegate_worker_lag_records", partition="0") == 4
    assert (value(metrics, "sluicegate_worker_lag_seconds", partition="0") or 0) > 86_400
    (reason,) = metrics.readiness.reasons()
    assert reason.startswith("partition 0 is ")


def test_a_worker_that_holds_or_reads_nothing_says_so() -> None:
    metrics = Metrics(Part.WORKER)
    figures = WorkerFigures(metrics)
    figures.state([], {})
    assert metrics.readiness.reasons() == ("owns no partition",)
    figures.state([new_partition()], {})
    assert metrics.readiness.reasons() == ("does not read its partitions yet",)


def test_figures_of_partitions_go_with_the_partitions() -> None:
    metrics = Metrics(Part.WORKER)
    figures, partition = WorkerFigures(metrics), new_partition()
    figures.restored(1.0, [partition], fenced=2)
    figures.checkpoint(0, 0.1, 100, 5)
    figures.state([partition], {0: 0})
    assert all(value(metrics, name, partition="0") is not None for name in OF_PARTITIONS)
    assert value(metrics, "sluicegate_worker_fenced_checkpoints_total") == 2
    assert value(metrics, "sluicegate_worker_untrimmed_bytes", partition="0") == 100
    figures.trimmed(0)
    assert value(metrics, "sluicegate_worker_untrimmed_bytes", partition="0") == 0
    figures.left()
    assert all(value(metrics, name, partition="0") is None for name in OF_PARTITIONS)


def test_a_router_that_stands_by_says_nothing_of_lag() -> None:
    metrics, lead = Metrics(Part.ROUTER), Lead(100, 1000)
    figures = RouterFigures(metrics)
    lead.sent([2], 7, 0)
    lead.acknowledged(2, 0)
    figures.state([], lead)
    assert value(metrics, "sluicegate_router_active") == 1
    assert value(metrics, "sluicegate_router_lead_transactions") == 7
    assert value(metrics, "sluicegate_router_unapplied_batches", partition="2") == 1
    figures.stands_by()
    assert value(metrics, "sluicegate_router_active") == 0
    assert value(metrics, "sluicegate_router_lead_transactions") == 0
    assert value(metrics, "sluicegate_router_unapplied_batches", partition="2") is None
    assert metrics.readiness.reasons() == ()


def test_reasons_of_a_model_are_counted_together() -> None:
    """Its inputs are too many for a series each."""
    metrics = Metrics(Part.WORKER)
    names = ("fan", "model.payee.sources_24h", "model.payer.past_out")
    reasons = tuple(Reason(pattern=name, strength=0.5, zh="因", en="why") for name in names)
    told = alert(1).model_copy(update={"reasons": reasons})
    WorkerFigures(metrics).alerts([cast("AlertFields", told.model_dump())])
    measure, name = told.measure.value, "sluicegate_worker_reasons_total"
    assert value(metrics, name, pattern="fan", measure=measure) == 1
    assert value(metrics, name, pattern="model", measure=measure) == 2
    assert value(metrics, name, pattern="model.payee.sources_24h", measure=measure) is None


def test_a_hole_is_shown_by_the_next_life_until_the_partition_is_past_it(tmp_path: Path) -> None:
    partition = new_partition()
    partition.apply(0, departures(0, 1), SCORER)
    with pytest.raises(Gap) as hole:
        partition.apply(3, departures(3, 1, previous=2), SCORER)
    Gaps(tmp_path, "w0", WorkerFigures(Metrics(Part.WORKER))).found(hole.value)

    metrics = Metrics(Part.WORKER)
    gaps = Gaps(tmp_path, "w0", WorkerFigures(metrics))
    gaps.look([partition])
    assert value(metrics, "sluicegate_worker_gap", partition="0") == 1
    partition.place.applied = 3  # as after `state rebuild`
    gaps.look([partition])
    assert value(metrics, "sluicegate_worker_gap", partition="0") == 0
    assert value(metrics, "sluicegate_worker_gaps_repaired_total") == 1

    later = Metrics(Part.WORKER)
    Gaps(tmp_path, "w0", WorkerFigures(later))
    assert value(later, "sluicegate_worker_gap", partition="0") is None


def test_the_lead_is_what_was_sent_since_the_oldest_not_known_to_be_applied() -> None:
    lead = Lead(100, 1000)
    assert (lead.transactions, lead.batches()) == (0, {})
    for offset, count in enumerate((10, 20)):
        lead.sent([0], count, 0)
        lead.acknowledged(0, offset)
    assert (lead.transactions, lead.batches()) == (30, {0: 2})
    lead.applied({0: 0})
    assert (lead.transactions, lead.batches()) == (20, {0: 1})
    lead.applied({0: 1})
    assert (lead.transactions, lead.batches()) == (0, {0: 0})
