"""The row's features equal those of an oracle that remembers everything."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import NOON_MS, PROVENANCE, UTC_8, apart, records, scorer, step_all
from tests.memory.oracle import DAY, HOUR, Leg, Oracle, Values, deviation

from sluicegate.memory.accounts import AccountMemory, Floats
from sluicegate.memory.features import FEATURE_COUNT, FEATURE_INDEX, FEATURES
from sluicegate.memory.row import RING

NAMES = apart(9)
ACCOUNTS = NAMES[:3]

GAPS = st.one_of(
    st.sampled_from(
        [
            d + e
            for d in (0, HOUR, 8 * HOUR, DAY, 3 * DAY, 7 * DAY, 10 * DAY, 30 * DAY)
            for e in (0, 1)
        ]
    ),
    st.integers(0, 2 * HOUR),
    st.integers(0, 2 * HOUR),
    st.integers(0, 3 * DAY),
    st.integers(0, 200 * DAY),
)
LATENESS = st.one_of(st.just(0), st.just(0), st.integers(0, 2 * HOUR), st.integers(0, 130 * DAY))
# Below 2^24 minor units (167,772.16): single precision, which holds rests and largest amounts, is
# exact there.
MINORS = st.one_of(
    st.sampled_from(
        [
            edge + step
            for edge in (100_00, 9_000_00, 10_000_00, 19_000_00, 20_000_00, 49_000_00, 50_000_00)
            for step in (-1, 0, 1)
        ]
    ),
    st.sampled_from([500_00, 1_000_00, 1_500_00]),
    st.integers(1, 150_000_00),
)
SHARES = st.floats(0, 1, width=32)
HOPS = st.integers(0, 300).map(float)
PROVENANCES: st.SearchStrategy[Values] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({}, optional={
        name: HOPS if name == "payer_chain_depth" else SHARES for name in PROVENANCE
    }),
)  # fmt: skip
STEPS = st.tuples(
    st.sampled_from(ACCOUNTS), st.sampled_from([None, *NAMES]), st.booleans(), GAPS, LATENESS,
    st.integers(0, 999), MINORS, PROVENANCES,
)  # fmt: skip
STREAMS = st.one_of(
    st.lists(STEPS, min_size=1, max_size=20), st.lists(STEPS, min_size=25, max_size=60)
)
BUSY_STEPS = st.tuples(
    st.just(ACCOUNTS[0]), st.sampled_from([None, *NAMES]), st.sampled_from([True, True, False]),
    st.integers(0, HOUR // 2), st.one_of(st.just(0), st.integers(0, HOUR)),
    st.just(0), MINORS, PROVENANCES,
)  # fmt: skip
EDGES = st.sampled_from(
    [
        days * DAY + seconds + step
        for days, seconds in ((0, HOUR), (0, 8 * HOUR), (1, 0), (3, 0), (7, 0), (10, 0), (30, 0))
        for step in (0, 1)
    ]
)
EDGE_STEPS = st.tuples(
    st.just(ACCOUNTS[0]), st.sampled_from(NAMES[1:4]), st.booleans(),
    st.one_of(st.just(0), EDGES), st.one_of(st.just(0), EDGES),
    st.just(0), st.sampled_from([100_00, 500_00, 1_000_00]), PROVENANCES,
)  # fmt: skip

Step = tuple[str, str | None, bool, int, int, int, int, Values]


def stream(steps: Sequence[Step]) -> list[Leg]:
    """Legs in order of arrival: each `gap` seconds after the one before, told `late` s late."""
    clock = NOON_MS // 1000
    legs = []
    for account, other, inflow, gap, late, ms, minor, provenance in steps:
        clock += gap
        at_ms = (clock - late) * 1000 + ms
        legs.append(Leg(account, other, inflow, at_ms, minor, provenance if inflow else {}))
    return legs


RING_NAMES = {
    feature.name for feature in FEATURES if feature.source in {"ring", "pass-through"}
} | {"suspicion_out"}
LONG_NAMES = {feature.name for feature in FEATURES if feature.source == "long ring"}
DECAYED_NAMES = {feature.name for feature in FEATURES if "_decayed_" in feature.name}
SINGLE_NAMES = {
    *("new_source_share", "new_target_share", "suspicion_in", "suspicion_out"),
    *("night_share", "round_share"),
}
TURNOVER_NAMES = {"turnover_30d", "turnover_before_30d", "turnover_before_60d"}
DOUBLE_NAMES = {"passed_on_1h", "sources_60d", "targets_60d", "benford"}


def bound(name: str) -> tuple[float, float]:
    """How far a feature may be from the oracle's: relative, absolute."""
    if name in DECAYED_NAMES or name == "past_score":
        return 1e-5, 1e-30  # single precision; what has faded to nothing is nothing
    if name in SINGLE_NAMES:
        return 0, 1e-5
    if name in TURNOVER_NAMES:
        return 1e-5, 0  # a sum in single precision
    if name == "day_count_z":
        return 1e-4, 1e-4  # single precision over a deviation of 0.5 or more
    if name == "amount_z":
        return 1e-4, 1e-3  # single precision of a logarithm, over a deviation of 0.05 or more
    return (1e-12, 1e-12) if name in DOUBLE_NAMES else (0, 0)


