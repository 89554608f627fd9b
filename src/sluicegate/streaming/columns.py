"""Records as columns of words, each stored as narrow as its values are.

In a batch most words of a record are the same in all of them, or differ in a few digits. What a
general compressor finds out for twenty times the price is known here: a column is its least value
and, for each record, how far it is above that, in 0, 1, 2, 4 or 8 bytes (docs/legs-format.md).
"""

from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt

WORD: Final = 8
TYPES: Final = {"<u8": 8, "<u4": 4, "<u2": 2, "<u1": 1}
"""In this order the columns lie, so that all of them are aligned."""

Octets = npt.NDArray[np.uint8]
Records = npt.NDArray[np.void]


class NotColumnsError(ValueError):
    """The bytes do not hold columns of so many records."""


def narrow(records: Records) -> bytes:
    """Bytes of records, the size of which is a multiple of 8 bytes; of none, none."""
    if not len(records):
        return b""
    words = np.ascontiguousarray(records).view("<u8").reshape(len(records), -1)
    columns = words.shape[1]
    least, widths = np.empty(columns, np.uint64), np.zeros(_padded(columns), np.uint8)
    _measure(words, least, widths)
    areas = _areas(widths.tobytes(), len(records))
    octets = np.empty(areas[-1].stop, np.uint8)
    _narrow(words, least, widths, *_views(octets, areas))
    return least.tobytes() + widths.tobytes() + octets.tobytes()


def widen(octets: Octets, record: np.dtype[np.void], count: int) -> tuple[Records, int]:
    """`count` records, and how many of the bytes they took.

    Raises:
        NotColumnsError: they are no columns, or not so many.
    """
    if not count:
        return np.empty(0, record), 0
    columns = record.itemsize // WORD
    least_end = columns * WORD
    start = least_end + _padded(columns)
    widths = octets[least_end:start]
    areas = _areas(widths.tobytes(), count)
    end = start + areas[-1].stop
    if len(octets) < end:
        raise NotColumnsError(f"{len(octets)} bytes do not hold {count} records in {end}")
    records: Records = np.empty(count, record)
    words = records.view("<u8").reshape(count, columns)
    least = octets[:least_end].view("<u8")
    _widen(*_views(octets[start:end], areas), least, widths, words)
    return records, end


def _padded(columns: int) -> int:
    return -(-columns // WORD) * WORD


def _areas(widths: bytes, count: int) -> list[slice]:
    """Where the columns of each width lie; bytes beyond the columns count as columns of none."""
    areas, start, left = [], 0, len(widths) - widths.count(0)
    for size in TYPES.values():
        columns = widths.count(size)
        areas.append(slice(start, start + columns * size * count))
        start, left = areas[-1].stop, left - columns
    if left:
        raise NotColumnsError("a column has a width that there is not")
    return areas


def _views(octets: Octets, areas: list[slice]) -> list[npt.NDArray[np.unsignedinteger]]:
    return [octets[area].view(name) for area, name in zip(areas, TYPES, strict=True)]


@nb.njit(cache=True, nogil=True)
def _measure(words, least, widths):
    count, columns = words.shape
    most = np.empty(columns, np.uint64)
    for c in range(columns):
        least[c] = most[c] = words[0, c]
    for i in range(1, count):
        for c in range(columns):
            word = words[i, c]
            least[c] = min(least[c], word)
            most[c] = max(most[c], word)
    for c in range(columns):
        span, width = most[c] - least[c], 0
        while width < WORD and span >> np.uint64(8 * width):
            width = 2 * width or 1
        widths[c] = width


@nb.njit(cache=True, nogil=True)
def _store(words, column, least, area, at):
    """One column into the area of its width; where the next one begins."""
    for i in range(words.shape[0]):
        area[at + i] = words[i, column] - least
    return at + words.shape[0]


@nb.njit(cache=True, nogil=True)
def _load(words, column, least, area, at):
    """One column out of the area of its width; where the next one begins."""
    for i in range(words.shape[0]):
        words[i, column] = least + np.uint64(area[at + i])
    return at + words.shape[0]


@nb.njit(cache=True, nogil=True)
def _narrow(words, least, widths, eights, fours, twos, ones):
    at8 = at4 = at2 = at1 = 0
    for column in range(words.shape[1]):
        base, width = least[column], widths[column]
        if width == 8:
            at8 = _store(words, column, base, eights, at8)
        elif width == 4:
            at4 = _store(words, column, base, fours, at4)
        elif width == 2:
            at2 = _store(words, column, base, twos, at2)
        elif width == 1:
            at1 = _store(words, column, base, ones, at1)


@nb.njit(cache=True, nogil=True)
def _widen(eights, fours, twos, ones, least, widths, words):
    at8 = at4 = at2 = at1 = 0
    for column in range(words.shape[1]):
        base, width = least[column], widths[column]
        if width == 8:
            at8 = _load(words, column, base, eights, at8)
        elif width == 4:
            at4 = _load(words, column, base, fours, at4)
        elif width == 2:
            at2 = _load(words, column, base, twos, at2)
        elif width == 1:
            at1 = _load(words, column, base, ones, at1)
        else:
            words[:, column] = base
