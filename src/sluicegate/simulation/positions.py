"""What became of each position: of the transactions topic, and of the legs logs.

Memory: 17 bytes for each transaction, 12 for each departure, numpy arrays by position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sluicegate.simulation.formats import (
    Flags,
    Hashes,
    Ints,
    LegsMessage,
    hashes_of,
    read_transactions,
)

_SENT: Final = 1
_COMPLETE: Final = 2
"""The record has everything that tells transactions apart, so that it can be a repeat."""
DEPARTED: Final = 4
SCORED: Final = 8
_DEAD: Final = 16
_DOUBLED: Final = 32


class Column:
    """A numpy array that grows at its end without copying each time."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._values: NDArray[Any] = np.zeros(1_024, dtype=dtype)
        self._length = 0

    def reach(self, length: int) -> None:
        """Make it at least so long, with zeros."""
        if length > len(self._values):
            grown = np.zeros(max(length, 2 * len(self._values)), dtype=self._values.dtype)
            grown[: self._length] = self.values
            self._values = grown
        self._length = max(self._length, length)

    def extend(self, values: NDArray[Any]) -> None:
        """Put values after its end."""
        start = self._length
        self.reach(start + len(values))
        self._values[start : self._length] = values

    @property
    def values(self) -> NDArray[Any]:
        """A view of what is there."""
        return self._values[: self._length]


class SourcePartition:
    """A partition of the transactions topic: what became of each of its offsets."""

    def __init__(self, base: int) -> None:
        self.base = base
        self.highest = -1
        """Highest offset that the router has shown to have read."""
        self._states = Column(np.uint8)
        self._ids = Column(np.uint64)
        self._contents = Column(np.uint64)

    def sent(self, offsets: Ints, values: Sequence[bytes | None]) -> None:
        """Enter records of the topic."""
        ids, contents, complete = hashes_of(read_transactions(values))
        rows = self._rows(offsets)
        self._states.values[rows] |= np.where(complete, _SENT | _COMPLETE, _SENT).astype(np.uint8)
        self._ids.values[rows] = ids
        self._contents.values[rows] = contents

    def reached(self, offsets: Ints, state: int) -> None:
        """Enter that these reached a state; a second time makes them doubled."""
        offsets = offsets[offsets >= self.base]
        if not len(offsets):
            return
        distinct, times = np.unique(offsets, return_counts=True)
        rows = self._rows(distinct)
        again = ((self._states.values[rows] & state) != 0) | (times > 1)
        self._states.values[rows] |= np.uint8(state)
        self._states.values[rows[again]] |= np.uint8(_DOUBLED)
        self.highest = max(self.highest, int(distinct[-1]))

    def refused(self, offset: int) -> None:
        """Enter a dead letter; a restart may write the same one again."""
        if offset >= self.base:
            rows = self._rows(np.array([offset]))
            self._states.values[rows] |= np.uint8(_DEAD)
            self.highest = max(self.highest, offset)

    def _rows(self, offsets: Ints) -> Ints:
        rows: Ints = offsets - self.base
        for column in (self._states, self._ids, self._contents):
            column.reach(int(rows.max()) + 1)
        return rows

    def has(self, state: int) -> Flags:
        """Which offsets, from `base` on, have that state."""
        found: Flags = (self._states.values & state) != 0
        return found

    def ids_among(self, wanted: Hashes) -> Hashes:
        """Hashes of the ids that were sent here and are wanted."""
        ids = self._ids.values[self.has(_SENT)]
        found: Hashes = ids[np.isin(ids, wanted)]
        return found

    def repeats(self) -> Flags:
        """Records of no fate of their own that say what an accepted earlier one said."""
        fateless = self.has(_COMPLETE) & ~self.has(DEPARTED | SCORED | _DEAD)
        found = np.zeros(len(fateless), dtype=np.bool_)
        said = self._contents.values
        accepted = np.nonzero(self.has(DEPARTED) & np.isin(said, said[fateless]))[0][::-1]
        first = dict(zip(said[accepted].tolist(), accepted.tolist(), strict=True))
        for row in np.nonzero(fateless)[0].tolist():
            found[row] = first.get(int(said[row]), row) < row
        return found

    def waiting(self) -> Flags:
        """Those the router has not reached, and those departed and not scored yet."""
        unreached = np.arange(self.base, self.base + len(self._states.values)) > self.highest
        without = ~self.has(SCORED | _DEAD)
        found: Flags = self.has(_SENT) & without & (unreached | self.has(DEPARTED))
        return found


@dataclass(frozen=True, slots=True)
class Finals:
    """Final legs that wait to be applied: `partition` and `position` say where they came from."""

    log_offset: Ints
    timestamp_ms: Ints
    partition: Ints
    position: Ints

    def take(self, rows: Flags) -> "Finals":
        """The rows asked for."""
        return Finals(
            self.log_offset[rows],
            self.timestamp_ms[rows],
            self.partition[rows],
            self.position[rows],
        )


