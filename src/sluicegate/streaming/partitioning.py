"""Kafka's own partition function (murmur2, positive, mod P), one account or a million."""

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from sluicegate.memory.words import Words

_M: Final = np.uint64(0x5BD1E995)
_SEED: Final = np.uint64(0x9747B28C)
_U32: Final = np.uint64(0xFFFFFFFF)
_POSITIVE: Final = np.uint32(0x7FFFFFFF)

# Readonly arrays, as np.frombuffer makes of bytes, have a type of their own: writable ones fit it.
_BYTES = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)
_ROWS = numba.types.Array(numba.types.uint8, 2, "C", readonly=True)


@numba.njit(numba.uint32(_BYTES, numba.int64, numba.int64), cache=True, nogil=True)
def murmur2(octets: npt.NDArray[np.uint8], start: int, length: int) -> np.uint32:
    """Murmur2 of `octets[start:start + length]`, as org.apache.kafka.common.utils.Utils has it.

    32-bit arithmetic is done in 64 bits and cut off: numba widens unsigned products.
    """
    hashed = _SEED ^ np.uint64(length)
    tail = start + (length & ~3)
    for i in range(start, tail, 4):
        k = np.uint64(octets[i]) | np.uint64(octets[i + 1]) << np.uint64(8)
        k |= np.uint64(octets[i + 2]) << np.uint64(16) | np.uint64(octets[i + 3]) << np.uint64(24)
        k = k * _M & _U32
        k = (k ^ k >> np.uint64(24)) * _M & _U32
        hashed = hashed * _M & _U32 ^ k
    for i in range(start + length - 1, tail - 1, -1):
        hashed ^= np.uint64(octets[i]) << np.uint64(8 * (i - tail))
    if length & 3:
        hashed = hashed * _M & _U32
    hashed = (hashed ^ hashed >> np.uint64(13)) * _M & _U32
    return np.uint32(hashed ^ hashed >> np.uint64(15))


@numba.njit(numba.int32[::1](_ROWS, numba.int64), cache=True, nogil=True)
def _partitions(rows: npt.NDArray[np.uint8], partitions: int) -> npt.NDArray[np.int32]:
    count, width = rows.shape
    octets = rows.reshape(count * width)
    result = np.empty(count, np.int32)
    for row in range(count):
        start = row * width
        length = 0
        while length < width and octets[start + length] != 0:
            length += 1
        result[row] = (murmur2(octets, start, length) & _POSITIVE) % partitions
    return result


def partitions_of(accounts: Words, partitions: int) -> npt.NDArray[np.int32]:
    """The partition of each account (words of shape `[n, w]`); of no account, that of no bytes."""
    result: npt.NDArray[np.int32] = _partitions(
        np.ascontiguousarray(accounts, dtype="<u8").view(np.uint8), partitions
    )
    return result


def partition_of(account: str, partitions: int) -> int:
    """The partition of one account."""
    octets = np.frombuffer(account.encode(), np.uint8)
    return int(murmur2(octets, 0, len(octets)) & _POSITIVE) % partitions
