"""A fitted model beside the patterns, leg by leg: what a worker judges by when it has one.

The legs of a message are judged by the patterns first, which gives the features of each; then the
first stage scores them, their accounts tell what they remember and remember that, and the second
stage says what it thinks. A departure sends on what the arrival head reads of the payer.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from sluicegate.domain.alert import Reason
from sluicegate.errors import Problem
from sluicegate.judging.forest import take_inputs
from sluicegate.judging.model import SIDES, Model
from sluicegate.judging.model_inputs import CARRIED, OWN, PAYER_PAST, Ints, Singles
from sluicegate.memory.accounts import AccountMemory, Floats, Records, Scorer, Stepped
from sluicegate.memory.past_scores import LEAST_REMEMBERED
from sluicegate.memory.row import DEPARTURE, FLAG_OUTSIDE

LEAST_SAID: Final = 0.05
"""A lower probability is no reason to suspect anything, and adds nothing to a score."""
EVERY_LEG: Final = -1.0
_OWN: Final = len(OWN)
_PAST: Final = len(PAYER_PAST)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a model says of the hits of a message, and what it read there."""

    model: Model
    probability: Floats
    """`[h]`, 0 below `LEAST_SAID`."""
    departs: npt.NDArray[np.bool_]
    departure_inputs: Singles
    """`[departures among the hits, inputs]`"""
    arrival_inputs: Singles

    def reasons(self) -> list[tuple[Reason, ...]]:
        """For each hit the model's own reasons, none where it has nothing to say."""
        found: list[tuple[Reason, ...]] = [()] * len(self.probability)
        inputs_of = {"departure": self.departure_inputs, "arrival": self.arrival_inputs}
        for side in SIDES:
            there = self.departs if side == "departure" else ~self.departs
            inputs = inputs_of[side]
            at = np.flatnonzero(there)
            speaks = self.probability[at] > 0
            chosen = at[speaks].tolist()
            said = self.model.reasons(side, inputs[speaks], self.probability[at[speaks]])
            for hit, reasons in zip(chosen, said, strict=True):
                found[hit] = reasons
        return found


def step(
    memory: AccountMemory,
    legs: Records,
    scorer: Scorer,
    *,
    partition: int,
    log_offset: int,
    carried: Singles | None = None,
) -> Stepped:
    """Judges and remembers the legs of one message by the patterns, and by a model if there is one.

    `carried` (`[n, CARRIED]`) is what arrivals bring of their payers, if the message holds it.

    Raises:
        Problem: as `AccountMemory.step`, or what arrivals bring is not what the model reads.
    """
    if scorer.model is None:
        return memory.step(legs, scorer, partition=partition, log_offset=log_offset)
    if carried is not None and carried.shape[1] != CARRIED:
        raise Problem(
            "arrivals bring other features of their payers than this version reads",
            f"{carried.shape[1]} numbers instead of {CARRIED}",
            "a worker of another version has written them: run one version everywhere",
        )
    every = replace(scorer, threshold=EVERY_LEG)
    stepped = memory.step(legs, every, partition=partition, log_offset=log_offset)
    model = scorer.model
    departs = legs["side"] == DEPARTURE
    leaves, comes = np.flatnonzero(departs), np.flatnonzero(~departs)
    leaving, coming = _inputs(stepped.hit_features, leaves, comes, carried)
    first, scores = model.first, np.empty(len(legs))
    scores[leaves] = first["departure"].given(leaving[:, :_OWN], LEAST_REMEMBERED)
    scores[comes] = first["arrival"].given(coming[:, : 2 * _OWN], LEAST_REMEMBERED)
    seen = memory.follow_said(legs, scores)
    leaving[:, _OWN:] = seen[leaves]
    coming[:, 2 * _OWN + _PAST :] = seen[comes]
    said = np.empty(len(legs))
    said[leaves] = model.second["departure"].given(leaving, scorer.least_said)
    said[comes] = model.second["arrival"].given(coming, scorer.least_said)
    said[said < LEAST_SAID] = 0.0
    scores = joined(stepped.scores, said)
    hits = np.flatnonzero(~(scores < scorer.threshold))
    hit_departs = departs[hits]
    hit_leaving = leaving[np.searchsorted(leaves, hits[hit_departs])]
    hit_coming = coming[np.searchsorted(comes, hits[~hit_departs])]
    return replace(
        stepped,
        scores=scores,
        hits=hits,
        hit_features=stepped.hit_features[hits],
        hit_strengths=stepped.hit_strengths[hits],
        carried=leaving[legs["flags"][leaves] & FLAG_OUTSIDE == 0],
        opinion=Opinion(model, said[hits], hit_departs, hit_leaving, hit_coming),
    )


def joined(by_patterns: Floats, by_model: Floats) -> Floats:
    """`[n]`: the scores that patterns and model give together; a low probability adds nothing."""
    heard = np.where(by_model < LEAST_SAID, 0.0, by_model)
    return 1.0 - (1.0 - by_patterns) * (1.0 - heard)


def _inputs(
    features: Floats, leaves: Ints, comes: Ints, carried: Singles | None
) -> tuple[Singles, Singles]:
    """What the heads read of departures and of arrivals, but for the past of their own accounts.

    Of a departure the payer alone is known.
    """
    leaving = np.empty((len(leaves), CARRIED), np.float32)
    coming = np.full((len(comes), 2 * CARRIED), np.nan, np.float32)
    take_inputs(features, leaves, OWN, leaving)
    take_inputs(features, comes, OWN, coming[:, _OWN:])
    if carried is not None:
        coming[:, :_OWN] = carried[comes, :_OWN]
        coming[:, 2 * _OWN : 2 * _OWN + _PAST] = carried[comes, _OWN:]
    return leaving, coming
