"""The judgements of a whole file: scores of each transaction, and which patterns made them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sluicegate.history.events import Events
from sluicegate.history.metrics import Bools, Floats, Ints
from sluicegate.history.walk import ANY_SCORE, Progress, Stretch, walk
from sluicegate.judging.patterns import PatternSet
from sluicegate.settings import Settings
from sluicegate.streaming.scoring import scoring_of


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
    """`[h, patterns]`"""


def judge_events(settings: Settings, events: Events, progress: Progress) -> Judged:
    """Judges a file by the configured pattern set.

    Raises:
        Problem: the patterns have a mistake.
    """
    scoring = scoring_of(settings, threshold=ANY_SCORE)
    gathered = Gathered(scoring.pattern_set, len(events.frame))
    for stretch in walk(settings, events, scoring, progress):
        gathered.take(stretch)
    return gathered.judged()


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
        self._strengths.append(followed.hit_strengths[fired].astype(np.float32))

    def judged(self) -> Judged:
        """All of it."""
        return Judged(
            self._pattern_set,
            self._scores,
            self._accepted,
            np.concatenate(self._fired_at),
            np.concatenate(self._strengths),
        )
