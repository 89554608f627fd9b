"""A model fitted to nothing real, in a moment: every head leans on much that it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sluicegate.judging import boosting
from sluicegate.judging.model import SIDES, Card, Head, Model, input_names
from sluicegate.memory.features import feature_table_version

if TYPE_CHECKING:
    from sluicegate.judging.patterns import PatternSet

LEGS = 400
TREES = 6


def small_model(pattern_set: PatternSet | None = None, *, seed: int = 1) -> Model:
    """Finds most legs suspect, by how their inputs happen to lie; of the patterns, if named."""
    return Model(
        Card(
            feature_table_version=feature_table_version(),
            pattern_set_version="" if pattern_set is None else pattern_set.version,
            fitted_on="nothing",
            trained_from_ms=0,
            trained_until_ms=1,
            label_delay_ms=0,
            transactions=LEGS,
            frauds=LEGS // 2,
            trees={},
            seed=seed,
            pattern_weights={},
            metrics={},
        ),
        {side: Head((_booster(len(input_names(side, past=False)), seed),)) for side in SIDES},
        {
            side: Head((_booster(len(input_names(side, past=True)), seed),), (1.0, 1.5))
            for side in SIDES
        },
    )


def _booster(inputs: int, seed: int) -> str:
    draw = np.random.default_rng(seed)
    legs = draw.exponential(size=(LEGS, inputs)) * draw.choice([0, 1, 1_000], size=(LEGS, inputs))
    fraud = (legs > 1).sum(axis=1) + draw.normal(size=LEGS) > np.median((legs > 1).sum(axis=1))
    how = {
        "objective": "binary", "min_data_in_leaf": 5, "num_leaves": 16, "feature_fraction": 0.3,
        "learning_rate": 0.3, "verbose": -1, "num_threads": 1, "seed": seed, "deterministic": True,
    }  # fmt: skip
    learnt = boosting.Dataset(legs, fraud.astype(float))
    return str(boosting.train(how, learnt, TREES).model_to_string())
