"""What accounts remember of the scores that a model gave them before: suspicion that fades.

A payer's account learns what its departure was given, a payee's what its arrival was: all that a
worker knows on that side. Two sums an account, of money going out and coming in, which halve in a
week. A worker keeps them in the account rows, a file in rows of their own.

A sum that halves is kept as the binary logarithm of what it would have been at the epoch: it need
not be touched as time goes by, and needs no time beside it. 4 bytes of it are right to 0.02 %.
"""

from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt
from numba import types as nt

from sluicegate.memory.kernel import ROW_TYPE
from sluicegate.memory.row import ARRIVAL, DEPARTURE, SAID

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

PAST: Final = ("past_out", "past_in")
HALF_LIFE_S: Final = 7 * 86_400
LEAST_REMEMBERED: Final = 0.01
"""A lower score is not remembered: most legs have one, and none of them is a sign of anything."""
ABOVE_NOTHING: Final = 64.0
"""Half-lives before the epoch from which is counted: what is kept is above 0, and 0 is nothing."""

PAST_ROW: Final = np.dtype(SAID)
_i8 = nt.int64[::1]
_f8 = nt.float64[::1]
_f4x2 = nt.float32[:, ::1]


def _follow(rows, found, occurred_at_ms, sides, scores, seen):
    for i in range(found.shape[0]):
        if found[i] < 0:
            continue
        row = rows[found[i]]
        now = ABOVE_NOTHING + (occurred_at_ms[i] // 1000) / HALF_LIFE_S
        for k in range(2):
            seen[i, k] = 2.0 ** (row.said[k] - now) if row.said[k] > 0 else 0.0
        if scores[i] >= LEAST_REMEMBERED:  # not where it is not a number
            k = 1 if sides[i] == ARRIVAL else 0
            row.said[k] = now + np.log2(seen[i, k] + scores[i])


def _compiled(row_type):
    signature = nt.void(nt.Array(row_type, 1, "C"), _i8, _i8, nt.int8[::1], _f8, _f4x2)
    return nb.njit(signature, cache=True, nogil=True, error_model="numpy", _nrt=False)(_follow)


follow_accounts: Final = _compiled(ROW_TYPE)
"""For each leg: tells what its account's row (by number, negative for none) remembers as of
before it, then remembers its score."""
_follow_alone: Final = _compiled(nb.from_dtype(PAST_ROW))


class PastScores:
    """The memory of past scores of up to `accounts` accounts, by number."""

    def __init__(self, accounts: int) -> None:
        self._held = np.zeros(accounts, PAST_ROW)

    def follow(
        self, occurred_at_ms: Ints, payer: Ints, payee: Ints, departure: Floats, arrival: Floats
    ) -> tuple[Singles, Singles]:
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
        for side, scores in ((payer, departure), (payee, arrival)):
            if side.size and side.max() >= len(self._held):
                raise ValueError(f"account {side.max()} of {len(self._held)}")
            if len(scores) != len(occurred_at_ms):
                raise ValueError("one score a transaction")
        # A transaction is its departure, and then its arrival.
        count = len(occurred_at_ms)
        seen = np.full((2 * count, len(PAST)), np.nan, np.float32)
        _follow_alone(
            self._held,
            np.column_stack([payer, payee]).astype(np.int64).ravel(),
            np.repeat(occurred_at_ms.astype(np.int64), 2),
            np.tile(np.array([DEPARTURE, ARRIVAL], np.int8), count),
            np.column_stack([departure, arrival]).astype(np.float64).ravel(),
            seen,
        )
        return seen[0::2], seen[1::2]
