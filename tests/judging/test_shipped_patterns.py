"""Each shipped pattern on facts written by hand: where it fires, and where it just does not."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from sluicegate.domain.measure import Measure
from sluicegate.judging.judgement import measure_for
from sluicegate.judging.patterns import Side
from sluicegate.memory.features import FEATURE_COUNT, FEATURE_INDEX

if TYPE_CHECKING:
    from sluicegate.judging.kernels import CompiledPatterns

PRIVATE = {"sources_60d": 4.0, "targets_60d": 3.0, "circle": 4.0, "pair_new": 1.0,
           "inflow_count": 8.0, "outflow_count": 8.0,
           "new_source_share": 0.5, "new_target_share": 0.5,
           "inflow_count_7d": 5.0, "outflow_count_7d": 5.0, "covered_24h": 0.0,
           "covered_3d": 0.0}  # fmt: skip


class Case(NamedTuple):
    pattern: str
    fires: dict[str, float]
    just_not: dict[str, float]
    """What is different where it does not fire any more."""


RARE = {"mule_rarity": 1.31, "collector_rarity": 1.3, "sleeper_rarity": 0.0, "past_score": 0.0,
        "involved": 0.0, "watched": 0.0}  # fmt: skip
CASES = (
    Case("unusual-payment", RARE, {"mule_rarity": 1.3}),
    Case("unusual-receipt", {**RARE, "payer_circle": 4.0, "payer_score": 0.0}, {"mule_rarity": 1}),
    Case(
        "pass-through",
        {"pass_through_gap_24h": 0.1, "pass_through_legs_24h": 3, "amount": 20_000},
        {"pass_through_gap_24h": 0.101},
    ),
    Case(
        "pass-through",
        {"pass_through_gap_24h": 0.02, "pass_through_legs_24h": 6, "amount": 2_000},
        {"pass_through_legs_24h": 7},
    ),
    Case(
        "fast-in-fast-out",
        {"passed_on_1h": 0.8, "inflow_1h": 5_000, "covered_1h": 0.9},
        {"passed_on_1h": 0.79},
    ),
    Case(
        "fast-in-fast-out",
        {"passed_on_1h": 0.99, "inflow_1h": 5_000, "covered_1h": 0.5},
        {"covered_1h": 0.49},
    ),
    Case(
        "scatter-in-gather-out",
        {
            "inflow_count_7d": 4,
            "outflow_count_7d": 1,
            "inflow_7d": 40_000,
            "outflow_7d": 37_000,
            "amount": 37_000,
        },
        {"inflow_count_7d": 3},
    ),
    Case(
        "scatter-in-gather-out",
        {
            "inflow_count_7d": 6,
            "outflow_count_7d": 2,
            "inflow_7d": 40_000,
            "outflow_7d": 43_900,
            "amount": 37_000,
        },
        {"outflow_7d": 44_100},
    ),
    Case(
        "convergence",
        {"sources_24h": 5, "inflow_24h": 30_000, "inflow_count_24h": 5},
        {"sources_24h": 4},
    ),
    Case(
        "divergence",
        {"targets_8h": 5, "outflow_24h": 30_000, "outflow_count_24h": 5},
        {"targets_8h": 4},
    ),
    Case("dormant-wakes", {"silent_days": 90, "amount": 5_000}, {"silent_days": 89.9}),
    Case("dormant-wakes", {"silent_days": 200, "amount": 5_000}, {"amount": 4_999}),
    Case(
        "dormant-drained",
        {
            "age_days": 200,
            "inflow_count_decayed_30d": 1.1,
            "outflow_count_decayed_30d": 1.0,
            "inflow_count_24h": 1,
            "outflow_count_24h": 1,
            "covered_24h": 0.8,
            "amount": 50_000,
        },
        {"inflow_count_decayed_30d": 1.4},
    ),
    Case(
        "far-above-own-largest",
        {"amount": 15_000, "largest_outflow_91d": 10_000, "outflow_count": 5},
        {"amount": 14_999},
    ),
    Case(
        "far-above-own-largest",
        {"amount": 15_000, "largest_outflow_91d": 100, "outflow_count": 5},
        {"outflow_count": 4},
    ),
    Case(
        "far-above-own-largest-in",
        {"amount": 15_000, "largest_inflow_91d": 10_000, "inflow_count": 3},
        {"largest_inflow_91d": 10_001},
    ),
    Case("test-then-large", {"small_same_pair_24h": 2, "amount": 10_001}, {"amount": 10_000}),
    Case(
        "test-then-large", {"small_same_pair_24h": 2, "amount": 10_001}, {"small_same_pair_24h": 1}
    ),
    Case("structuring-out", {"large_outflows_10d": 6, "amount": 12_000}, {"large_outflows_10d": 5}),
    Case("structuring-in", {"large_inflows_10d": 6, "amount": 12_000}, {"large_inflows_10d": 5}),
    Case("just-below-the-line-out", {"band_outflows_10d": 3, "amount": 9_000}, {"amount": 8_999}),
    Case("just-below-the-line-out", {"band_outflows_10d": 3, "amount": 49_999}, {"amount": 50_000}),
    Case(
        "just-below-the-line-in", {"band_inflows_10d": 3, "amount": 19_500}, {"band_inflows_10d": 2}
    ),
    Case("pays-involved-account", {"counterparty_involved": 1}, {"counterparty_involved": 0}),
    Case("paid-by-involved-account", {"counterparty_involved": 1}, {"counterparty_involved": 0}),
    Case("involved-account-moves", {"involved": 1}, {"involved": 0}),
    Case("punished-holder", {"punished": 1, "amount": 1_000}, {"amount": 999.99}),
    Case("watched-account", {"watched": 1, "amount": 1_000}, {"watched": 0}),
    Case("new-account-large", {"open_days": 10, "amount": 100_000}, {"amount": 99_999}),
    Case(
        "new-account-large",
        {"open_days": 15, "amount": 1, "inflow_7d": 600_000, "outflow_7d": 400_000},
        {"open_days": 16},
    ),
    Case("elderly-pays-stranger", {"holder_age": 60, "amount": 20_000}, {"holder_age": 59}),
    Case("elderly-pays-stranger", {"holder_age": 80, "amount": 20_000}, {"pair_new": 0}),
    Case(
        "beyond-income",
        {"declared_income": 6_000, "inflow_sum_decayed_30d": 60_000, "amount": 10_000},
        {"inflow_sum_decayed_30d": 59_999},
    ),
    Case("documents-expired", {"documents_expired": 1, "amount": 10_000}, {"amount": 9_999}),
    Case("closed-enterprise-moves", {"enterprise_closed": 1, "amount": 5_000}, {"amount": 4_999}),
    Case(
        "commission-kept",
        {"covered_1h": 0.95, "passed_on_1h": 0.97, "inflow_1h": 5_000},
        {"passed_on_1h": 0.98},
    ),
    Case(
        "large-fast-through",
        {"outflow_24h": 100_000, "covered_24h": 0.8, "inflow_24h": 125_000},
        {"inflow_24h": 125_001},
    ),
    Case(
        "transit-account",
        {
            "age_days": 30,
            "inflow_sum_decayed_30d": 100_000,
            "outflow_sum_decayed_30d": 95_000,
            "covered_3d": 0.8,
        },
        {"outflow_sum_decayed_30d": 94_999},
    ),
    Case(
        "same-day-drain",
        {
            "age_days": 30,
            "outflow_24h": 20_000,
            "inflow_24h": 20_000,
            "inflow_sum_decayed_30d": 26_000,
            "outflow_sum_decayed_30d": 26_000,
        },
        {"inflow_sum_decayed_30d": 26_001},
    ),
    Case(
        "gather-in-scatter-out",
        {
            "outflow_count_7d": 6,
            "inflow_count_7d": 2,
            "inflow_7d": 20_000,
            "outflow_7d": 18_000,
        },
        {"outflow_count_7d": 5},
    ),
    Case(
        "funnel",
        {"sources_10d": 5, "targets_10d": 3, "inflow_7d": 50_000, "covered_3d": 0.8},
        {"targets_10d": 4},
    ),
    Case(
        "fan",
        {"targets_10d": 5, "sources_10d": 3, "outflow_7d": 50_000, "covered_3d": 0.8},
        {"sources_10d": 4},
    ),
    Case(
        "five-sources-one-target",
        {"sources_10d": 5, "outflow_7d": 200_000, "same_pair_5d": 160_000},
        {"same_pair_5d": 159_999},
    ),
    Case(
        "split-large-inflow",
        {"inflow_7d": 100_000, "targets_10d": 5, "amount": 199_999, "covered_3d": 0.8},
        {"amount": 200_000},
    ),
    Case("rush-to-one-payee", {"sources_1h": 3, "inflow_1h": 3_000}, {"sources_1h": 2}),
    Case(
        "payer-diverges",
        {"payer_targets_24h": 5, "payer_covered_3d": 0.8, "amount": 2_000},
        {"payer_covered_3d": nan},
    ),
    Case("same-pair-same-amount", {"same_pair_near_7d": 3, "amount": 5_000}, {"amount": 4_999}),
    Case(
        "similar-amounts-out",
        {"similar_24h": 1, "similar_last_3": 2, "since_outflow_s": 3_600, "amount": 2_000},
        {"since_outflow_s": 3_601},
    ),
    Case(
        "surge",
        {
            "age_days": 60,
            "turnover_30d": 100_000,
            "turnover_before_30d": 19_999,
            "turnover_before_60d": 0,
            "amount": 5_000,
        },
        {"turnover_before_60d": 20_000},
    ),
    Case("busy-day", {"day_count_z": 3, "amount": 1_000}, {"day_count_z": nan}),
    Case("above-own-habit", {"amount_z": 3, "amount": 10_000}, {"amount_z": 2.99}),
    Case(
        "first-is-a-test",
        {"inflow_count": 2, "outflow_count": 1, "amount": 10, "is_cash": 0},
        {"outflow_count": 2},
    ),
    Case("probe-burst", {"small_legs_1h": 5, "amount": 999.99, "is_cash": 0}, {"amount": 1_000}),
    Case(
        "night-account", {"night_share": 0.3, "local_hour": 23, "amount": 1_000}, {"local_hour": 5}
    ),
    Case(
        "gambling-mix",
        {
            "inflow_count_7d": 10,
            "inflow_7d": 20_000,
            "night_share": 0.2,
            "round_share": 0.1,
            "amount": 10_000,
        },
        {"inflow_7d": 20_001},
    ),
    Case(
        "round-amounts",
        {"round_share": 0.3, "inflow_count": 10, "outflow_count": 10, "amount": 5_000},
        {"outflow_count": 9},
    ),
    Case(
        "many-counterparties",
        {"sources_60d": 40, "targets_60d": 10, "covered_24h": 0.8, "amount": 2_000},
        {"targets_60d": 9},
    ),
    Case(
        "alternation",
        {"inflow_7d": 100_001, "outflow_7d": 99_001, "inflow_count_7d": 4, "outflow_count_7d": 4},
        {"outflow_count_7d": 3},
    ),
    Case(
        "burst-then-silence",
        {"silent_days": 20.1, "burst_10d": 500_001, "burst_legs_10d": 4},
        {"burst_legs_10d": 3},
    ),
    Case(
        "follow-up",
        {"since_outflow_s": 300, "amount": 5_000, "covered_1h": 0.5},
        {"covered_1h": 0.49},
    ),
    Case(
        "first-payment-to-payee",
        {"amount": 50_000, "outflow_count": 5},
        {"outflow_count": 4},
    ),
    Case(
        "unnatural-digits",
        {"benford": 15.51, "covered_24h": 0.8, "amount": 5_000},
        {"benford": 15.507},
    ),
)


def vector(facts: dict[str, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    features = np.full(FEATURE_COUNT, nan)
    for name, value in (PRIVATE | facts).items():
        features[FEATURE_INDEX[name]] = value
    return features


def strength(shipped: CompiledPatterns, pattern: str, facts: dict[str, float]) -> float:
    index = shipped.pattern_set.index_of(pattern)
    side = -1 if shipped.pattern_set.patterns[index].pattern.side.covers(Side.PAYER) else 1
    return float(shipped.judge(side, vector(facts))[1][index])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.pattern)
def test_a_pattern_fires_and_just_does_not(shipped: CompiledPatterns, case: Case) -> None:
    assert strength(shipped, case.pattern, case.fires) > 0.0
    assert strength(shipped, case.pattern, case.fires | case.just_not) == 0.0


def test_every_pattern_has_a_case(shipped: CompiledPatterns) -> None:
    declared = {checked.pattern.name for checked in shipped.pattern_set.patterns}
    assert declared == {case.pattern for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.pattern)
def test_an_institution_is_judged_by_what_is_left_of_it(
    shipped: CompiledPatterns, case: Case
) -> None:
    gated = {"sources_60d": 200.0, "targets_60d": 200.0, "circle": 200.0}
    weak = strength(shipped, case.pattern, case.fires | gated)
    assert weak <= strength(shipped, case.pattern, case.fires)
    signs_of_busy_accounts = (
        "pass-through",
        "fast-in",
        "scatter",
        "vergence",
        "structuring",
        "line",
    )
    if any(sign in case.pattern for sign in signs_of_busy_accounts):
        assert weak < 0.1


FAST = {
    "inflow_1h": 50_000.0, "passed_on_1h": 0.98, "covered_1h": 1.0, "covered_24h": 1.0,
    "amount": 49_000.0, "pass_through_gap_24h": 0.02, "pass_through_legs_24h": 1.0,
    "since_inflow_s": 240.0, "sources_24h": 1.0, "targets_24h": 1.0, "chain_depth": 1.0,
    "suspicion_out": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "lightest", "heaviest"),
    [
        # Salary in the morning, nearly all of it to the known savings account by noon.
        (FAST | {"pair_new": 0.0, "since_inflow_s": 9_000.0}, Measure.WATCH, Measure.WATCH),
        # Fresh money to a stranger within minutes.
        (FAST, Measure.DELAY, Measure.LIMIT),
        # The same as the second hop of a chain.
        (FAST | {"chain_depth": 2.0}, Measure.SUSPEND_NON_COUNTER, Measure.STOP_PAYMENT),
        # A car bought: far above what the account ever paid, to a stranger, out of savings.
        (
            {
                "amount": 150_000.0,
                "largest_outflow_91d": 6_000.0,
                "outflow_count": 60.0,
                "amount_z": 2.5,
            },
            Measure.WATCH,
            Measure.WATCH,
        ),
        # Rent and groceries.
        (
            {
                "amount": 3_000.0,
                "largest_outflow_91d": 3_000.0,
                "outflow_count": 60.0,
                "pair_new": 0.0,
            },
            Measure.NONE,
            Measure.NONE,
        ),
    ],
)
def test_one_sign_is_watched_and_signs_that_agree_go_up_the_ladder(
    shipped: CompiledPatterns, facts: dict[str, float], lightest: Measure, heaviest: Measure
) -> None:
    score, _ = shipped.judge(-1, vector(facts))
    measure = measure_for(score, shipped.pattern_set.thresholds)
    assert lightest.severity <= measure.severity <= heaviest.severity, (score, measure)
