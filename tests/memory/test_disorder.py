"""Legs in any order of arrival: late by seconds to months, each in its own bucket or too late."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import NOON_MS, UTC_8, records, scorer, step_all
from tests.memory.oracle import DAY, HOUR, Leg, Oracle
from tests.memory.test_features_against_the_oracle import (
    ACCOUNTS,
    LONG_NAMES,
    MINORS,
    NAMES,
    PROVENANCES,
    RING_NAMES,
    assert_near,
    is_full,
    judged,
    overflows,
)

from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.features import FEATURE_INDEX, FEATURES

if TYPE_CHECKING:
    import random

EDGES = [0, 1, 59, HOUR, 8 * HOUR, DAY, 3 * DAY, 7 * DAY, 10 * DAY, 30 * DAY, 91 * DAY]
MOMENTS = st.one_of(
    st.integers(0, 2 * HOUR),
    st.integers(0, 3 * DAY),
    st.integers(0, 200 * DAY),
    st.sampled_from(EDGES),
    st.sampled_from(EDGES).map(lambda edge: edge + 1),
)
"""Seconds before a fixed moment, drawn without regard to the leg before: no clock goes forward."""
LEGS = st.builds(
    lambda account, other, inflow, before, ms, minor, carried: Leg(
        account, other, inflow, NOON_MS - before * 1000 + ms, minor, carried if inflow else {}
    ),
    st.sampled_from(ACCOUNTS),
    st.sampled_from([None, *NAMES]),
    st.booleans(),
    MOMENTS,
    st.integers(0, 999),
    MINORS,
    PROVENANCES,
)


@given(st.lists(LEGS, min_size=2, max_size=40), st.sampled_from([UTC_8, 0, -5 * HOUR]))
@settings(derandomize=True, deadline=None, max_examples=120)
def test_in_any_order_of_arrival_every_feature_equals_the_oracle(
    legs: list[Leg], utc_offset_s: int
) -> None:
    memory, oracle, by = AccountMemory(5), Oracle(utc_offset_s), scorer(utc_offset_s=utc_offset_s)
    lost = False
    for leg in legs:
        features = memory.step(records([leg]), by, partition=0, log_offset=0).hit_features
        lost = lost or overflows(oracle, leg)
        assert_near(
            features[0],
            oracle.features(leg),
            judged(leg, oracle)
            - (RING_NAMES if lost else set())
            - (LONG_NAMES if is_full(oracle, leg) else set()),
        )
        oracle.remember(leg)


@given(st.lists(LEGS, min_size=1, max_size=60), st.sampled_from([UTC_8, 0, -5 * HOUR]))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_late_and_too_late_legs_are_counted_as_they_come(
    legs: list[Leg], utc_offset_s: int
) -> None:
    """Late: older than the latest of its account. Too late: ten local days or more older."""
    memory = AccountMemory(5)
    by = scorer(utc_offset_s=utc_offset_s)
    stepped = [
        memory.step(records(part), by, partition=0, log_offset=0)
        for part in (legs[:30], legs[30:])
        if part
    ]
    latest: dict[str, int] = {}
    late = too_late = 0
    for leg in legs:
        before = latest.get(leg.account, leg.second)
        days = (before + utc_offset_s) // DAY - (leg.second + utc_offset_s) // DAY
        late += leg.second < before
        too_late += days >= 10
        latest[leg.account] = max(before, leg.second)
    assert (memory.late_legs, memory.too_late_legs) == (late, too_late)
    assert sum(each.late for each in stepped) == late
    assert sum(each.too_late for each in stepped) == too_late


ORDER_FREE = [
    feature.name
    for feature in FEATURES
    if feature.source in {"daily buckets", "sketch of 64 bits a block"}
    or feature.name.startswith("largest_")
    or feature.name in {"inflow_count", "outflow_count", "age_days", "silent_days"}
    or feature.name in {"since_inflow_s", "since_outflow_s"}
]
SINGLE = [each.name for each in FEATURES if "_decayed_" in each.name or "turnover" in each.name]
"""Sums in single precision."""


@given(st.lists(LEGS, min_size=2, max_size=60), st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None, max_examples=80)
def test_days_blocks_rates_and_counts_do_not_depend_on_the_order_of_arrival(
    legs: list[Leg], draw: random.Random
) -> None:
    """What is too late when it comes would have been forgotten by now, had it come in time."""
    shuffled = list(legs)
    draw.shuffle(shuffled)
    in_order = sorted(legs, key=lambda leg: leg.at_ms)
    probes = [Leg(account, "Z", inflow=True, at_ms=NOON_MS, minor=1) for account in ACCOUNTS]
    told = []
    for stream in (legs, shuffled, in_order):
        memory = AccountMemory(5)
        step_all(memory, records(stream))
        told.append(memory.judge(records(probes), scorer())[1])
    for features in told[1:]:
        for name in ORDER_FREE:
            at = FEATURE_INDEX[name]
            np.testing.assert_array_equal(features[:, at], told[0][:, at], err_msg=name)
        for name in SINGLE:
            at = FEATURE_INDEX[name]
            np.testing.assert_allclose(features[:, at], told[0][:, at], 1e-4, 1e-9, err_msg=name)


WINDOWS = ["inflow_count_1h", "inflow_count_24h", "inflow_count_7d", "large_inflows_10d"]


@pytest.mark.parametrize(
    ("late_s", "counted", "too_late"),
    [
        (1, [1, 1, 1, 1], False),
        (30, [1, 1, 1, 1], False),
        (HOUR, [1, 1, 1, 1], False),
        (HOUR + 1, [0, 1, 1, 1], False),
        (DAY, [0, 1, 1, 1], False),
        (DAY + 1, [0, 0, 1, 1], False),
        (6 * DAY + 12 * HOUR, [0, 0, 1, 1], False),  # the first second of the seventh local day
        (6 * DAY + 12 * HOUR + 1, [0, 0, 0, 1], False),
        (9 * DAY + 12 * HOUR, [0, 0, 0, 1], False),
        (9 * DAY + 12 * HOUR + 1, [0, 0, 0, 0], True),
        (45 * DAY, [0, 0, 0, 0], True),
    ],
)
def test_a_late_leg_lands_in_its_own_bucket_or_is_counted_as_too_late(
    late_s: int, counted: list[int], *, too_late: bool
) -> None:
    """At noon, local time, a payment of 20,000.00 is told late; a cent then asks what is known."""
    memory = AccountMemory(1)
    latest = Leg("A", "B", inflow=False, at_ms=NOON_MS, minor=1)
    late = Leg("A", "C", inflow=True, at_ms=NOON_MS - late_s * 1000, minor=20_000_00)
    step_all(memory, records([latest, late]))
    ask = Leg("A", "B", inflow=False, at_ms=NOON_MS, minor=1)
    features = memory.judge(records([ask]), scorer())[1][0]
    assert [features[FEATURE_INDEX[name]] for name in WINDOWS] == counted
    assert (memory.late_legs, memory.too_late_legs) == (1, int(too_late))
    assert features[FEATURE_INDEX["inflow_count"]] == 1
    assert features[FEATURE_INDEX["largest_inflow_91d"]] == 20_000
    weight = features[FEATURE_INDEX["inflow_count_decayed_30d"]]
    assert weight == pytest.approx(math.exp(-late_s / (30 * DAY)), rel=1e-6)


def test_a_leg_late_by_half_a_year_is_judged_and_counted_and_in_no_window() -> None:
    memory = AccountMemory(1)
    latest = Leg("A", "B", inflow=True, at_ms=NOON_MS, minor=5_00)
    late = Leg("A", "C", inflow=True, at_ms=NOON_MS - 183 * DAY * 1000, minor=20_000_00)
    features = step_all(memory, records([latest, late]))[1]
    assert features[FEATURE_INDEX["amount"]] == 20_000
    assert features[FEATURE_INDEX["inflow_24h"]] == 5
    ask = Leg("A", "B", inflow=False, at_ms=NOON_MS, minor=1)
    after = memory.judge(records([ask]), scorer())[1][0]
    assert after[FEATURE_INDEX["inflow_count"]] == 2
    assert after[FEATURE_INDEX["inflow_7d"]] == 5
    assert after[FEATURE_INDEX["largest_inflow_91d"]] == 5
    assert memory.too_late_legs == 1
