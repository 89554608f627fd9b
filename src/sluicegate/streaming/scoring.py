"""The pattern set in force, compiled, as the account memory wants it."""

from dataclasses import dataclass

import numpy as np

from sluicegate.judging.kernels import compile_patterns
from sluicegate.judging.patterns import PatternSet, load_patterns
from sluicegate.memory.accounts import Scorer
from sluicegate.memory.words import name_hash
from sluicegate.settings import Settings


@dataclass(frozen=True, slots=True)
class Scoring:
    """A pattern set and the scorer made of it."""

    pattern_set: PatternSet
    scorer: Scorer


def scoring_of(settings: Settings, *, threshold: float | None = None) -> Scoring:
    """The configured pattern set; `threshold` counts other legs as hits than the set's alerts.

    Raises:
        Problem: the file of patterns has a mistake.
    """
    return scoring_by(load_patterns(settings.patterns.file), settings, threshold=threshold)


def scoring_by(
    pattern_set: PatternSet, settings: Settings, *, threshold: float | None = None
) -> Scoring:
    """A pattern set, compiled, as `scoring_of`."""
    compiled = compile_patterns(pattern_set)
    return Scoring(
        compiled.pattern_set,
        Scorer(
            kernel=compiled.kernel,
            pattern_count=compiled.count,
            threshold=compiled.pattern_set.thresholds.alert if threshold is None else threshold,
            utc_offset_s=round(settings.worker.utc_offset_hours * 3600),
            pattern_names=np.array(
                [name_hash(each.pattern.name) for each in compiled.pattern_set.patterns], np.uint32
            ),
            shadows=np.flatnonzero(
                [each.pattern.shadow for each in compiled.pattern_set.patterns]
            ).astype(np.int64),
        ),
    )
