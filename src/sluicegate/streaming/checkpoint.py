"""What a worker writes to the changelog of a partition: claims and checkpoints.

A claim says who owns the partition from here on. A sweep begins with the claim renewed, which gives
nothing to anybody else: it counts only where its owner's claim is the last one, or where the log
has been trimmed up to it. A checkpoint is the rows that changed since the
one before, in numbered chunks, with the place in the legs log they belong to. Pure functions of
bytes: `Restorer` reads them back and lets a checkpoint count only when all its chunks lie after
their owner's claim, with no other claim between. Rows and directives both travel so.
"""

import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from pydantic import Base64Bytes, BaseModel, ConfigDict

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.row import DIRECTIVE, LAYOUT_VERSION, ROW

REBUILD: Final = "`sluicegate state rebuild` makes the state anew from the transactions"

MAGIC: Final = b"SLC1"
_CLAIM: Final = struct.Struct("<4sB16s")
_CHUNK: Final = struct.Struct("<4sBH16sQIIII")
_IS_CLAIM: Final = 1
_IS_CHUNK: Final = 2
_IS_RENEWAL: Final = 3
_LEAST: Final = {_IS_CLAIM: _CLAIM.size, _IS_CHUNK: _CHUNK.size, _IS_RENEWAL: _CLAIM.size}
"""Bytes of the shortest message of each kind."""
ROWS_A_CHUNK: Final = 900
"""About 1 MB a message."""
DIRECTIVES_A_CHUNK: Final = 4_000
"""Less than 1 MB a message."""
NO_ROWS: Final[Records] = np.zeros(0, ROW)
NO_DIRECTIVES: Final[Records] = np.zeros(0, DIRECTIVE)


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
    activated: str = ""
    """Version of the published set that a record has activated; "": the configured file judges."""
    whole_from: int = 1
    """Number of the checkpoint from which on the changelog holds every row: its last sweep's."""
    population: Base64Bytes = b""
    """What is usual among the accounts, where a checkpoint or a file says it; else the memory
    holds it."""


def new_owner() -> bytes:
    """A fresh owner id, 16 random bytes."""
    return uuid.uuid4().bytes


def claim(owner: bytes, slot: str) -> bytes:
    """The record by which `slot` takes the partition over."""
    return _CLAIM.pack(MAGIC, _IS_CLAIM, owner) + slot.encode()


def renewal(owner: bytes, slot: str) -> bytes:
    """The record with which `slot`, which owns the partition, begins a sweep."""
    return _CLAIM.pack(MAGIC, _IS_RENEWAL, owner) + slot.encode()


def claimed_by(value: bytes | None, *, or_renewed: bool = False) -> tuple[bytes, str] | None:
    """Owner and slot of a claim, or of a renewal too; None if the message is something else."""
    kinds = (_IS_CLAIM, _IS_RENEWAL) if or_renewed else (_IS_CLAIM,)
    if value is None or _kind(value) not in kinds:
        return None
    return _CLAIM.unpack_from(value)[2], value[_CLAIM.size :].decode(errors="replace")


def _kind(value: bytes) -> int:
    """What a message is; 0 if it is none of ours."""
    kind = value[4] if value.startswith(MAGIC) and len(value) > len(MAGIC) else 0
    return kind if len(value) >= _LEAST.get(kind, len(value) + 1) else 0


def with_population(place: Place, memory: AccountMemory) -> Place:
    """The place as it is written down, with what is usual in the memory."""
    return place.model_copy(update={"population": memory.population_bytes})


def chunks(memory: AccountMemory, place: Place, owner: bytes, number: int) -> Iterator[bytes]:
    """The changelog messages of one checkpoint, as of now.

    They are made when asked for, which may be later; where it may be in another thread, the memory
    must have copied what is taken here (`AccountMemory.copy_taken`).
    """
    rows = memory.take_dirty(ROWS_A_CHUNK)
    directives = memory.directives.take_dirty(DIRECTIVES_A_CHUNK)
    state = with_population(place, memory).model_dump_json().encode()
    count = max(rows.count, directives.count, 1)

    def message(index: int) -> bytes:
        own_state = state if index == 0 else b""
        changed, told = next(rows, NO_ROWS), next(directives, NO_DIRECTIVES)
        head = _CHUNK.pack(
            *(MAGIC, _IS_CHUNK, LAYOUT_VERSION, owner, number, index, count),
            *(len(own_state), len(told)),
        )
        value = b"".join((head, own_state, told.data, changed.data))
        rows.give_back(changed)
        return value

    return map(message, range(count))


