from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from sluicegate.domain.alert import Alert, AlertFields, Reason, ReasonFields, alert_id
from sluicegate.domain.measure import Measure
from sluicegate.judging.judgement import (
    JudgedLeg,
    alert_fields,
    explain,
    facts,
    measure_for,
    questions_for,
    score_of,
)
from sluicegate.judging.patterns import Thresholds
from sluicegate.memory.features import FEATURE_COUNT, FEATURE_INDEX

if TYPE_CHECKING:
    from sluicegate.judging.kernels import CompiledPatterns

THRESHOLDS = Thresholds(
    alert=0.5, measures={Measure.WATCH: 0.25, Measure.VERIFY: 0.5, Measure.STOP_PAYMENT: 0.97}
)
LEG = JudgedLeg(
    transaction_id="T-1",
    account="A",
    side="outflow",
    counterparty="B",
    amount_minor=6_000_000,
    currency="CNY",
    occurred_at_ms=1_772_359_320_000,
    recorded_at_ms=1_772_359_320_004,
    detected_at_ms=1_772_359_320_009,
)


def vector(**values: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    features = np.full(FEATURE_COUNT, nan)
    for name, value in values.items():
        features[FEATURE_INDEX[name]] = value
    return features


def drained() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return vector(
        amount=60_000.0, inflow_1h=61_200.0, inflow_count_1h=4, sources_24h=4, targets_24h=1,
        passed_on_1h=0.98, covered_1h=1.0, since_inflow_s=360, pair_new=1, chain_depth=1,
        circle=4, sources_60d=4, targets_60d=1, pass_through_gap_24h=0.02, pass_through_legs_24h=4,
        suspicion_out=0.0,
    )  # fmt: skip


def test_the_reasons_are_sentences_strongest_first(shipped: CompiledPatterns) -> None:
    features = drained()
    _, strengths = shipped.judge(-1, features)
    first, second = explain(shipped.pattern_set, features, strengths)
    assert (first.pattern, second.pattern) == ("fast-in-fast-out", "pass-through")
    assert first.strength > second.strength
    assert first.en == (
        "4 inflows of 1 h totalling 61,200.00 (4 payers in 24 h): 98 % has left again, "
        "6 min after the latest came in"
    )
    assert first.zh.startswith("1 小时内转入 4 笔共 61,200.00 元")
    assert first.zh.endswith("其中 98 % 已转出\N{FULLWIDTH COMMA}距上次转入仅 6 分钟")


@given(st.integers(0, 2**32), st.sampled_from((-1, 1)))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_the_score_is_its_reasons(shipped: CompiledPatterns, seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.lognormal(2.0, 4.0, FEATURE_COUNT)
    score, strengths = shipped.judge(side, features)
    reasons = explain(shipped.pattern_set, features, strengths)
    assert score_of(reasons) == pytest.approx(score, abs=1e-12)


def test_no_reasons_is_no_score(shipped: CompiledPatterns) -> None:
    features = vector()
    score, strengths = shipped.judge(-1, features)
    assert score == score_of(explain(shipped.pattern_set, features, strengths)) == 0.0


@pytest.mark.parametrize(
    ("score", "measure"),
    [
        (0.0, Measure.NONE),
        (0.2499, Measure.NONE),
        (0.25, Measure.WATCH),
        (0.5, Measure.VERIFY),
        (0.9699, Measure.VERIFY),
        (0.97, Measure.STOP_PAYMENT),
        (1.0, Measure.STOP_PAYMENT),
    ],
)
def test_the_measure_is_the_heaviest_that_the_score_reaches(score: float, measure: Measure) -> None:
    assert measure_for(score, THRESHOLDS) is measure


def test_an_alert_is_the_same_every_time(shipped: CompiledPatterns) -> None:
    features = drained()
    score, strengths = shipped.judge(-1, features)
    first = to_json(alert_fields(shipped.pattern_set, LEG, score, features, strengths))
    second = to_json(alert_fields(shipped.pattern_set, LEG, score, features, strengths))
    assert first == second
    alert = Alert.model_validate_json(first)
    assert alert.model_dump_json().encode() == first
    assert alert.id == alert_id("T-1", "A", "outflow")
    assert alert.measure is Measure.LIMIT
    assert alert.pattern_set_version == shipped.pattern_set.version


def test_the_fields_are_those_of_the_contract_in_its_order() -> None:
    assert list(AlertFields.__annotations__) == list(Alert.model_fields)
    assert list(ReasonFields.__annotations__) == list(Reason.model_fields)


def test_a_score_that_is_no_share_gives_no_alert(shipped: CompiledPatterns) -> None:
    features = drained()
    _, strengths = shipped.judge(-1, features)
    for score in (nan, 1.5, -0.1):
        with pytest.raises(ValueError, match="no share"):
            alert_fields(shipped.pattern_set, LEG, score, features, strengths)


def test_facts_are_the_known_features_behind_the_reasons(shipped: CompiledPatterns) -> None:
    features = drained()
    _, strengths = shipped.judge(-1, features)
    told = facts(shipped.pattern_set, features, strengths)
    assert told["inflow_1h"] == 61_200.0
    assert "largest_outflow_91d" not in told  # no pattern that fired reads it
    assert list(told) == sorted(told, key=FEATURE_INDEX.__getitem__)
    features[FEATURE_INDEX["suspicion_out"]] = nan
    assert "suspicion_out" not in facts(shipped.pattern_set, features, strengths)


def test_questions_come_strongest_reason_first_and_once(shipped: CompiledPatterns) -> None:
    features = drained()
    _, strengths = shipped.judge(-1, features)
    reasons = explain(shipped.pattern_set, features, strengths)
    asked = questions_for(shipped.pattern_set, (*reasons, *reasons), "en")
    assert asked[0] == "Why must money you have just received leave at once?"
    assert len(asked) == len(set(asked)) == 4
    assert len(questions_for(shipped.pattern_set, reasons, "zh")) == 4
    foreign = reasons[0].model_copy(update={"pattern": "elderly-new-payee"})
    assert questions_for(shipped.pattern_set, (foreign,), "zh") == ()