def assert_near(found: Floats, expected: Values, names: set[str] | None = None) -> None:
    for name in names or expected:
        is_now, should = float(found[FEATURE_INDEX[name]]), expected[name]
        relative, absolute = bound(name)
        same = math.isnan(is_now) and math.isnan(should)
        assert same or math.isclose(is_now, should, rel_tol=relative, abs_tol=absolute), (
            f"{name} is {is_now!r}, the oracle says {should!r}"
        )


def overflows(oracle: Oracle, leg: Leg) -> bool:
    """Whether a leg that the ring has lost lies within the longest window that rings serve."""
    moment = oracle.moment(leg)
    lost = [*moment.side(inflow=True)[:-RING], *moment.side(inflow=False)[:-RING]]
    return any(moment.age(p.leg) <= 3 * DAY for p in lost)


def is_full(oracle: Oracle, leg: Leg) -> bool:
    """Whether a ring has lost any leg at all."""
    moment = oracle.moment(leg)
    return max(len(moment.side(inflow=True)), len(moment.side(inflow=False))) > RING


def judged(leg: Leg, oracle: Oracle) -> set[str]:
    """Names to compare: without amount_z where rounding decides if its deviation is enough."""
    edge = abs(deviation(oracle.moment(leg)) - 0.05) < 1e-4
    return {feature.name for feature in FEATURES} - ({"amount_z"} if edge else set())


@given(STREAMS, st.sampled_from([UTC_8, 0, -5 * HOUR]))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_every_feature_equals_the_oracle(steps: list[Step], utc_offset_s: int) -> None:
    memory = AccountMemory(100)
    oracle = Oracle(utc_offset_s)
    by = scorer(utc_offset_s=utc_offset_s)
    lost = False
    for leg in stream(steps):
        record = records([leg])
        features = memory.judge(record, by)[1]
        stepped = memory.step(record, by, partition=0, log_offset=0)
        np.testing.assert_array_equal(stepped.hit_features, features)
        lost = lost or overflows(oracle, leg)
        names = judged(leg, oracle) - (RING_NAMES if lost else set())
        names -= LONG_NAMES if is_full(oracle, leg) else set()
        assert_near(features[0], oracle.features(leg), names)
        oracle.remember(leg)


@given(st.lists(EDGE_STEPS, min_size=2, max_size=10))
@settings(derandomize=True, deadline=None, max_examples=250)
def test_at_the_edge_of_a_window_the_oracle_agrees_too(steps: list[Step]) -> None:
    oracle = Oracle(UTC_8)
    legs = stream(steps)
    for leg, features in zip(legs, step_all(AccountMemory(1), records(legs)), strict=True):
        assert_near(features, oracle.features(leg), judged(leg, oracle))
        oracle.remember(leg)


def test_the_oracle_knows_every_feature_and_no_other() -> None:
    leg = Leg(ACCOUNTS[0], None, inflow=True, at_ms=NOON_MS, minor=100)
    assert set(Oracle(UTC_8).features(leg)) == set(FEATURE_INDEX)
    assert len(FEATURE_INDEX) == FEATURE_COUNT


