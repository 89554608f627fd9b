"""A fitted model: what is saved of it, and what its heads say.

Two stages of two heads each. The departure head knows the payer's row, the arrival head both rows.
The first stage scores each leg by features alone; what accounts remember of those scores is what
the second stage reads besides. Its log-odds become probabilities by Platt's line.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from sluicegate.domain.alert import Reason
from sluicegate.errors import Problem
from sluicegate.judging.forest import Forest
from sluicegate.judging.model_inputs import (
    PAYEE_NAMES,
    PAYEE_PAST,
    PAYER_NAMES,
    PAYER_PAST,
    Bools,
    Rows,
    Singles,
)
from sluicegate.judging.model_words import model_reasons
from sluicegate.judging.patterns import PatternSet, version_of
from sluicegate.memory.features import feature_table_version

Floats = npt.NDArray[np.float64]
FORMAT: Final = 2
Side = Literal["departure", "arrival"]
SIDES: Final[tuple[Side, Side]] = ("departure", "arrival")
CLIP: Final = 1e-7


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

    texts: tuple[str, ...]
    """The boosters as LightGBM writes them."""
    line: tuple[float, float] | None = None

    @cached_property
    def forest(self) -> Forest:
        """Their trees."""
        return Forest.of(self.texts)

    @property
    def trees(self) -> int:
        """Of all boosters together."""
        return len(self.forest.trees)

    def scores(self, inputs: Singles, there: Bools, least: float = 0.0) -> Floats:
        """`[n]` in [0, 1]; NaN where there is no such side, below `least` perhaps 0 instead."""
        found = np.full(len(inputs), np.nan)
        found[there] = self.given(inputs[there], least)
        return found

    def given(self, inputs: Singles, least: float = 0.0) -> Floats:
        """The same, of legs that all have this side."""
        slope, intercept = self.line or (1.0, 0.0)
        odds = (float(log_odds(np.array(least))) - intercept) / slope if least else -np.inf
        return logistic(self.forest.odds(inputs, odds), slope, intercept)


@dataclass(frozen=True)
class Model:
    """The heads of both stages, and the card."""

    card: Card
    first: dict[Side, Head]
    second: dict[Side, Head]

    @cached_property
    def version(self) -> str:
        """First 16 hex digits of the SHA-256 of its text."""
        return version_of(self.text())

    @cached_property
    def pattern_weights(self) -> Floats:
        """In the order of the pattern set that the model was fitted with."""
        return np.array(list(self.card.pattern_weights.values()))

    def reasons(self, side: Side, inputs: Singles, said: Floats) -> list[tuple[Reason, ...]]:
        """The inputs (`[n, inputs]`) that raise what the head that judges says (`[n]`) most."""
        if not len(inputs):
            return []
        added = self.second[side].forest.contributions(inputs)
        names = input_names(side, past=True)
        legs = zip(inputs.astype(np.float64), added, said.tolist(), strict=True)
        return [model_reasons(names, *each) for each in legs]

    def text(self) -> str:
        """The model as its file holds it."""
        return Saved(
            format=FORMAT,
            card=self.card,
            first={side: list(head.texts) for side, head in self.first.items()},
            second={side: list(head.texts) for side, head in self.second.items()},
            lines={side: head.line or (1.0, 0.0) for side, head in self.second.items()},
        ).model_dump_json()


def load_model(path: Path, pattern_set: PatternSet) -> Model:
    """The model of a file, if it fits the feature table and the patterns in force.

    Raises:
        Problem: there is no such model, or it was fitted for other features or other patterns.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path}: cannot read the model", str(error)) from error
    return parse_model(text, pattern_set, str(path))


def parse_model(text: str, pattern_set: PatternSet, origin: str) -> Model:
    """The model that a file holds; `origin` is named in what goes wrong.

    Raises:
        Problem: as `load_model`.
    """
    try:
        saved = Saved.model_validate_json(text)
    except ValidationError as error:
        raise Problem(
            f"{origin}: is no model of sluicegate fit", str(error).partition("\n")[0]
        ) from error
    for what, fitted, used in (
        ("format of models", str(saved.format), str(FORMAT)),
        ("feature table", saved.card.feature_table_version, feature_table_version()),
        ("pattern set", saved.card.pattern_set_version, pattern_set.version),
    ):
        if fitted != used:
            raise Problem(
                f"{origin}: was fitted for another {what}",
                f"fitted for {fitted}, in force is {used}",
                "fit it again with sluicegate fit",
            )
    model = Model(
        saved.card,
        {side: Head(tuple(texts)) for side, texts in saved.first.items()},
        {side: Head(tuple(texts), saved.lines[side]) for side, texts in saved.second.items()},
    )
    _require_whole(model, origin)
    return model


def _require_whole(model: Model, origin: str) -> None:
    """Looks whether all heads are there and read what they will be given."""
    for past, heads in ((False, model.first), (True, model.second)):
        for side in SIDES:
            wanted = len(input_names(side, past=past))
            try:
                found = heads[side].forest.inputs
            except (KeyError, ValueError, IndexError) as error:
                raise Problem(
                    f"{origin}: is no model of sluicegate fit", f"head of {side}: {error}"
                ) from error
            if found != wanted:
                raise Problem(
                    f"{origin}: is no model of sluicegate fit",
                    f"the head of {side} reads {found} inputs, not {wanted}",
                )


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


def logistic(odds: Floats, slope: float = 1.0, intercept: float = 0.0) -> Floats:
    """Probabilities of log-odds along a line."""
    x = slope * odds + intercept
    small = np.exp(-np.abs(x))
    found: Floats = np.where(x >= 0, 1, small) / (1 + small)
    return found


def log_odds(scores: Floats) -> Floats:
    """Of scores in [0, 1], which are kept a little inside."""
    inside = np.clip(scores, CLIP, 1 - CLIP)
    odds: Floats = inside / (1 - inside)
    return np.log(odds)
