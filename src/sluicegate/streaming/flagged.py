"""Which accounts are involved or punished: the router marks legs of those who deal with them."""

from typing import Final

import numba as nb
import numpy as np

from sluicegate.memory.accounts import Records
from sluicegate.memory.kernel import hash_words
from sluicegate.memory.row import (
    FLAG_INVOLVED,
    FLAG_PUNISHED,
    FOR_EVER,
    INVOLVED,
    LEG,
    PUNISHED,
)
from sluicegate.memory.words import ACCOUNT_WORDS, Words

_leg = nb.from_dtype(LEG)
_legs = nb.types.Array(_leg, 1, "C")


@nb.njit(
    nb.void(_legs, nb.uint64[::1], nb.uint64[:, ::1], nb.int64[::1], nb.int64[::1]),
    cache=True,
    nogil=True,
    _nrt=False,
)
def _mark(legs, hashes, accounts, involved_until, punished_until):
    for i in range(legs.shape[0]):
        leg = legs[i]
        other = leg.counterparty
        if other[0] == 0:
            continue
        key = hash_words(other)
        at = np.searchsorted(hashes, key)
        while at < hashes.shape[0] and hashes[at] == key:
            same = True
            for w in range(accounts.shape[1]):
                same = same and accounts[at, w] == other[w]
            if same:
                leg_s = leg.occurred_at_ms // 1000
                if leg_s < involved_until[at]:
                    leg.flags |= FLAG_INVOLVED
                if leg_s < punished_until[at]:
                    leg.flags |= FLAG_PUNISHED
            at += 1


@nb.njit(nb.uint64[::1](nb.uint64[:, ::1]), cache=True, nogil=True)
def _hashes(accounts):
    found = np.empty(accounts.shape[0], np.uint64)
    for i in range(accounts.shape[0]):
        found[i] = hash_words(accounts[i])
    return found


_NEVER_ENDS: Final = 2**62


class Flagged:
    """The accounts that directives in force call involved or punished."""

    def __init__(self) -> None:
        self._told: dict[bytes, dict[bytes, tuple[int, int]]] = {}
        """By account and id: kind, and the second before which it holds."""
        self._lay_out()

    def __len__(self) -> int:
        """Number of accounts."""
        return len(self._told)

    def take(self, directives: Records) -> None:
        """Takes directives (`DIRECTIVE`) in their order."""
        for directive in directives:
            account, id_ = directive["account"].tobytes(), directive["id"].tobytes()
            own = self._told.setdefault(account, {})
            own.pop(id_, None)
            if directive["kind"] in {INVOLVED, PUNISHED} and not directive["is_ended"]:
                until = int(directive["until_s"])
                own[id_] = int(directive["kind"]), _NEVER_ENDS if until == FOR_EVER else until
            if not own:
                del self._told[account]
        self._lay_out()

    def mark(self, legs: Records) -> None:
        """Sets the flags of legs whose counterparty is involved or punished at their time."""
        if len(self._hashes):
            _mark(legs, self._hashes, self._accounts, self._until[INVOLVED], self._until[PUNISHED])

    def _lay_out(self) -> None:
        accounts: Words = np.frombuffer(b"".join(self._told), np.uint64).reshape(-1, ACCOUNT_WORDS)
        hashes = _hashes(np.array(accounts))
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._accounts = np.ascontiguousarray(accounts[order])
        self._until = {
            kind: np.array(
                [
                    max((until for each, until in own.values() if each == kind), default=0)
                    for own in self._told.values()
                ],
                np.int64,
            )[order]
            for kind in (INVOLVED, PUNISHED)
        }
