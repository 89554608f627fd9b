"""The pattern set in force, compiled, as the account memory wants it."""

from dataclasses import dataclass

from sluicegate.judging.kernels import compile_patterns
from sluicegate.judging.patterns import PatternSet, load_patterns
from sluicegate.memory.accounts import Scorer
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
    compiled = compile_patterns(load_patterns(settings.patterns.file))
    return Scoring(
        compiled.pattern_set,
        Scorer(
            kernel=compiled.kernel,
            pattern_count=compiled.count,
            threshold=compiled.pattern_set.thresholds.alert if threshold is None else threshold,
            utc_offset_s=round(settings.worker.utc_offset_hours * 3600),
        ),
    )
