"""The pattern set in force, compiled, as the account memory wants it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sluicegate.judging.kernels import compile_patterns
from sluicegate.judging.opinion import LEAST_SAID
from sluicegate.judging.patterns import PatternSet, load_patterns
from sluicegate.judging.publication import published_as
from sluicegate.memory.accounts import Scorer
from sluicegate.memory.words import name_hash
from sluicegate.settings import Settings

if TYPE_CHECKING:
    from sluicegate.judging.model import Model


@dataclass(frozen=True, slots=True)
class Scoring:
    """A pattern set and the scorer made of it."""

    pattern_set: PatternSet
    scorer: Scorer
    version: str
    """Names the set, and the model beside it if there is one."""


def scoring_of(settings: Settings, *, threshold: float | None = None) -> Scoring:
    """The configured pattern set; `threshold` counts other legs as hits than the set's alerts.

    Raises:
        Problem: the file of patterns has a mistake.
    """
    return scoring_by(load_patterns(settings.patterns.file), settings, threshold=threshold)


def judging_of(settings: Settings) -> Scoring:
    """What judges in a worker until a set is published: the configured file and model.

    Raises:
        Problem: the file of patterns has a mistake, or the model was fitted for other versions.
    """
    pattern_set, model = configured(settings)
    return scoring_by(pattern_set, settings, model=model)


def configured(settings: Settings) -> "tuple[PatternSet, Model | None]":
    """The configured file and model, read and checked.

    Raises:
        Problem: as `judging_of`.
    """
    pattern_set, model = load_patterns(settings.patterns.file), settings.scoring.model
    return pattern_set, None if model is None else model_at(model, pattern_set)


def model_at(path: Path, pattern_set: PatternSet) -> "Model":
    """The model of a file, for these patterns.

    Raises:
        Problem: there is none, or it was fitted for other versions.
    """
    from sluicegate.judging.model import load_model  # noqa: PLC0415 - most installations have none

    return load_model(path, pattern_set)


def scoring_by(
    pattern_set: PatternSet,
    settings: Settings,
    *,
    threshold: float | None = None,
    model: "Model | None" = None,
) -> Scoring:
    """A pattern set, compiled, as `scoring_of`; with a model that judges beside it."""
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
            model=model,
            least_said=LEAST_SAID,
        ),
        published_as(pattern_set, model)[0],
    )