AT_MOST = {
    "inflow_1h", "outflow_1h", "inflow_24h", "outflow_24h", "inflow_count_1h", "outflow_count_1h",
    "inflow_count_24h", "outflow_count_24h", "sources_8h", "targets_8h", "sources_24h",
    "targets_24h", "small_same_pair_24h", "covered_1h", "covered_24h", "covered_3d", "chain_depth",
}  # fmt: skip
GAP = FEATURE_INDEX["pass_through_gap_24h"]


@given(st.lists(BUSY_STEPS, min_size=30, max_size=60))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_beyond_sixteen_legs_a_ring_is_exact_for_sixteen_and_a_bound_for_all(
    steps: list[Step],
) -> None:
    memory, sixteen, full = AccountMemory(10), Oracle(UTC_8, reach=RING), Oracle(UTC_8)
    legs = stream(steps)
    for leg, features in zip(legs, step_all(memory, records(legs)), strict=True):
        assert_near(features, sixteen.features(leg), judged(leg, sixteen))
        everything = full.features(leg)
        for name in AT_MOST:
            assert not features[FEATURE_INDEX[name]] > everything[name], name
        assert not features[GAP] < everything["pass_through_gap_24h"]
        sixteen.remember(leg)
        full.remember(leg)


@given(st.lists(STEPS, min_size=1, max_size=25), st.integers(1, 10**7))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_large_amounts_are_told_to_single_precision(steps: list[Step], factor: int) -> None:
    legs = [
        Leg(leg.account, leg.other, leg.inflow, leg.at_ms, leg.minor * factor, leg.provenance)
        for leg in stream(steps)
    ]
    memory, oracle = AccountMemory(10), Oracle(UTC_8)
    names = [feature.name for feature in FEATURES if feature.unit == "CNY"]
    names += ["covered_1h", "covered_24h", "covered_3d", "passed_on_1h", "pass_through_gap_24h"]
    for leg, features in zip(legs, step_all(memory, records(legs)), strict=True):
        expected = oracle.features(leg)
        for name in names if not overflows(oracle, leg) else []:
            np.testing.assert_allclose(
                features[FEATURE_INDEX[name]], expected[name], 1e-5, 1e-5, err_msg=name
            )
        oracle.remember(leg)


@given(st.data())
@settings(derandomize=True, deadline=None, max_examples=40)
def test_scaling_all_amounts_changes_no_ratio(data: st.DataObject) -> None:
    factor = data.draw(st.integers(2, 8))
    small = data.draw(
        st.lists(
            STEPS.flatmap(
                lambda s: st.integers(100_01, 999_99).map(lambda minor: (*s[:6], minor, s[7]))
            ),
            min_size=1,
            max_size=25,
        )
    )
    large = [(*step[:6], step[6] * factor, step[7]) for step in small]
    before = step_all(AccountMemory(10), records(stream(small)))
    after = step_all(AccountMemory(10), records(stream(large)))
    of_amounts = {"small_legs_1h", "round_share", "benford", "past_score"}
    for feature in FEATURES:
        if feature.name in of_amounts:
            continue
        at = FEATURE_INDEX[feature.name]
        scale = factor if feature.unit == "CNY" else 1
        spread = 1e-2 if feature.name == "amount_z" else 1e-9
        np.testing.assert_allclose(
            after[:, at], scale * before[:, at], 1e-4, spread, err_msg=feature.name
        )


@pytest.mark.parametrize("inflow", [True, False])
def test_a_counterparty_of_the_last_sixteen_legs_is_never_called_new(*, inflow: bool) -> None:
    others = [f"N{number}" for number in range(3_000)]
    memory = AccountMemory(1)
    legs = [Leg("me", other, inflow, NOON_MS + n * 1000, 100) for n, other in enumerate(others)]
    for n in range(0, len(legs), 100):
        step_all(memory, records(legs[n : n + 100]))
        latest = [
            Leg("me", leg.other, way, leg.at_ms, 100)
            for leg in legs[n + 100 - RING : n + 100]
            for way in (True, False)
        ]
        features = memory.judge(records(latest), scorer())[1]
        assert not features[:, FEATURE_INDEX["pair_new"]].any()


def test_a_new_counterparty_is_hardly_ever_called_known() -> None:
    memory = AccountMemory(1)
    met = [Leg("me", f"N{n}", inflow=True, at_ms=NOON_MS, minor=100) for n in range(500)]
    step_all(memory, records(met))
    fresh = [Leg("me", f"M{n}", inflow=True, at_ms=NOON_MS, minor=100) for n in range(20_000)]
    features = memory.judge(records(fresh), scorer())[1]
    known = 1 - features[:, FEATURE_INDEX["pair_new"]].mean()
    assert known == pytest.approx(1 / 255, rel=0.25)  # all 64 slots taken: one tag in 255 fits


