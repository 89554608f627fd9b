"""The judgements of a whole file: scores of each transaction, and which patterns made them."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sluicegate.history.accounts import account_numbers
from sluicegate.history.events import Events
from sluicegate.history.metrics import Bools, Floats, Ints
from sluicegate.history.model_walk import ModelWalk, Opinion
from sluicegate.history.walk import ANY_SCORE, EVERY_LEG, Progress, Stretch, walk
from sluicegate.judging.model import Model
from sluicegate.judging.model_inputs import OWN, Rows
from sluicegate.judging.opinion import joined
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.row import ARRIVAL, DEPARTURE
from sluicegate.settings import Settings
from sluicegate.streaming.scoring import scoring_of

ALMOST: Final = np.float32(1 - 1e-7)
"""Strengths of 1 are taken a little below, so that weights mean something."""


@dataclass(frozen=True)
class Judged:
    """What a pattern set says of the `n` transactions of a file, in order of time."""

    pattern_set: PatternSet
    scores: Floats
    """`[n]`: the higher score of both legs; 0 for what was refused."""
    accepted: Bools
    """`[n]`: False for what the contract refuses and for repeats."""
    fired_at: Ints
    """`[h]`: the transactions of the legs on which a pattern fired."""
    strengths: npt.NDArray[np.float32]
    """`[h, patterns]`: of shadows too, which are no part of a score."""
    model_scores: Floats | None = None
    """`[n]`: what a fitted model says of each transaction; None without one."""
    joined_scores: Floats | None = None
    """`[n]`: the higher score of both legs as a worker gives it with that model."""

    def weighted_scores(self, weights: Floats) -> Floats:
        """`[n]`: the scores that the patterns would give with these weights."""
        found = np.zeros(len(self.scores))
        shadows = [each.pattern.shadow for each in self.pattern_set.patterns]
        weights = np.where(shadows, 0.0, weights)
        legs = -np.expm1(np.log1p(-np.minimum(self.strengths, ALMOST)) @ weights)
        np.maximum.at(found, self.fired_at, legs)
        return found


def judge_events(
    settings: Settings, events: Events, progress: Progress, model: Model | None = None
) -> Judged:
    """Judges a file by the configured pattern set, and by a model if there is one.

    Raises:
        Problem: the patterns have a mistake.
    """
    scoring = scoring_of(settings, threshold=ANY_SCORE if model is None else EVERY_LEG)
    if len(scoring.scorer.shadows):  # a leg on which only a shadow fires has no score
        scoring = scoring_of(settings, threshold=EVERY_LEG)
    gathered = Gathered(scoring.pattern_set, len(events.frame))
    if model is None:
        for stretch in walk(settings, events, scoring, progress):
            gathered.take(stretch)
        return gathered.judged()
    scores, both = np.zeros((2, len(events.frame)))
    judging = ModelJudging(model, events)
    for stretch in walk(settings, events, scoring, progress):
        gathered.take(stretch)
        said = judging.judge(stretch)
        part = slice(stretch.start, stretch.start + len(stretch.refused))
        scores[part] = np.nan_to_num(said.transaction)
        both[part] = _joined(stretch, said)
    return replace(gathered.judged(), model_scores=scores, joined_scores=both)


def _joined(stretch: Stretch, said: Opinion) -> Floats:
    """The higher score of both legs, as patterns and model give it together."""
    found = np.zeros(len(stretch.refused))
    followed = stretch.followed
    for by_patterns, by_model in (
        (followed.payer_scores, said.departure),
        (followed.payee_scores, said.arrival),
    ):
        legs = joined(np.nan_to_num(by_patterns), np.nan_to_num(by_model[stretch.at]))
        found[stretch.at] = np.maximum(found[stretch.at], legs)
    return found


class ModelJudging:
    """A model that judges a file stretch by stretch."""

    def __init__(self, model: Model, events: Events) -> None:
        self._payer, self._payee = account_numbers(events)
        self._occurred_at_ms = events.frame["occurred_at_ms"].to_numpy()
        self.model = model
        self.walk = ModelWalk(model, 2 * len(events.frame) + 1)

    def judge(self, stretch: Stretch) -> Opinion:
        """Of a stretch in which every leg was a hit; the stretches come in their order."""
        rows = Rows.empty(len(stretch.refused))
        put_rows(rows, stretch)
        return self.judge_rows(rows, stretch.start)

    def judge_rows(self, rows: Rows, start: int) -> Opinion:
        """Of the transactions from `start` on."""
        part = slice(start, start + len(rows.payer))
        return self.walk.judge(
            rows, self._occurred_at_ms[part], self._payer[part], self._payee[part]
        )


def put_rows(rows: Rows, stretch: Stretch, start: int = 0) -> None:
    """Writes a stretch in which every leg was a hit, its first transaction at `start`."""
    followed = stretch.followed
    at = start + stretch.at[followed.hits]
    for side, features, is_there in (
        (DEPARTURE, rows.payer, rows.departs),
        (ARRIVAL, rows.payee, rows.arrives),
    ):
        chosen = followed.hit_sides == side
        features[at[chosen]] = followed.hit_features[chosen][:, OWN]
        is_there[at[chosen]] = True


class Gathered:
    """Judgements as they come, stretch by stretch."""

    def __init__(self, pattern_set: PatternSet, count: int) -> None:
        self._pattern_set = pattern_set
        self._scores = np.zeros(count)
        self._accepted = np.zeros(count, np.bool_)
        self._fired_at: list[Ints] = [np.empty(0, np.int64)]
        self._strengths = [np.empty((0, len(pattern_set.patterns)), np.float32)]

    def take(self, stretch: Stretch) -> None:
        """Notes the scores of a stretch, and the strengths of its legs on which a pattern fired."""
        followed, at = stretch.followed, stretch.start + stretch.at
        # A failed judgement is not a number; here it counts as nothing found.
        score = np.nan_to_num(np.fmax(followed.payer_scores, followed.payee_scores))
        self._scores[at] = score
        self._accepted[at] = True
        fired = followed.hit_strengths.any(axis=1)
        self._fired_at.append(at[followed.hits[fired]])
        self._strengths.append(np.abs(followed.hit_strengths[fired]).astype(np.float32))

    def judged(self) -> Judged:
        """All of it."""
        return Judged(
            self._pattern_set,
            self._scores,
            self._accepted,
            np.concatenate(self._fired_at),
            np.concatenate(self._strengths),
        )