@dataclass
class LegsPartition:
    """A partition of the legs log: where its departures came from, and what waits."""

    applied: int = -1
    last: dict[tuple[int, int], int] = field(default_factory=dict)
    """Last position by record type and source partition, as the chain has it."""
    final: list[Finals] = field(default_factory=list)
    """By position in the transactions topic."""
    arrived: list[Finals] = field(default_factory=list)
    """By position of the departure in the legs logs, which may not have been read yet."""
    _batches: Column = field(default_factory=lambda: Column(np.int64))
    _starts: Column = field(default_factory=lambda: Column(np.int64))
    _partitions: Column = field(default_factory=lambda: Column(np.int32))
    _offsets: Column = field(default_factory=lambda: Column(np.int64))

    def fresh(self, messages: Sequence[LegsMessage], rows: Ints, records: NDArray[Any]) -> Flags:
        """The chain rule: drops what lies at or below the last position of its source."""
        kind = messages[0].record_type
        sources = sorted({int(each) for one in messages for each in one.links["source_partition"]})
        before = self._before(messages, sources)
        for source, last in zip(sources, before[-1].tolist(), strict=True):
            self.last[kind, source] = last
        if not sources:
            return np.zeros(len(records), dtype=np.bool_)
        column = np.searchsorted(sources, records["source_partition"])
        known = np.isin(records["source_partition"], sources)
        bound = before[rows, np.where(known, column, 0)]
        found: Flags = known & (records["position"] > bound)
        return found

    def _before(self, messages: Sequence[LegsMessage], sources: Sequence[int]) -> Ints:
        """Last position of each source before each message, and a row after all of them."""
        kind = messages[0].record_type
        last = np.full((len(messages) + 1, len(sources)), -1, dtype=np.int64)
        last[0] = [self.last.get((kind, source), -1) for source in sources]
        for row, message in enumerate(messages, start=1):
            last[row, np.searchsorted(sources, message.links["source_partition"])] = message.links[
                "last"
            ]
        before: Ints = np.maximum.accumulate(last, axis=0)
        return before

    def holes(self, messages: Sequence[LegsMessage]) -> int:
        """How many links follow on a position that never came; asked before `fresh`."""
        last = dict(self.last)
        found = 0
        for message in messages:
            for source, _, _, end, previous in message.links.tolist():
                key = (message.record_type, source)
                found += previous > last.get(key, -1)
                last[key] = max(last.get(key, -1), end)
        return found

    def remember(self, messages: Sequence[LegsMessage], records: NDArray[Any]) -> None:
        """Keep where the departures of these batches came from."""
        counts = np.array([message.count for message in messages], dtype=np.int64)
        self._starts.extend(len(self._offsets.values) + np.cumsum(counts) - counts)
        self._batches.extend(np.array([message.log_offset for message in messages]))
        self._partitions.extend(records["source_partition"])
        self._offsets.extend(records["position"])

    def origin(self, position: Ints) -> tuple[Ints, Ints]:
        """Partition (-1: unknown) and offset in transactions, by `batch << 16 | index`."""
        nothing = np.full(len(position), -1, dtype=np.int64)
        if not len(self._batches.values):
            return nothing, nothing
        starts = self._starts.values
        place = np.searchsorted(self._batches.values, position >> 16)
        inside = np.minimum(place, len(starts) - 1)
        row = starts[inside] + (position & 0xFFFF)
        end = np.append(starts[1:], len(self._offsets.values))[inside]
        known = (self._batches.values[inside] == position >> 16) & (row < end)
        row = np.where(known, row, 0)
        partition = np.where(known, self._partitions.values[row], -1)
        return partition.astype(np.int64), self._offsets.values[row]


FATES: Final = ("sent", "scored", "repeats", "dead_lettered", "waiting", "lost", "doubled")


def fates_of(source: SourcePartition, *, final: bool) -> dict[str, Flags]:
    """Which offsets count as what; everything sent has exactly one fate of the first five."""
    sent, dead = source.has(_SENT), source.has(_DEAD)
    scored = sent & source.has(SCORED)
    repeats = source.repeats()
    waiting = source.waiting() & ~repeats & (not final)
    return {
        "sent": sent,
        "scored": scored,
        "repeats": repeats,
        "dead_lettered": sent & dead & ~scored,
        "waiting": waiting,
        "lost": sent & ~scored & ~dead & ~repeats & ~waiting,
        "doubled": source.has(_DOUBLED) | (dead & source.has(DEPARTED)),
    }


def by_partition(partitions: Ints) -> Iterator[tuple[int, Flags]]:
    """Each distinct partition, and the rows that have it."""
    for partition in np.unique(partitions).tolist():
        yield partition, partitions == partition
