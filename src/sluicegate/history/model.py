"""A fitted model: what is saved of it, and how it judges a file as it is walked through.

Two stages of two heads each. The departure head knows the payer's row, the arrival head both rows.
The first stage scores each leg by features alone; what accounts remember of those scores is what
the second stage reads besides. Its log-odds become probabilities by Platt's line.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from sluicegate.domain.alert import Reason
from sluicegate.errors import Problem
from sluicegate.history import boosting
from sluicegate.history.calibration import logistic
from sluicegate.history.inputs import (
    PAYEE_NAMES,
    PAYEE_PAST,
    PAYER_NAMES,
    PAYER_PAST,
    Bools,
    Rows,
    Singles,
)
from sluicegate.history.metrics import Floats, Ints
from sluicegate.history.past_scores import PastScores
from sluicegate.history.words import model_reasons
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.features import feature_table_version

FORMAT: Final = 1
THREADS: Final = 2
Side = Literal["departure", "arrival"]


class Card(BaseModel):
    """What must be known of a model before it is used; times are ms since the epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    feature_table_version: str
    pattern_set_version: str
    fitted_on: str
    trained_from_ms: int
    trained_until_ms: int
    """The first moment whose transactions were not trained on."""
    label_delay_ms: int
    transactions: int
    frauds: int
    trees: dict[str, int]
    seed: int
    pattern_weights: dict[str, float]
    metrics: dict[str, dict[str, float | None]]
    """On the transactions held out, by what ranks them; empty when nothing was."""


class Saved(BaseModel):
    """The file of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int
    card: Card
    first: dict[Side, list[str]]
    second: dict[Side, list[str]]
    lines: dict[Side, tuple[float, float]]


@dataclass(frozen=True)
class Head:
    """Boosters that agree on a mean, and the line that makes it a probability, if there is one."""

    boosters: tuple[boosting.Booster, ...]
    line: tuple[float, float] | None = None

    @property
    def trees(self) -> int:
        """Of all boosters together."""
        return sum(booster.num_trees() for booster in self.boosters)

    def scores(self, inputs: Singles, there: Bools) -> Floats:
        """`[n]` in [0, 1]; NaN where there is no such side."""
        found = np.full(len(inputs), np.nan)
        if there.any():
            present = inputs[there]
            odds = self._mean(present, raw_score=True)
            found[there] = logistic(odds, *(self.line or (1.0, 0.0)))
        return found

    def contributions(self, inputs: Singles) -> Floats:
        """`[n, inputs]`: what each input adds to the log-odds of each row."""
        return self._mean(inputs, pred_contrib=True)[:, :-1]

    def _mean(self, inputs: Singles, **how: bool) -> Floats:
        said = [
            np.asarray(booster.predict(inputs, num_threads=THREADS, **how), np.float64)
            for booster in self.boosters
        ]
        mean: Floats = np.mean(said, axis=0)
        return mean


@dataclass(frozen=True)
class Model:
    """The heads of both stages, and the card."""

    card: Card
    first: dict[Side, Head]
    second: dict[Side, Head]

    @cached_property
    def pattern_weights(self) -> Floats:
        """In the order of the pattern set that the model was fitted with."""
        return np.array(list(self.card.pattern_weights.values()))

    def text(self) -> str:
        """The model as its file holds it."""
        return Saved(
            format=FORMAT,
            card=self.card,
            first={side: _texts(head) for side, head in self.first.items()},
            second={side: _texts(head) for side, head in self.second.items()},
            lines={side: head.line or (1.0, 0.0) for side, head in self.second.items()},
        ).model_dump_json()


def load_model(path: Path, pattern_set: PatternSet) -> Model:
    """The model of a file, if it fits the feature table and the patterns in force.

    Raises:
        Problem: there is no such model, or it was fitted for other features or other patterns.
    """
    try:
        saved = Saved.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path}: cannot read the model", str(error)) from error
    except ValidationError as error:
        raise Problem(
            f"{path}: is no model of sluicegate fit", str(error).partition("\n")[0]
        ) from error
    for what, fitted, used in (
        ("format of models", str(saved.format), str(FORMAT)),
        ("feature table", saved.card.feature_table_version, feature_table_version()),
        ("pattern set", saved.card.pattern_set_version, pattern_set.version),
    ):
        if fitted != used:
            raise Problem(
                f"{path}: was fitted for another {what}",
                f"fitted for {fitted}, in force is {used}",
                "fit it again with sluicegate fit",
            )
    return Model(
        saved.card,
        {side: Head(_boosters(path, texts)) for side, texts in saved.first.items()},
        {
            side: Head(_boosters(path, texts), saved.lines[side])
            for side, texts in saved.second.items()
        },
    )


def _texts(head: Head) -> list[str]:
    return [booster.model_to_string() for booster in head.boosters]


def _boosters(path: Path, texts: list[str]) -> tuple[boosting.Booster, ...]:
    try:
        return tuple(boosting.Booster(model_str=text) for text in texts)
    except boosting.LightGBMError as error:
        raise Problem(f"{path}: is no model of sluicegate fit", str(error)) from error


def departure_inputs(rows: Rows, payer_past: Singles | None) -> Singles:
    """What the departure head reads; without past scores in the first stage."""
    return rows.payer if payer_past is None else np.hstack([rows.payer, payer_past])


def arrival_inputs(rows: Rows, past: tuple[Singles, Singles] | None) -> Singles:
    """What the arrival head reads."""
    return np.hstack([rows.payer, rows.payee, *(past or ())])


def input_names(side: Side, *, past: bool) -> tuple[str, ...]:
    """The names of those columns."""
    if side == "departure":
        return (*PAYER_NAMES, *(PAYER_PAST if past else ()))
    return (*PAYER_NAMES, *PAYEE_NAMES, *((*PAYER_PAST, *PAYEE_PAST) if past else ()))


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
        departed = first["departure"].scores(departure_inputs(rows, None), rows.departs)
        arrived = first["arrival"].scores(arrival_inputs(rows, None), rows.arrives)
        seen = self._past.follow(
            occurred_at_ms,
            np.where(rows.departs, payer, -1),
            np.where(rows.arrives, payee, -1),
            departed,
            arrived,
        )
        past = seen[0].astype(np.float32), seen[1].astype(np.float32)
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
        added = self._model.second[side].contributions(inputs)
        names = input_names(side, past=True)
        for number, at in enumerate(chosen.tolist()):
            values = inputs[number].astype(np.float64)
            found[at] = model_reasons(names, values, added[number], float(said[number]))