class Restorer:
    """Rebuilds one partition from its changelog, message by message, in order.

    `begins_at` is the offset of the first message: above 0 where what lay before was deleted.
    """

    def __init__(self, memory: AccountMemory, begins_at: int = 0) -> None:
        self.memory = memory
        self.begins_at = begins_at
        self.first = 0
        """Number of the first checkpoint that counted."""
        self.place = Place()
        self.owner: bytes | None = None
        """Whose claim came last."""
        self.applied = self.place.applied
        """Legs offset of the last checkpoint that was read back."""
        self.number = 0
        """Number of the last checkpoint that counted."""
        self.fenced = 0
        """Chunks and renewals that did not count, because their owner had lost the partition."""
        self._staged: list[_Chunk] = []

    def feed(self, value: bytes | None) -> None:
        """Takes the next changelog message.

        Raises:
            Problem: the message is none of ours, or of another row layout, or a checkpoint is
                missing before it.
        """
        value = value or b""
        kind = _kind(value)
        if not kind:
            raise _strange(f"it begins with {value[:5]!r}")
        if kind == _IS_CHUNK:
            self._take_chunk(_Chunk.read(value))
        else:
            self._take_claim(_CLAIM.unpack_from(value)[2], renews=kind == _IS_RENEWAL)

    def stand_at(self, number: int) -> None:
        """The state is that of this checkpoint from here on, read back or written."""
        self.first = self.first or number
        self.number = number

    def require_whole(self) -> None:
        """Looks, when all has been fed, whether nothing is missing at the changelog's beginning.

        Raises:
            Problem: more was deleted than a sweep had written again.
        """
        if self.number == 0 and self.begins_at > 0:
            raise Problem(
                "the changelog was emptied",
                f"it begins at offset {self.begins_at}, and no checkpoint is left in it",
                REBUILD,
            )
        if self.first > self.place.whole_from:
            raise Problem(
                "the changelog has lost its beginning",
                f"its first checkpoint is {self.first}, but every row is there only from "
                f"{self.place.whole_from} on",
                REBUILD,
            )

    def _take_claim(self, owner: bytes, *, renews: bool) -> None:
        if renews and self.owner not in (None, owner):
            self.fenced += 1
            return
        self.owner = owner
        self._staged.clear()

    def _take_chunk(self, chunk: "_Chunk") -> None:
        if chunk.owner != self.owner:
            self.fenced += 1
            return
        if chunk.index == 0:
            self._staged = []
        if not chunk.continues(self._staged):
            self._staged = []
            return
        self._staged.append(chunk)
        if len(self._staged) == chunk.count:
            self._apply(chunk.number)

    def _apply(self, number: int) -> None:
        if self.number and number != self.number + 1:
            raise Problem(
                "the changelog has lost a checkpoint",
                f"checkpoint {number} follows {self.number}",
                f"what changed in between is not known: {REBUILD}",
            )
        for chunk in self._staged:
            if chunk.state:
                self.place = Place.model_validate_json(chunk.state)
                self.memory.put_population(self.place.population)
                self.place.population = b""
            self.memory.put(chunk.rows)
        for chunk in self._staged:  # behind all rows: a directive looks for its account's
            self.memory.put_directives(chunk.directives)
        self.stand_at(number)
        self.applied = self.place.applied
        self._staged = []


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One message of a checkpoint."""

    owner: bytes
    number: int
    index: int
    count: int
    state: bytes
    directives: Records
    rows: Records

    @classmethod
    def read(cls, value: bytes) -> Self:
        _, _, layout, owner, number, index, count, state_length, told = _CHUNK.unpack_from(value)
        if layout != LAYOUT_VERSION:
            raise Problem(
                f"the checkpoint has row layout {layout}, this version reads {LAYOUT_VERSION}",
                "account rows of another layout are never guessed at",
                "run the version that wrote it, or `sluicegate state rebuild`",
            )
        told_at = _CHUNK.size + state_length
        start = told_at + told * DIRECTIVE.itemsize
        if len(value) < start or (len(value) - start) % ROW.itemsize:
            raise _strange(f"its {len(value)} bytes do not hold whole rows")
        directives = np.frombuffer(value, DIRECTIVE, told, told_at)
        rows = np.frombuffer(value, ROW, offset=start)
        state = value[_CHUNK.size : told_at]
        return cls(owner, number, index, count, state, directives, rows)

    def continues(self, staged: "Sequence[_Chunk]") -> bool:
        """Whether it is the next of the checkpoint whose chunks are staged."""
        return self.index == len(staged) and all(
            (other.number, other.count) == (self.number, self.count) for other in staged
        )


def _strange(detail: str) -> Problem:
    return Problem(
        "the changelog holds a message that is neither claim nor checkpoint",
        detail,
        "another program writes to this topic: give sluicegate a topic prefix of its own",
    )
