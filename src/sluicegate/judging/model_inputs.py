"""What a fitted model reads of a transaction: the payer's row, the payee's, and past scores.

The departure head reads the payer's alone, since no more is known when money leaves; the arrival
head reads both. Provenance is left out: it is a part of the payer's row. So is the payer's score:
a model must not depend on the patterns that happen to be in force, and neither on the scores that
accounts remember of them. And so are directives, which people decide on because of what a model
said.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from sluicegate.memory.features import FEATURES
from sluicegate.memory.past_scores import PAST

Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

OWN: Final = np.array(
    [
        index
        for index, feature in enumerate(FEATURES)
        if not feature.provenance and feature.source not in {"directive", "judgement"}
    ]
)
OWN_NAMES: Final = tuple(FEATURES[i].name for i in OWN)
PAYER_NAMES: Final = tuple(f"payer.{name}" for name in OWN_NAMES)
PAYEE_NAMES: Final = tuple(f"payee.{name}" for name in OWN_NAMES)
PAYER_PAST: Final = tuple(f"payer.{name}" for name in PAST)
PAYEE_PAST: Final = tuple(f"payee.{name}" for name in PAST)

CARRIED: Final = len(PAYER_NAMES) + len(PAYER_PAST)
"""What an arrival brings of its payer where a model judges: the features, then the past."""

RISING: Final = frozenset(
    {"chain_depth", "small_same_pair_24h", "suspicion_in", "suspicion_out", *PAST}
)
"""Inputs that can only make a transaction more suspect: signs of what has happened before."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The features of both sides of `n` transactions, NaN for a side that there is not."""

    payer: Singles
    """`[n, OWN]`"""
    payee: Singles
    departs: Bools
    arrives: Bools

    @classmethod
    def empty(cls, count: int) -> "Rows":
        """Room for `count` transactions of which nothing is known."""
        payer, payee = (np.full((count, len(OWN)), np.nan, np.float32) for _ in range(2))
        return cls(payer, payee, np.zeros(count, np.bool_), np.zeros(count, np.bool_))

    def part(self, chosen: slice | Ints) -> "Rows":
        """Some of the transactions."""
        return Rows(
            self.payer[chosen], self.payee[chosen], self.departs[chosen], self.arrives[chosen]
        )


def monotone(names: tuple[str, ...]) -> list[int]:
    """For each input: 1 where more of it never makes a transaction less suspect, else 0."""
    return [int(name.partition(".")[2] in RISING) for name in names]
