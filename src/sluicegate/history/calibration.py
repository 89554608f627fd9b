"""From scores to probabilities: Platt's line through log-odds, and weights of patterns.

Both keep their order of magnitude where there is little to learn from.
"""

from typing import Final

import numpy as np

from sluicegate.history.metrics import Bools, Floats
from sluicegate.judging.model import CLIP, log_odds, logistic

NEWTON_STEPS: Final = 50
PRIOR_FRAUDS: Final = 2.0
"""Weights of patterns start at 1 and hold to it as if that had been seen in so many frauds."""
EM_STEPS: Final = 200


def platt(scores: Floats, fraud: Bools) -> tuple[float, float]:
    """Slope and intercept by which log-odds become probabilities; the slope is above 0.

    Newton's method on the likelihood, with Platt's targets, which keep it finite when everything
    can be told apart (Platt 1999; Lin, Lin, Weng 2007).
    """
    frauds = int(fraud.sum())
    high, low = (frauds + 1) / (frauds + 2), 1 / (len(fraud) - frauds + 2)
    target = np.where(fraud, high, low)
    x = np.column_stack([log_odds(scores), np.ones(len(scores))])
    line = np.array([1.0, 0.0])
    for _ in range(NEWTON_STEPS):
        guess = logistic(x @ line)
        gradient = x.T @ (target - guess) - 1e-3 * (line - [1.0, 0.0])
        curvature = (x.T * (guess * (1 - guess))) @ x + 1e-3 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        line += step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return max(float(line[0]), 1e-3), float(line[1])


def calibrated(scores: Floats, line: tuple[float, float]) -> Floats:
    """Probabilities, in the same order as the scores."""
    return logistic(log_odds(scores), *line)


def pattern_weights(strengths: Floats, fraud: Bools) -> Floats:
    """Weights under which `1 - prod((1 - strength) ** weight)` says how likely fraud is.

    Each pattern is taken as so many chances to be fraud, `weight * -log(1 - strength)` on average,
    beside a chance that has no reason; expectation and maximisation over these (each step has a
    closed form and never goes down). A pattern that never fires keeps the weight 1.

    Args:
        strengths: `[n, patterns]` in [0, 1], one row for each leg on which a pattern fired.
        fraud: `[n]`
    """
    chances = -np.log1p(-np.minimum(strengths, 1 - CLIP))
    chances = np.column_stack([chances, np.full(len(chances), 1e-3)])
    weights: Floats = np.ones(chances.shape[1])
    prior = PRIOR_FRAUDS * np.append(np.ones(strengths.shape[1]), 0.0)
    seen = chances.sum(axis=0) + prior
    for _ in range(EM_STEPS):
        together = chances @ weights
        of_fraud = chances[fraud] / np.maximum(-np.expm1(-together[fraud]), CLIP)[:, None]
        weights = (weights * of_fraud.sum(axis=0) + prior) / np.maximum(seen, CLIP)
    return weights[:-1]


def weighted(strengths: Floats, weights: Floats) -> Floats:
    """Strengths under weights."""
    return -np.expm1(weights * np.log1p(-np.minimum(strengths, 1 - CLIP)))
