"""Records as they were at one moment, copied bit by bit while the stream goes on changing others.

Nothing is copied when they are taken. Each is copied once: in its turn, or before it changes. They
come in the order in which they were copied.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt
from numba import types as nt

Records = npt.NDArray[np.void]
Flags = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

SPARE_PARTS: Final = 128
"""Parts that are kept for the next take, of each size: 140 MB of account rows."""

_words = nt.uint64[:, ::1]
_spare: defaultdict[int, deque[Flags]] = defaultdict(lambda: deque(maxlen=SPARE_PARTS))
"""Memory given back, by bytes of a part: to touch new pages takes five times as long as to copy."""


@nb.njit(
    nt.UniTuple(nt.int64, 2)(_words, nt.uint8[::1], nt.int64[::1], _words),
    cache=True, nogil=True, _nrt=False,
)  # fmt: skip
def copy_waiting(records: Words, waiting: Flags, numbers: Ints, copies: Words) -> tuple[int, int]:
    """Copies those of `numbers` that wait, until `copies` is full; how many it saw, and copied.

    Records and copies are words of shape `[n, words of a record]`. Numbers outside of `waiting`
    are of records that there were not yet, or of none.
    """
    copied = 0
    for at in range(numbers.shape[0]):
        if copied == copies.shape[0]:
            return at, copied
        number = numbers[at]
        if 0 <= number < waiting.shape[0] and waiting[number]:
            waiting[number] = 0
            for word in range(records.shape[1]):
                copies[copied, word] = records[number, word]
            copied += 1
    return numbers.shape[0], copied


class Taken(Iterator[Records]):
    """Those of `records` that `waiting` flags (1 for yes), in parts of `most`; it takes the flags.

    A part that is asked for is copied then, if it was not before. Whoever changes records calls
    `keep` first, but need not once they have moved: the array that was left stays as it is.
    """

    def __init__(self, records: Records, waiting: Flags, most: int) -> None:
        self._records = records
        self._waiting = waiting
        self._turns = np.flatnonzero(waiting.view(np.bool_))
        self._next = 0
        """Of the turns: those before have been."""
        self._left = len(self._turns)
        """Records not copied yet."""
        self._most = most
        self._parts: deque[Records] = deque()
        """Copied and not yet given away; the last has room for `_room` more records."""
        self._room = 0
        self.count = -(-self._left // most)
        """Number of parts."""

    def __next__(self) -> Records:
        """The next part."""
        while self._left and len(self._parts) == (self._room > 0):
            self.copy(self._room or self._most)
        if not self._parts:
            raise StopIteration
        return self._parts.popleft()

    @staticmethod
    def give_back(part: Records) -> None:
        """Lets the memory of a part be used again; nobody may look at it any more."""
        if part.base is not None:
            _spare[part.base.nbytes].append(part.base)

    def copy(self, most: int) -> bool:
        """Copies up to so many more; whether all are copied, so that any thread may read them."""
        turns = self._turns[self._next : self._next + most]
        self._next += len(turns)
        self.keep(turns)
        return not self._left

    def keep(self, numbers: Ints) -> None:
        """Copies those of these records that were taken and not copied yet."""
        seen = 0
        while self._left and seen < len(numbers):
            if not self._room:
                self._room = min(self._most, self._left)
                self._parts.append(self._new_part()[: self._room])
            to = self._parts[-1][-self._room :]
            more, copied = copy_waiting(
                _as_words(self._records), self._waiting, numbers[seen:], _as_words(to)
            )
            seen += more
            self._room -= copied
            self._left -= copied

    def _new_part(self) -> Records:
        size = self._most * self._records.dtype.itemsize
        try:
            octets = _spare[size].pop()
        except IndexError:
            octets = np.empty(size, np.uint8)
        return octets.view(self._records.dtype)


def _as_words(records: Records) -> Words:
    return records.view(np.uint64).reshape(len(records), records.dtype.itemsize // 8)