def test_of_forty_counterparties_most_are_remembered_for_good() -> None:
    """64 slots, direct-mapped: of n counterparties about 64 (1 - (63/64)^n) stay."""
    memory = AccountMemory(1)
    met = [Leg("me", f"N{n}", inflow=True, at_ms=NOON_MS, minor=100) for n in range(40)]
    step_all(memory, records(met))
    features = memory.judge(records(met), scorer())[1]
    kept = 40 - features[:, FEATURE_INDEX["pair_new"]].sum()
    assert kept >= 64 * (1 - (63 / 64) ** 40) * 0.85


@pytest.mark.parametrize("distinct", [1, 5, 10, 20, 40, 80])
def test_the_estimate_of_distinct_counterparties_is_as_good_as_linear_counting(
    distinct: int,
) -> None:
    """Bias and standard error of Whang et al. 1990, over 300 accounts."""
    accounts = 300
    memory = AccountMemory(accounts)
    legs = [
        Leg(f"A{a}", f"N{a}-{n % distinct}", inflow=False, at_ms=NOON_MS, minor=100)
        for a in range(accounts)
        for n in range(2 * distinct)
    ]
    estimates = step_all(memory, records(legs))[:, FEATURE_INDEX["targets_60d"]]
    last = estimates[2 * distinct - 1 :: 2 * distinct]
    load = distinct / 64
    error = math.sqrt(64 * (math.exp(load) - load - 1))
    assert last.mean() == pytest.approx(distinct, abs=max(0.1 * distinct, 0.1))
    assert last.std() <= 1.3 * error + 0.1


def test_all_bits_set_says_266_counterparties() -> None:
    memory = AccountMemory(1)
    legs = [Leg("me", f"N{n}", inflow=True, at_ms=NOON_MS, minor=100) for n in range(2_000)]
    estimate = step_all(memory, records(legs))[-1, FEATURE_INDEX["sources_60d"]]
    assert estimate == pytest.approx(64 * math.log(64))


def test_days_and_blocks_are_local() -> None:
    late_evening = NOON_MS + (11 * HOUR + 59 * 60) * 1000
    legs = [
        Leg("me", "A", inflow=True, at_ms=late_evening, minor=20_000_00),
        Leg("me", "A", inflow=True, at_ms=late_evening + 9 * DAY * 1000, minor=1_00),
        Leg("me", "A", inflow=True, at_ms=late_evening + (9 * DAY + 60) * 1000, minor=1_00),
    ]
    features = step_all(AccountMemory(1), records(legs))
    assert features[:, FEATURE_INDEX["large_inflows_10d"]].tolist() == [1, 1, 0]


def test_the_story_of_money_that_passes_through_an_account() -> None:
    at = [NOON_MS + minutes * 60_000 for minutes in (0, 10, 20, 90)]
    two_hops = {"payer_chain_depth": 2.0}
    legs = [
        Leg("mule", "A", inflow=True, at_ms=at[0], minor=30_000_00, provenance=two_hops),
        Leg("mule", "B", inflow=True, at_ms=at[1], minor=20_000_00),
        Leg("mule", "C", inflow=False, at_ms=at[2], minor=40_000_00),
        Leg("mule", "D", inflow=False, at_ms=at[3], minor=20_000_00),
    ]
    features = step_all(AccountMemory(1), records(legs))

    def told(name: str) -> list[float | None]:
        column = features[:, FEATURE_INDEX[name]].tolist()
        return [None if math.isnan(value) else round(value, 6) for value in column]

    assert told("covered_1h") == [None, None, 1.0, 0.0]
    assert told("covered_24h") == [None, None, 1.0, 0.5]
    assert told("passed_on_1h") == [0.0, 0.0, 0.8, None]
    assert told("chain_depth") == [2.0, 0.0, 3.0, 0.0]
    assert told("pass_through_gap_24h") == [None, None, 0.25, 0.0]
    assert told("pass_through_legs_24h") == [None, None, 2.0, 1.0]
