"""What the torture compares: each kind of difference is found, and equality is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from sluicegate.domain.alert import Alert, Reason, alert_id, moment_of
from sluicegate.domain.measure import Measure
from sluicegate.memory.row import ARRIVAL, LEG
from sluicegate.operations.torture_compare import (
    Difference,
    Stand,
    compare_alerts,
    compare_arrivals,
    compare_stands,
)

if TYPE_CHECKING:
    from typing import Any

    from sluicegate.memory.accounts import Records

COUNT = 12
FIELDS = [name for name in Alert.model_fields if name not in {"id", "side", "origin"}]


def alert(number: int) -> Alert:
    transaction, account = f"T{number}", f"6217000{number}"
    return Alert(
        id=alert_id(transaction, account, "inflow"),
        transaction_id=transaction,
        account=account,
        side="inflow",
        counterparty="62220001",
        amount_minor=50_000_00,
        currency="CNY",
        score=0.8,
        measure=list(Measure)[-1],
        reasons=(Reason(pattern="pass-through", strength=0.8, zh="快进快出", en="passed on"),),
        facts={"inflow_1h": 50_000.0},
        occurred_at=moment_of(1_751_299_200_000),
        recorded_at=moment_of(1_751_299_200_005),
        detected_at=moment_of(1_751_299_200_010),
        pattern_set_version="0" * 16,
        origin="stream",
    )


ALERTS = {each.id: each for each in map(alert, range(3))}
OTHER: dict[str, Any] = {
    "transaction_id": "T9",
    "account": "62170009",
    "counterparty": None,
    "amount_minor": 1,
    "currency": "USD",
    "score": 0.7999999999999999,
    "measure": next(iter(Measure)),
    "reasons": (),
    "facts": {"inflow_1h": 50_000.01},
    "occurred_at": moment_of(1),
    "recorded_at": moment_of(1),
    "detected_at": moment_of(1),
    "pattern_set_version": "1" * 16,
    "model_version": "2" * 16,
}


def test_the_same_alerts_in_any_order_are_no_difference() -> None:
    assert not compare_alerts(ALERTS, reversed(ALERTS.values()))


def test_a_repeated_alert_may_lie_in_the_topic_and_not_in_the_database() -> None:
    twice = [*ALERTS.values(), alert(1)]
    assert not compare_alerts(ALERTS, twice)
    assert compare_alerts(ALERTS, twice, once=True).extra == 1


def test_a_missing_alert_is_found() -> None:
    found = compare_alerts(ALERTS, [alert(0), alert(2)])
    assert (found.missing, found.extra) == (1, 0)
    assert found.examples == (f"alert {alert(1).id} is missing",)


def test_an_alert_that_no_replay_gives_is_found() -> None:
    found = compare_alerts(ALERTS, [*ALERTS.values(), alert(7)])
    assert (found.missing, found.extra) == (0, 1)


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_of_an_alert_is_found(field: str) -> None:
    changed = alert(1).model_copy(update={field: OTHER[field]})
    found = compare_alerts(ALERTS, [alert(0), changed, alert(2)])
    assert (found.missing, found.extra) == (0, 1)
    assert found.examples == (f"alert {changed.id} differs in {field}",)


def test_a_repeat_that_says_something_else_is_found() -> None:
    changed = alert(1).model_copy(update={"score": 0.5})
    assert compare_alerts(ALERTS, [*ALERTS.values(), changed]).extra == 1


def arrivals() -> Records:
    """Twelve arrivals of two source partitions, every byte of them something."""
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 256, COUNT * LEG.itemsize, dtype=np.uint8)
    legs = raw.view(LEG).copy()
    legs["source_partition"] = np.arange(COUNT) % 2
    legs["position"] = (np.arange(COUNT) // 2 + 100 << 16) + np.arange(COUNT)
    legs["side"] = ARRIVAL
    return legs


def test_arrivals_are_equal_in_any_parts_and_order_and_repeated() -> None:
    legs = arrivals()
    there = [legs[6:], legs[:6], legs[2:4]]
    assert not compare_arrivals([legs], there)


def test_no_arrivals_are_equal_to_none() -> None:
    assert not compare_arrivals([], [])


def test_a_missing_arrival_is_found() -> None:
    legs = arrivals()
    found = compare_arrivals([legs], [legs[:5], legs[6:]])
    assert (found.missing, found.extra) == (1, 0)
    assert found.examples == ("arrival of legs[1]@102 record 5 is missing",)
    assert compare_arrivals([legs], []).missing == COUNT


def test_an_arrival_without_a_departure_is_found() -> None:
    legs = arrivals()
    assert compare_arrivals([legs[:11]], [legs]) == Difference(
        0, 1, ("arrival of legs[1]@105 record 11 is not so",)
    )
    assert compare_arrivals([], [legs]).extra == COUNT


def test_a_doubled_arrival_under_another_position_is_found() -> None:
    legs = arrivals()
    again = legs[3:4].copy()
    again["position"] += 1 << 16
    assert compare_arrivals([legs], [legs, again]).extra == 1


@pytest.mark.parametrize("field", [name for name in LEG.names or () if name != "position"])
def test_a_changed_field_of_an_arrival_is_found(field: str) -> None:
    legs, changed = arrivals(), arrivals()
    changed.view(np.uint8).reshape(COUNT, -1)[4, LEG.fields[field][1]] ^= 2  # type: ignore[index]
    found = compare_arrivals([legs], [changed])
    assert found.extra == 1
    # known by another key, the one that should be there is missing too
    assert found.missing == (field == "source_partition")


def test_a_repeat_of_an_arrival_that_says_something_else_is_found() -> None:
    legs = arrivals()
    other = legs[2:3].copy()
    other["provenance"] += 0.5
    assert compare_arrivals([legs], [legs, other]).extra == 1


STAND = Stand(applied=41, digest="ab", sources={"t0": 7, "l1": 3})


def test_equal_states_are_equal() -> None:
    assert compare_stands({0: STAND, 1: STAND}, {1: STAND, 0: STAND}) == (True, ())


def test_two_nothings_prove_nothing() -> None:
    assert not compare_stands({}, {})[0]


@pytest.mark.parametrize(
    "other",
    [
        replace(STAND, applied=40),
        replace(STAND, digest="ac"),
        replace(STAND, sources={"t0": 7, "l1": 2}),
    ],
)
def test_a_state_that_stands_elsewhere_is_found(other: Stand) -> None:
    equal, wrong = compare_stands({0: STAND, 1: STAND}, {0: STAND, 1: other})
    assert not equal
    assert len(wrong) == 1
    assert wrong[0].startswith("partition 1")


def test_a_state_that_is_not_there_is_found() -> None:
    assert not compare_stands({0: STAND, 1: STAND}, {0: STAND})[0]
