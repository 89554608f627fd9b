"""The trees of a model say what LightGBM says, whatever is missing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.judging import boosting
from sluicegate.judging.forest import Forest

INPUTS = 6


def grown(seed: int, **how: object) -> boosting.Booster:
    """A booster over numbers of which some are missing and many are 0."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(600, INPUTS)).round(1)
    inputs[draw.random(inputs.shape) < 0.2] = 0.0
    inputs[:, :4][draw.random((600, 4)) < 0.3] = np.nan
    fraud = np.nan_to_num(inputs[:, 0]) + inputs[:, 5] ** 2 > 1
    learnt = boosting.Dataset(inputs, fraud.astype(float))
    how = {"objective": "binary", "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, **how}
    return boosting.train(how, learnt, 12)


BOOSTERS = [grown(1), grown(2, zero_as_missing=True), grown(3, use_missing=False)]
TEXTS = [each.model_to_string() for each in BOOSTERS]
NUMBERS = st.one_of(
    st.just(np.nan), st.just(0.0), st.floats(-3, 3, width=32), st.sampled_from([0.5, 1e-36, -1e-36])
)
LEGS = st.lists(st.lists(NUMBERS, min_size=INPUTS, max_size=INPUTS), min_size=1, max_size=20).map(
    lambda legs: np.array(legs, np.float32)
)


@given(LEGS)
@settings(deadline=None)
def test_a_forest_says_the_mean_of_what_lightgbm_says(legs: np.ndarray) -> None:
    said = np.mean([np.asarray(each.predict(legs, raw_score=True)) for each in BOOSTERS], axis=0)
    np.testing.assert_allclose(Forest.of(TEXTS).odds(legs), said, rtol=1e-12, atol=1e-12)


@given(LEGS, st.floats(-6, 6))
@settings(deadline=None)
def test_what_may_matter_is_told_exactly_and_the_rest_is_surely_below(
    legs: np.ndarray, least: float
) -> None:
    forest = Forest.of(TEXTS)
    whole, part = forest.odds(legs), forest.odds(legs, least)
    told = part > -np.inf
    np.testing.assert_array_equal(part[told], whole[told])
    assert (whole[~told] < least).all()
    assert told[whole >= least].all()


@given(LEGS)
@settings(deadline=None)
def test_what_inputs_add_comes_to_what_is_said(legs: np.ndarray) -> None:
    forest = Forest.of(TEXTS)
    said, added = forest.odds(legs), forest.contributions(legs)
    nobody = said - added.sum(axis=1)
    np.testing.assert_allclose(nobody, nobody[0], atol=1e-4)


def test_the_inputs_that_decide_add_most() -> None:
    """As LightGBM's own, dearer contributions say, of a leg that is fraud because of both."""
    leg = np.array([[2, 0.1, 0.1, 0.1, 0.1, 2]], np.float32)
    added = Forest.of(TEXTS).contributions(leg)[0]
    said = [np.asarray(each.predict(leg, pred_contrib=True))[0, :-1] for each in BOOSTERS]
    assert set(np.argsort(-added)[:2]) == set(np.argsort(-np.mean(said, axis=0))[:2]) == {0, 5}


def test_most_legs_are_not_asked_to_the_end() -> None:
    legs = np.random.default_rng(5).normal(size=(500, INPUTS)).astype(np.float32)
    forest = Forest.of(TEXTS)
    assert np.isneginf(forest.odds(legs, 2.0)).mean() > 0.5


def test_boosters_without_a_split_say_their_one_number() -> None:
    flat = boosting.train(
        {"objective": "binary", "verbose": -1, "num_threads": 1},
        boosting.Dataset(np.zeros((50, 2)), np.arange(50) % 2.0),
        3,
    )
    said = Forest.of([flat.model_to_string()]).odds(np.zeros((2, 2), np.float32))
    np.testing.assert_allclose(said, flat.predict(np.zeros((2, 2)), raw_score=True), atol=1e-12)


@pytest.mark.parametrize("text", ["", "no trees", "max_feature_idx=1\nTree=0\nnum_leaves=2\n"])
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        Forest.of([text])


def test_a_tree_that_leads_back_to_its_root_is_refused() -> None:
    text = re.sub(r"left_child=\S+", "left_child=0", TEXTS[0], count=1)
    with pytest.raises(ValueError, match="goes round in circles"):
        Forest.of([text])


def test_other_inputs_than_it_was_made_for_are_refused() -> None:
    with pytest.raises(ValueError, match="3 inputs for trees of 6"):
        Forest.of(TEXTS).odds(np.zeros((1, 3), np.float32))
