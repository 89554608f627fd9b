"""What arrivals bring of their payers for a fitted model: columns of 4-byte numbers, kept short.

Counts, flags and what is missing have few different values in a message. Such a column is a list
of them and, for each record, one byte that says which; any other is its numbers as they are
(docs/legs-format.md). What is read is bit for bit what was written.
"""

import struct
from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt
from numba import types as nt

MOST_VALUES: Final = 256
SLOTS: Final = 1_024
PLAIN: Final = 0
"""Stands for the number of different values where there are too many."""

Singles = npt.NDArray[np.float32]
_HEAD: Final = struct.Struct("<II")


class NotBroughtError(ValueError):
    """The bytes do not hold what so many arrivals bring."""


def shorten(brought: Singles) -> bytes:
    """Bytes of `[n, m]` numbers; of none, none.

    First m and its padding, how many different values each column has, those values, the columns
    of numbers as they are, then those of one byte a record.
    """
    count, columns = brought.shape
    if not count or not columns:
        return b""
    words = np.ascontiguousarray(brought, np.float32).view(np.uint32)
    kinds = np.zeros(columns, np.uint32)
    values = np.empty((columns, MOST_VALUES), np.uint32)
    codes = np.empty((columns, count), np.uint8)
    _list(words, kinds, values, codes, np.empty(SLOTS, np.int64))
    listed = np.concatenate([values[c, :kind] for c, kind in enumerate(kinds.tolist())])
    plain = np.ascontiguousarray(words.T[kinds == PLAIN])
    parts = (kinds, listed, plain, codes[kinds > 1])
    return _HEAD.pack(columns, 0) + b"".join(part.tobytes() for part in parts)


def lengthen(octets: bytes, count: int) -> Singles:
    """`[n, m]`: what `shorten` was given.

    Raises:
        NotBroughtError: the bytes are something else.
    """
    if len(octets) < _HEAD.size or not count:
        raise NotBroughtError(f"{len(octets)} bytes are too few")
    columns, _ = _HEAD.unpack_from(octets)
    lists = _HEAD.size + 4 * columns
    if len(octets) < lists:
        raise NotBroughtError(f"{len(octets)} bytes do not hold {columns} columns")
    kinds = np.frombuffer(octets, "<u4", columns, _HEAD.size)
    if not columns or kinds.max() > MOST_VALUES:
        raise NotBroughtError(f"{columns} columns, or too many values in one")
    plain = lists + 4 * int(kinds.sum())
    coded = plain + 4 * count * int((kinds == PLAIN).sum())
    end = coded + count * int((kinds > 1).sum())
    if len(octets) != end:
        raise NotBroughtError(f"{len(octets)} bytes, not {end}, for {columns} columns of {count}")
    words = np.empty((count, columns), np.uint32)
    listed = np.frombuffer(octets[lists:plain], "<u4")
    numbers = np.frombuffer(octets[plain:coded], "<u4")
    codes = np.frombuffer(octets[coded:], np.uint8)
    if not _spread(kinds, listed, numbers, codes, words):
        raise NotBroughtError("a record names a value that its column has not")
    return words.view(np.float32)


_u4 = nt.Array(nt.uint32, 1, "C", readonly=True)
_u1 = nt.Array(nt.uint8, 1, "C", readonly=True)
_words = nt.Array(nt.uint32, 2, "C", readonly=True)


@nb.njit(
    nt.void(_words, nt.uint32[::1], nt.uint32[:, ::1], nt.uint8[:, ::1], nt.int64[::1]),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def _list(words, kinds, values, codes, slots):
    count, columns = words.shape
    for c in range(columns):
        for slot in range(SLOTS):
            slots[slot] = -1
        known = 0
        for i in range(count):
            word = words[i, c]
            # Fibonacci hashing: the digits of small numbers are their upper bits.
            at = (np.uint64(word) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(54)
            while slots[at] >= 0 and values[c, slots[at]] != word:
                at = (at + np.uint64(1)) & np.uint64(SLOTS - 1)
            if slots[at] < 0:
                if known == MOST_VALUES:
                    known = PLAIN
                    break
                slots[at] = known
                values[c, known] = word
                known += 1
            codes[c, i] = slots[at]
        kinds[c] = known


@nb.njit(
    nt.boolean(_u4, _u4, _u4, _u1, nt.uint32[:, ::1]),
    cache=True, nogil=True, error_model="numpy", _nrt=False,
)  # fmt: skip
def _spread(kinds, listed, numbers, codes, words):
    count, columns = words.shape
    first = at_number = at_code = 0
    for c in range(columns):
        known = kinds[c]
        if known == PLAIN:
            for i in range(count):
                words[i, c] = numbers[at_number + i]
            at_number += count
        elif known == 1:
            for i in range(count):
                words[i, c] = listed[first]
        else:
            for i in range(count):
                code = codes[at_code + i]
                if code >= known:
                    return False
                words[i, c] = listed[first + code]
            at_code += count
        first += known
    return True
