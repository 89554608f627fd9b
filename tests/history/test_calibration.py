"""Probabilities from scores, and weights of patterns from what they were right about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.history.calibration import calibrated, pattern_weights, platt, weighted
from sluicegate.judging.model import log_odds

SCORES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def test_scores_that_are_probabilities_stay_what_they_are() -> None:
    random = np.random.default_rng(1)
    scores = random.random(50_000)
    slope, intercept = platt(scores, random.random(50_000) < scores)
    assert slope == pytest.approx(1, abs=0.05)
    assert intercept == pytest.approx(0, abs=0.05)


def test_overconfident_scores_are_drawn_in() -> None:
    random = np.random.default_rng(2)
    truth = random.random(50_000)
    fraud = random.random(50_000) < truth
    boasted = calibrated(truth, (3.0, 1.0))
    line = platt(boasted, fraud)
    assert np.abs(calibrated(boasted, line) - truth).max() < 0.03


@given(SCORES)
def test_calibration_never_changes_an_order_and_stays_within_0_and_1(
    ranked: list[tuple[float, bool]],
) -> None:
    scores = np.array([score for score, _ in ranked])
    found = calibrated(scores, platt(scores, np.array([fraud for _, fraud in ranked])))
    assert ((found >= 0) & (found <= 1)).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(found[order]) >= 0).all()


def test_log_odds_are_finite_at_the_ends() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 0.5, 1.0]))).all()


def test_a_pattern_that_is_right_half_of_the_time_comes_to_one_half() -> None:
    strengths = np.full((4_000, 1), 0.9)
    fraud = np.arange(4_000) % 2 == 0
    (weight,) = pattern_weights(strengths, fraud)
    assert weighted(np.array([0.9]), np.array([weight]))[0] == pytest.approx(0.5, abs=0.01)


def test_a_pattern_that_is_never_right_loses_its_weight_and_a_silent_one_keeps_it() -> None:
    strengths = np.zeros((1_000, 2))
    strengths[:, 0] = 0.5
    weights = pattern_weights(strengths, np.zeros(1_000, np.bool_))
    assert weights[0] < 0.01
    assert weights[1] == pytest.approx(1)


def test_of_two_patterns_that_fire_together_the_one_that_is_right_alone_is_believed() -> None:
    both, first, second = [[0.5, 0.5]] * 200, [[0.5, 0.0]] * 200, [[0.0, 0.5]] * 200
    fraud = np.array([True] * 200 + [True] * 200 + [False] * 200)
    right, wrong = pattern_weights(np.array(both + first + second), fraud)
    assert right > 3
    assert wrong < 0.1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 5))
def test_weighted_strengths_stay_strengths(strengths: list[float], weight: float) -> None:
    found = weighted(np.array(strengths), np.full(len(strengths), weight))
    assert ((found >= 0) & (found <= 1)).all()
    same = weighted(np.array(strengths), np.ones(len(strengths)))
    assert same == pytest.approx(np.array(strengths), abs=1e-6)
