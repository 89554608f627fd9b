"""Figures of a ranking: worked by hand, and against their definitions written plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.history.metrics import (
    CURVE_POINTS,
    Bools,
    Floats,
    average_precision,
    curve,
    highest,
    highest_each_day,
    precision_recall,
    roc_auc,
)

RANKED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)
"""Few different scores, so that most cases have ties."""


def arrays(ranked: list[tuple[int, bool]]) -> tuple[Floats, Bools]:
    scores, fraud = zip(*ranked, strict=True)
    return np.array(scores, np.float64) / 6, np.array(fraud)


def test_average_precision_of_a_ranking_worked_by_hand() -> None:
    # Frauds at ranks 1, 3 and 5: (1/1 + 2/3 + 3/5) / 3.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    fraud = np.array([True, False, True, False, True])
    assert average_precision(scores, fraud) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_equal_scores_are_one_step_whatever_their_order() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    fraud = np.array([True, False, True, False, False])
    # Half of the recall at precision 1, the other half when four are taken with two frauds.
    assert average_precision(scores, fraud) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)


def test_roc_auc_worked_by_hand() -> None:
    # Of 2 x 3 pairs, fraud wins four and draws one.
    scores = np.array([0.9, 0.4, 0.4, 0.6, 0.1])
    fraud = np.array([True, True, False, False, False])
    assert roc_auc(scores, fraud) == pytest.approx(4.5 / 6)


def test_without_fraud_there_is_nothing_to_say() -> None:
    scores, fraud = np.array([0.2, 0.1]), np.zeros(2, np.bool_)
    assert average_precision(scores, fraud) is None
    assert roc_auc(scores, fraud) is None
    assert roc_auc(scores, ~fraud) is None
    assert curve(scores, fraud) == []


@given(RANKED)
def test_average_precision_is_the_mean_over_frauds_of_precision_at_their_score(
    ranked: list[tuple[int, bool]],
) -> None:
    scores, fraud = arrays(ranked)
    of_each = [
        sum(f for s, f in ranked if s >= score) / sum(s >= score for s, _ in ranked)
        for score, is_fraud in ranked
        if is_fraud
    ]
    found = average_precision(scores, fraud)
    assert found == (pytest.approx(sum(of_each) / len(of_each)) if of_each else None)


@given(RANKED)
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(ranked: list[tuple[int, bool]]) -> None:
    scores, fraud = arrays(ranked)
    pairs = [(s > t) + 0.5 * (s == t) for s, f in ranked if f for t, g in ranked if not g]
    assert roc_auc(scores, fraud) == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


@given(RANKED, st.integers(1, 50))
def test_only_the_order_of_scores_counts(ranked: list[tuple[int, bool]], most: int) -> None:
    scores, fraud = arrays(ranked)
    bent = np.where(scores > 0, scores**3 / 2 + 0.1, 0)
    assert average_precision(bent, fraud) == average_precision(scores, fraud)
    assert roc_auc(bent, fraud) == roc_auc(scores, fraud)
    assert (highest(bent, most) == highest(scores, most)).all()


@given(RANKED, st.integers(0, 50))
def test_the_highest_are_never_below_those_left_out(
    ranked: list[tuple[int, bool]], most: int
) -> None:
    scores, _ = arrays(ranked)
    alerted = highest(scores, most)
    assert alerted.sum() == min(most, int((scores > 0).sum()))
    if alerted.any() and not alerted.all():
        assert scores[alerted].min() >= scores[~alerted].max()


def test_of_equal_scores_the_earlier_is_alerted_and_a_score_of_nothing_never() -> None:
    scores = np.array([0.5, 0.0, 0.5, 0.9])
    assert highest(scores, 2).tolist() == [True, False, False, True]
    assert highest(scores, 4).tolist() == [True, False, True, True]


def test_each_day_has_its_own_budget() -> None:
    scores = np.array([0.1, 0.9, 0.2, 0.3, 0.3, 0.0])
    days = np.array([1, 1, 1, 2, 2, 3])
    chosen = highest_each_day(scores, days, 1)
    assert chosen.tolist() == [False, True, False, True, False, False]


def test_the_curve_is_short_and_ends_at_full_recall() -> None:
    random = np.random.default_rng(1)
    fraud = random.random(5_000) < 0.2
    points = curve(random.random(5_000), fraud)
    assert len(points) <= CURVE_POINTS
    assert points[-1][2] == 1.0
    recalls = [recall for _, _, recall in points]
    assert recalls == sorted(recalls)


def test_thresholds_fall_and_reach_everything() -> None:
    thresholds, precision, recall = precision_recall(
        np.array([0.2, 0.7, 0.2]), np.array([True, False, False])
    )
    assert thresholds.tolist() == [0.7, 0.2]
    assert precision.tolist() == [0.0, pytest.approx(1 / 3)]
    assert recall.tolist() == [0.0, 1.0]
