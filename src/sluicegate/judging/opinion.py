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
from sluicegate.judging.model import SIDES, Model
from sluicegate.judging.model_inputs import CARRIED, OWN, Rows, Singles
from sluicegate.memory.accounts import AccountMemory, Floats, Records, Scorer, Stepped
from sluicegate.memory.past_scores import LEAST_REMEMBERED
from sluicegate.memory.row import DEPARTURE, FLAG_OUTSIDE

LEAST_SAID: Final = 0.05
"""A lower probability is no reason to suspect anything, and adds nothing to a score."""
EVERY_LEG: Final = -1.0


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
    own = stepped.hit_features[:, OWN].astype(np.float32)
    rows = _rows(own, departs, carried)
    seen = memory.follow_said(legs, _first(model, rows))
    brought = np.full((len(legs), seen.shape[1]), np.nan, np.float32)
    if carried is not None:
        brought[:] = carried[:, len(OWN) :]
    leaving = np.hstack([rows.payer, seen])
    coming = np.hstack([rows.payer, rows.payee, brought, seen])
    said = model.second["arrival"].scores(coming, rows.arrives, scorer.least_said)
    said[departs] = model.second["departure"].scores(leaving, departs, scorer.least_said)[departs]
    said[said < LEAST_SAID] = 0.0
    scores = joined(stepped.scores, said)
    hits = np.flatnonzero(~(scores < scorer.threshold))
    sends = departs & (legs["flags"] & FLAG_OUTSIDE == 0)
    hit_departs = departs[hits]
    return replace(
        stepped,
        scores=scores,
        hits=hits,
        hit_features=stepped.hit_features[hits],
        hit_strengths=stepped.hit_strengths[hits],
        carried=leaving[sends],
        opinion=Opinion(
            model, said[hits], hit_departs, leaving[hits[hit_departs]], coming[hits[~hit_departs]]
        ),
    )


def joined(by_patterns: Floats, by_model: Floats) -> Floats:
    """`[n]`: the scores that patterns and model give together; a low probability adds nothing."""
    heard = np.where(by_model < LEAST_SAID, 0.0, by_model)
    return 1.0 - (1.0 - by_patterns) * (1.0 - heard)


def _rows(own: Singles, departs: npt.NDArray[np.bool_], carried: Singles | None) -> Rows:
    """Both sides of each leg as far as they are known: of a departure the payer's alone."""
    payer = np.full_like(own, np.nan) if carried is None else carried[:, : len(OWN)].copy()
    payer[departs] = own[departs]
    return Rows(payer, own, departs, ~departs)


def _first(model: Model, rows: Rows) -> Floats:
    first = model.first
    coming = np.hstack([rows.payer, rows.payee])
    scores = first["arrival"].scores(coming, rows.arrives, LEAST_REMEMBERED)
    leaving = first["departure"].scores(rows.payer, rows.departs, LEAST_REMEMBERED)
    return np.where(rows.departs, leaving, scores)
