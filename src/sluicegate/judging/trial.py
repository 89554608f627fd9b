"""Tries a pattern set before anybody is judged by it: the compiled kernel against polars."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from sluicegate.errors import Problem
from sluicegate.judging.judgement import explain
from sluicegate.judging.kernels import CompiledPatterns
from sluicegate.judging.oracle import strengths_frame
from sluicegate.judging.patterns import Side
from sluicegate.memory.features import FEATURES

NULL_SHARE: Final = 0.1
SPREAD: Final = {"CNY": 200_000.0, "share": 1.0, "0 or 1": 1.0, "s": 100_000.0, "days": 400.0}
"""How far values of a unit are drawn; 50 for the others."""
AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial came to."""

    legs: int
    fired: dict[str, int]
    """How often each pattern fired, on values drawn at random."""


def try_patterns(compiled: CompiledPatterns, legs: int, seed: int) -> Trial:
    """Judges so many random feature vectors by the kernel and by polars, and fills all reasons.

    Raises:
        Problem: they differ, so the set must not be used.
    """
    names = [checked.pattern.name for checked in compiled.pattern_set.patterns]
    fired = np.zeros(len(names), np.int64)
    random = np.random.default_rng(seed)
    for start in range(0, legs, AT_ONCE):
        features = _drawn(random, min(AT_ONCE, legs - start))
        frame = pl.DataFrame(features, schema=[feature.name for feature in FEATURES])
        for side, code in ((Side.PAYER, -1), (Side.PAYEE, 1)):
            expected = strengths_frame(compiled.pattern_set, side, frame).select(names).to_numpy()
            found = np.array([compiled.judge(code, row)[1] for row in features])
            _require_same(names, found, expected)
            fired += (found != 0).sum(axis=0)
            for row, strengths in zip(features[:20], found[:20], strict=True):
                explain(compiled.pattern_set, row, strengths)
    return Trial(legs, dict(zip(names, fired.tolist(), strict=True)))


def _drawn(
    random: np.random.Generator, legs: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    spreads = np.array([SPREAD.get(feature.unit, 50.0) for feature in FEATURES])
    drawn = random.random((legs, len(FEATURES))) ** 3 * spreads
    whole = np.array([feature.unit in {"legs", "accounts", "0 or 1"} for feature in FEATURES])
    drawn[:, whole] = np.round(drawn[:, whole])
    drawn[random.random(drawn.shape) < NULL_SHARE] = np.nan
    return np.ascontiguousarray(drawn)


def _require_same(
    names: list[str],
    found: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    expected: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    wrong = ~np.isclose(found, expected, rtol=1e-9, atol=1e-12)
    if wrong.any():
        leg, pattern = (int(each[0]) for each in np.nonzero(wrong))
        raise Problem(
            f"pattern {names[pattern]} is not compiled to what it says",
            f"the kernel gives {found[leg, pattern]!r}, polars {expected[leg, pattern]!r}",
            "do not use this set; this is a mistake of sluicegate",
        )
