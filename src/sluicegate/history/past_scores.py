"""What accounts remember of the scores that they were given before: suspicion that fades.

A payer's account learns what its departure was given, a payee's what its arrival was: all that a
worker knows on that side. Four numbers an account, which halve in a week.
"""

from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PAST: Final = ("past_out", "past_in", "past_out_highest", "past_in_highest")
HALF_LIFE_MS: Final = 7 * 86_400_000
OUT, IN, OUT_HIGHEST, IN_HIGHEST = range(4)


class PastScores:
    """The memory of past scores of up to `accounts` accounts, by number."""

    def __init__(self, accounts: int) -> None:
        self._held = np.zeros((accounts, len(PAST)))
        self._held_at_ms = np.zeros(accounts, np.int64)

    def follow(
        self, occurred_at_ms: Ints, payer: Ints, payee: Ints, departure: Floats, arrival: Floats
    ) -> tuple[Floats, Floats]:
        """What payer and payee remember as of before each transaction, which is then remembered.

        Args:
            occurred_at_ms: `[n]`, in the order in which they happen.
            payer: Numbers of accounts, below 0 for none.
            payee: The same.
            departure: What each departure is given, in [0, 1].
            arrival: What each arrival is given.

        Returns:
            `[n, PAST]` for payers and for payees; NaN for none.
        """
        seen = np.full((2, len(payer), len(PAST)), np.nan)
        for number, side, scores in ((0, payer, departure), (1, payee, arrival)):
            if side.size and side.max() >= len(self._held):
                raise ValueError(f"account {side.max()} of {len(self._held)}")
            if len(scores) != len(seen[number]):
                raise ValueError("one score a transaction")
        _follow(
            self._held, self._held_at_ms, occurred_at_ms, payer, payee, departure, arrival, seen
        )
        return seen[0], seen[1]


@nb.njit(cache=True, nogil=True)
def _follow(  # noqa: PLR0917 - a kernel takes its arrays one by one
    held: Floats,
    held_at_ms: Ints,
    occurred_at_ms: Ints,
    payer: Ints,
    payee: Ints,
    departure: Floats,
    arrival: Floats,
    seen: Floats,
) -> None:
    for i in range(len(payer)):
        for side in range(2):
            account = payer[i] if side == 0 else payee[i]
            if account < 0:
                continue
            elapsed = max(occurred_at_ms[i] - held_at_ms[account], 0)
            fade = 0.5 ** (elapsed / HALF_LIFE_MS)
            for k in range(4):
                held[account, k] *= fade
                seen[side, i, k] = held[account, k]
            held_at_ms[account] = max(occurred_at_ms[i], held_at_ms[account])
            score = departure[i] if side == 0 else arrival[i]
            if score > 0:  # not where the score is not a number
                held[account, OUT + side] += score
                highest = OUT_HIGHEST + side
                held[account, highest] = max(held[account, highest], score)
