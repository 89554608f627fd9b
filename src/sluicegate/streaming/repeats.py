"""The bank's own repeats: a transaction sent again, recognised within a stated reach.

A record repeats another when the same id came within the `reach` records before it in its source
partition: with the same content it is a repeat, with other content its id is reused. The rule
looks at offsets alone, so a router that restarts and reads `reach` records back decides the same.
"""

from enum import IntEnum
from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt

from sluicegate.memory.prefetch import prefetch
from sluicegate.streaming.decoder import Decoded

_ENTRY: Final = np.dtype([("id", "<u8"), ("content", "<u8"), ("position", "<i8")])

_AT_ONCE: Final = 64
"""Rows whose places are asked for together."""


class Verdict(IntEnum):
    """What a record is to the ones before it."""

    NEW = 0
    REPEAT = 1
    ID_REUSED = 2


_NEW, _REPEAT, _ID_REUSED = (int(verdict) for verdict in Verdict)


@nb.njit(cache=True, nogil=True)
def _mix(h, word):
    h = (h ^ word) * np.uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> np.uint64(31))


@nb.njit(cache=True, nogil=True)
def _look(table, key):
    """Index of the key's entry, or of the free place where it would go."""
    mask = np.uint64(table.shape[0] - 1)
    at = key & mask
    while table[at].id != 0 and table[at].id != key:
        at = (at + np.uint64(1)) & mask
    return at


@nb.njit(cache=True, nogil=True)
def _keys(young, old, transaction, rows, keys):
    """The key of each row's id; its places in both tables are asked for before they are needed."""
    mask = np.uint64(young.shape[0] - 1)
    for k in range(rows.shape[0]):
        key = np.uint64(0x9E3779B97F4A7C15)
        for w in range(transaction.shape[1]):
            key = _mix(key, transaction[rows[k], w])
        keys[k] = key | np.uint64(1)  # 0 marks a free place
        prefetch(young, np.int64(keys[k] & mask), 0)
        prefetch(old, np.int64(keys[k] & mask), 0)


@nb.njit(cache=True, nogil=True)
def _content(payer, payee, amount_minor, occurred_at_ms, i):
    h = _mix(np.uint64(0x94D049BB133111EB), np.uint64(amount_minor[i]))
    h = _mix(h, np.uint64(occurred_at_ms[i]))
    for w in range(payer.shape[1]):
        h = _mix(h, payer[i, w])
    for w in range(payee.shape[1]):
        h = _mix(h, payee[i, w])
    return h


@nb.njit(cache=True, nogil=True)
def _judge(
    young, old, filled, half, reach, transaction, payer, payee, amount_minor, occurred_at_ms,
    positions, rows, verdicts,
):  # fmt: skip
    """Verdict on each row; returns how many entries `young` holds, and the row to go on from."""
    keys = np.empty(_AT_ONCE, np.uint64)
    for start in range(0, rows.shape[0], _AT_ONCE):
        stop = min(start + _AT_ONCE, rows.shape[0])
        _keys(young, old, transaction, rows[start:stop], keys)
        for k in range(start, stop):
            if filled >= half:
                return filled, k
            i, key = rows[k], keys[k - start]
            at = _look(young, key)
            found = young[at].id != 0
            earlier = young[at] if found else old[_look(old, key)]
            content = _content(payer, payee, amount_minor, occurred_at_ms, i)
            if earlier.id == 0 or positions[i] - earlier.position > reach:
                verdicts[k] = _NEW
            elif earlier.content == content:
                verdicts[k] = _REPEAT
            else:
                verdicts[k] = _ID_REUSED
            if not found:
                young[at].id = key
                filled += 1
            young[at].content = content
            young[at].position = positions[i]
    return filled, rows.shape[0]


class Repeats:
    """Remembers the ids of at least the last `reach` records of one source partition.

    Two tables: when the young one is full of `reach` ids it becomes the old one. Ids and contents
    are compared by 64-bit hashes: with a million ids in reach, one in 10^13 new ids is taken for
    a known one, and then its content differs, so it goes visibly to dead-letter.
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._half = max(1, reach)
        slots = 1 << (2 * self._half).bit_length()
        self._young = np.empty(slots, _ENTRY)
        self._old = np.empty(slots, _ENTRY)
        # both now: the first writing of so much memory would hold the stream for 50 ms
        _empty(self._young)
        _empty(self._old)
        self._filled = 0

    def judge(
        self, decoded: Decoded, positions: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.uint8]:
        """A `Verdict` for each chosen row; rows come in the order of their positions."""
        verdicts = np.zeros(len(rows), np.uint8)
        done = 0
        while done < len(rows):
            self._filled, taken = _judge(
                self._young, self._old, self._filled, self._half, self._reach,
                decoded.transaction, decoded.payer, decoded.payee, decoded.amount_minor,
                decoded.occurred_at_ms, positions, rows[done:], verdicts[done:],
            )  # fmt: skip
            done += taken
            if self._filled >= self._half:
                self._young, self._old = self._old, self._young
                _empty(self._young)
                self._filled = 0
        return verdicts


def _empty(table: npt.NDArray[np.void]) -> None:
    """Frees all places; numpy sets bytes ten times as fast as entries."""
    table.view(np.uint8).fill(0)
