"""Reads records out of the memory of librdkafka: a word, a stretch of bytes, a call.

Addresses are 64-bit integers; nothing is checked. Functions of C come in as addresses too, so that
kernels stay free of them and can be cached on disk.
"""

from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

_WORD = ir.IntType(64)
_BYTES = ir.IntType(8).as_pointer()


@intrinsic
def _word_at(_context: Any, _address: Any) -> Any:
    """The eight bytes at an address."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], _WORD.as_pointer()))

    return numba.types.uint64(numba.types.uint64), generate


@intrinsic
def _copy_octets(_context: Any, _to: Any, _source: Any, _count: Any) -> Any:
    """Copies so many bytes to one address from another; the two stretches do not overlap."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        to, source = (builder.inttoptr(each, _BYTES) for each in args[:2])
        cgutils.raw_memcpy(builder, to, source, args[2], 1)
        return context.get_dummy_value()

    words = (numba.types.uint64,) * 3
    return numba.types.void(*words), generate


@intrinsic
def _call(_context: Any, _function: Any, _first: Any, _second: Any) -> Any:
    """What a C function of two words gives as a word; one that takes less ignores the rest."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_WORD, [_WORD, _WORD])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])

    words = (numba.types.uint64,) * 3
    return numba.types.uint64(*words), generate


# librdkafka's rd_kafka_message_t, whose layout is part of its interface.

_ERROR: Final = np.uint64(0)
_PARTITION: Final = np.uint64(16)
_PAYLOAD: Final = np.uint64(24)
_LENGTH: Final = np.uint64(32)
_KEY: Final = np.uint64(40)
_KEY_LENGTH: Final = np.uint64(48)
_OFFSET: Final = np.uint64(56)
_INT32: Final = np.uint64(0xFFFFFFFF)
_NOTHING: Final = np.uint64(0)


@numba.njit(cache=True, nogil=True)
def measured(pointers):
    """Bytes of all values and of all keys, and the first record that is an error, or 0."""
    values = keys = np.uint64(0)
    for record in pointers:
        if _word_at(record + _ERROR) & _INT32 != _NOTHING:
            return values, keys, record
        values += _word_at(record + _LENGTH)
        keys += _word_at(record + _KEY_LENGTH)
    return values, keys, _NOTHING


@numba.njit(cache=True, nogil=True)
def _copied(address, length, at, octets, start, row, is_null):
    """Copies one text to the end of those that are there; where the next one begins."""
    is_null[row] = address == _NOTHING
    start[row] = at
    if address != _NOTHING:
        _copy_octets(np.uint64(octets.ctypes.data) + at, address, length)
        at += length
    start[row + 1] = at
    return at


@numba.njit(cache=True, nogil=True)
def taken(
    pointers, timestamp, partitions, offsets, recorded_at_ms,
    values, value_starts, value_is_null, keys, key_starts, key_is_null,
):  # fmt: skip
    """Copies records into columns; `timestamp` is the address of the function that tells theirs."""
    value_at = key_at = np.uint64(0)
    for row, record in enumerate(pointers):
        partitions[row] = np.int32(_word_at(record + _PARTITION) & _INT32)
        offsets[row] = _word_at(record + _OFFSET)
        recorded_at_ms[row] = _call(timestamp, record, _NOTHING)
        value, length = _word_at(record + _PAYLOAD), _word_at(record + _LENGTH)
        value_at = _copied(value, length, value_at, values, value_starts, row, value_is_null)
        key, length = _word_at(record + _KEY), _word_at(record + _KEY_LENGTH)
        key_at = _copied(key, length, key_at, keys, key_starts, row, key_is_null)


@numba.njit(cache=True, nogil=True)
def given_back(pointers, destroy):
    """Hands records back; `destroy` is the address of the function that frees one."""
    for record in pointers:
        _call(destroy, record, _NOTHING)
