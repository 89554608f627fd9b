"""The directives of one partition, chained by account for the kernel."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sluicegate.memory.row import DIRECTIVE

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
        self._dirty: set[int] = set()

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
        self.slots[index] = record
        self._dirty.add(index)

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
        self._dirty.clear()

    def mark(self) -> None:
        """Counts all as changed."""
        self._dirty.update(range(len(self)))

    def take_dirty(self, most: int) -> Iterator[Records]:
        """Copies of what changed since the last take, `most` at a time; marks it clean."""
        changed = np.array(sorted(self._dirty), np.int64)
        self._dirty.clear()
        for start in range(0, len(changed), most):
            yield self.slots[changed[start : start + most]]

    def _grow(self) -> None:
        self.nexts = np.concatenate([self.nexts, np.zeros_like(self.nexts)])
        self.slots = np.concatenate([self.slots, np.zeros_like(self.slots)])


def sorted_bytes(tables: Iterable[DirectiveTable]) -> bytes:
    """All directives by account and id: equal for equal directives, whatever their order."""
    directives: list[bytes] = [each.tobytes() for table in tables for each in table.records]
    directives.sort(key=_account_and_id)
    return b"".join(directives)


def _account_and_id(directive: bytes) -> bytes:
    return directive[_ID_BYTES:_KEY_BYTES] + directive
