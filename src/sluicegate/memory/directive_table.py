"""The directives of one partition, chained by account for the kernel."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sluicegate.memory.row import DIRECTIVE
from sluicegate.memory.taken import Taken

Records = npt.NDArray[np.void]

_FIRST: Final = 16
_ID_BYTES: Final = DIRECTIVE["id"].itemsize
_KEY_BYTES: Final = _ID_BYTES + DIRECTIVE["account"].itemsize


class DirectiveTable:
    """Every directive that came, ended ones too: one that ends must not come to life again.

    `heads` (int32[capacity of the rows]) and `nexts` are the chains that `memory.directives` walks.
    """

    def __init__(self, capacity: int) -> None:
        self.heads = np.zeros(capacity, np.int32)
        self.nexts = np.zeros(_FIRST, np.int32)
        self.slots: Records = np.zeros(_FIRST, DIRECTIVE)
        self._index: dict[bytes, int] = {}
        self._dirty = np.zeros(_FIRST, np.uint8)
        self._taken: Taken | None = None
        """Directives that are being copied as they were; None when none waits."""

    def __len__(self) -> int:
        """Number of directives held."""
        return len(self._index)

    @property
    def bytes_in_use(self) -> int:
        """Bytes of the directives and their chains; the heads, 4 bytes a row, not counted."""
        return int(self.slots.nbytes + self.nexts.nbytes)

    @property
    def records(self) -> Records:
        """The directives in order of first appearance (a view)."""
        return self.slots[: len(self)]

    def put(self, record: Any, row: int) -> None:  # noqa: ANN401 - one DIRECTIVE
        """Takes a directive of the account in this row; an earlier one of its id gives way.

        Ids are an account's own: what mirrors another account's directive is kept apart.
        """
        key = record["account"].tobytes() + record["id"].tobytes()
        if record["is_mirrored"]:
            key += record["counterparty"].tobytes()
        index = self._index.get(key)
        if index is None:
            index = self._index[key] = len(self._index)
            if index == len(self.slots):
                self._grow()
            self.nexts[index] = self.heads[row]
            self.heads[row] = index + 1
        if self._taken is not None:
            self._taken.keep(np.array([index], np.int64))
        self.slots[index] = record
        self._dirty[index] = 1

    def of(self, row: int) -> Records:
        """Copies of the directives of the account in this row, in order of first appearance."""
        chain = []
        index = int(self.heads[row])
        while index:
            chain.append(index - 1)
            index = int(self.nexts[index - 1])
        return self.slots[chain[::-1]]

    def clean(self) -> None:
        """Counts nothing as changed: all of it is in the changelog."""
        self._dirty[:] = 0

    def mark(self) -> None:
        """Counts all as changed."""
        self._dirty[: len(self)] = 1

    def take_dirty(self, most: int) -> Taken:
        """What changed since the last take, as it is now, `most` at a time; counts it as clean."""
        while not self.copy_taken(most):
            pass
        waiting, self._dirty = self._dirty, np.zeros_like(self._dirty)
        self._taken = Taken(self.slots, waiting, most)
        return self._taken

    def copy_taken(self, most: int) -> bool:
        """Copies up to so many more of the directives taken; whether all are copied."""
        if self._taken is not None and self._taken.copy(most):
            self._taken = None
        return self._taken is None

    def _grow(self) -> None:
        self.nexts = np.concatenate([self.nexts, np.zeros_like(self.nexts)])
        self.slots = np.concatenate([self.slots, np.zeros_like(self.slots)])
        self._dirty = np.concatenate([self._dirty, np.zeros_like(self._dirty)])


def sorted_bytes(tables: Iterable[DirectiveTable]) -> bytes:
    """All directives by account and id: equal for equal directives, whatever their order."""
    directives: list[bytes] = [each.tobytes() for table in tables for each in table.records]
    directives.sort(key=_account_and_id)
    return b"".join(directives)


def _account_and_id(directive: bytes) -> bytes:
    return directive[_ID_BYTES:_KEY_BYTES] + directive
