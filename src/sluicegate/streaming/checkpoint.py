"""What a worker writes to the changelog of a partition: claims and checkpoints.

A claim says who owns the partition from here on. A checkpoint is the rows that changed since the
one before, in numbered chunks, with the place in the legs log they belong to. Pure functions of
bytes: `Restorer` reads them back and lets a checkpoint count only when all its chunks lie after
their owner's claim, with no other claim between.
"""

import struct
import uuid
from collections.abc import Iterator
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.row import LAYOUT_VERSION, ROW

MAGIC: Final = b"SLC1"
_CLAIM: Final = struct.Struct("<4sB16s")
_CHUNK: Final = struct.Struct("<4sBH16sQIII")
_IS_CLAIM: Final = 1
_IS_CHUNK: Final = 2
ROWS_A_CHUNK: Final = 900
"""About 1 MB a message."""


class Place(BaseModel):
    """Where a partition's state stands, and what it depends on; travels with each checkpoint."""

    model_config = ConfigDict(validate_assignment=False)

    applied: int = -1
    """Offset of the last legs message applied; -1 before the first."""
    sources: dict[str, int] = {}
    """Last position applied, by source: `t<partition>` of transactions, `l<partition>` of legs."""
    sent: dict[int, int] = {}
    """Last position of an arrival sent on, by target partition."""
    topics: dict[str, str] = {}
    """Ids of the cluster and of the legs topic that this state was made from."""
    pattern_set: str = ""
    """Version of the pattern set that judged last."""


def new_owner() -> bytes:
    """A fresh owner id, 16 random bytes."""
    return uuid.uuid4().bytes


def claim(owner: bytes, slot: str) -> bytes:
    """The record by which `slot` takes the partition over."""
    return _CLAIM.pack(MAGIC, _IS_CLAIM, owner) + slot.encode()


def chunks(memory: AccountMemory, place: Place, owner: bytes, number: int) -> Iterator[bytes]:
    """The changelog messages of one checkpoint.

    The memory's changed rows and the place are taken at once; the messages are made when asked
    for, which may be later and elsewhere.
    """
    parts = list(memory.take_dirty(ROWS_A_CHUNK)) or [np.empty(0, ROW)]
    state = place.model_dump_json().encode()

    def message(index: int, rows: Records) -> bytes:
        own_state = state if index == 0 else b""
        head = _CHUNK.pack(
            MAGIC, _IS_CHUNK, LAYOUT_VERSION, owner, number, index, len(parts), len(own_state)
        )
        return head + own_state + rows.tobytes()

    return (message(index, rows) for index, rows in enumerate(parts))


class Restorer:
    """Rebuilds one partition from its changelog, message by message, in order."""

    def __init__(self, memory: AccountMemory) -> None:
        self.memory = memory
        self.place = Place()
        self.owner: bytes | None = None
        """Whose claim came last."""
        self.applied = self.place.applied
        """Legs offset of the last checkpoint that was read back."""
        self.number = 0
        """Number of the last checkpoint that counted."""
        self.fenced = 0
        """Chunks that did not count, because their owner had lost the partition."""
        self._staged: list[bytes] = []

    def feed(self, value: bytes) -> None:
        """Takes the next changelog message.

        Raises:
            Problem: the message is none of ours, or of another row layout.
        """
        if value[:4] != MAGIC or len(value) < _CLAIM.size:
            raise Problem(
                "the changelog holds a message that is neither claim nor checkpoint",
                f"it begins with {value[:4]!r}",
                "another program writes to this topic: give sluicegate a topic prefix of its own",
            )
        if value[4] == _IS_CLAIM:
            self.owner = _CLAIM.unpack_from(value)[2]
            self._staged.clear()
        else:
            self._take_chunk(value)

    def _take_chunk(self, value: bytes) -> None:
        _, _, layout, owner, number, index, count, _ = _CHUNK.unpack_from(value)
        if layout != LAYOUT_VERSION:
            raise Problem(
                f"the checkpoint has row layout {layout}, this version reads {LAYOUT_VERSION}",
                "account rows of another layout are never guessed at",
                "run the version that wrote it, or rebuild the state from the legs log",
            )
        if owner != self.owner:
            self.fenced += 1
            return
        if index == 0:
            self._staged = []
        if index != len(self._staged):
            self._staged = []
            return
        self._staged.append(value)
        if len(self._staged) == count:
            self._apply(number)

    def _apply(self, number: int) -> None:
        for value in self._staged:
            state_length = _CHUNK.unpack_from(value)[7]
            start = _CHUNK.size
            if state_length:
                self.place = Place.model_validate_json(value[start : start + state_length])
            self.memory.put(np.frombuffer(value, ROW, offset=start + state_length))
        self.number = number
        self.applied = self.place.applied
        self._staged = []
