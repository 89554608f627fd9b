"""A model on its way through a file of transactions, both sides of each at once."""

from dataclasses import dataclass

import numpy as np

from sluicegate.domain.alert import Reason
from sluicegate.history.metrics import Floats, Ints
from sluicegate.judging.model import Model, Side, arrival_inputs, departure_inputs
from sluicegate.judging.model_inputs import Rows, Singles
from sluicegate.memory.past_scores import LEAST_REMEMBERED, PastScores


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a model says of `n` transactions; NaN for a side that there is not."""

    departure: Floats
    arrival: Floats
    departure_inputs: Singles
    arrival_inputs: Singles

    @property
    def transaction(self) -> Floats:
        """`[n]`: of the arrival, which knows both sides, else of the departure, else NaN."""
        return np.where(np.isnan(self.arrival), self.departure, self.arrival)


class ModelWalk:
    """A model on its way through a file, with what accounts remember of their past scores."""

    def __init__(self, model: Model, accounts: int) -> None:
        self._model = model
        self._past = PastScores(accounts)

    def judge(self, rows: Rows, occurred_at_ms: Ints, payer: Ints, payee: Ints) -> Opinion:
        """Judges the next transactions, and remembers what the first stage says of them.

        Args:
            rows: `n` transactions, in the order in which they happen.
            occurred_at_ms: `[n]`
            payer: Numbers of accounts, below 0 for none.
            payee: The same.
        """
        first, second = self._model.first, self._model.second
        departed = first["departure"].scores(
            departure_inputs(rows, None), rows.departs, LEAST_REMEMBERED
        )
        arrived = first["arrival"].scores(
            arrival_inputs(rows, None), rows.arrives, LEAST_REMEMBERED
        )
        past = self._past.follow(
            occurred_at_ms,
            np.where(rows.departs, payer, -1),
            np.where(rows.arrives, payee, -1),
            departed,
            arrived,
        )
        leaving, coming = departure_inputs(rows, past[0]), arrival_inputs(rows, past)
        return Opinion(
            second["departure"].scores(leaving, rows.departs),
            second["arrival"].scores(coming, rows.arrives),
            leaving,
            coming,
        )

    def explain(self, opinion: Opinion, chosen: Ints) -> list[tuple[Reason, ...]]:
        """The top reasons of the model for the chosen transactions, by their last judgement."""
        arrived = ~np.isnan(opinion.arrival[chosen])
        found: dict[int, tuple[Reason, ...]] = {}
        self._explain("departure", chosen[~arrived], opinion, found)
        self._explain("arrival", chosen[arrived], opinion, found)
        return [found[at] for at in chosen.tolist()]

    def _explain(
        self, side: Side, chosen: Ints, opinion: Opinion, found: dict[int, tuple[Reason, ...]]
    ) -> None:
        if not len(chosen):
            return
        leaves = side == "departure"
        inputs = (opinion.departure_inputs if leaves else opinion.arrival_inputs)[chosen]
        said = (opinion.departure if leaves else opinion.arrival)[chosen]
        reasons = self._model.reasons(side, inputs, said)
        found.update(zip(chosen.tolist(), reasons, strict=True))
