"""One partition of the stream as a worker holds it: state, rules of order, arrivals to send on.

Pure: bytes in, judgements and bytes out. What a message may do to the state is decided here:
only `applied + 1` is applied, at or below is dropped, above is a hole; a record whose source
position was applied before is a repeat and is dropped; a chain with a hole is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sluicegate.errors import Problem
from sluicegate.judging.opinion import step
from sluicegate.memory.accounts import AccountMemory, Ints, Records, Scorer, Stepped
from sluicegate.memory.past_scores import Singles
from sluicegate.memory.row import LEG, opaque
from sluicegate.streaming.checkpoint import Place
from sluicegate.streaming.legs import (
    INDEX_MASK,
    MOST_RECORDS,
    NOTHING_BEFORE,
    Batch,
    Link,
    RecordType,
    Source,
    pack,
    unpack,
)
from sluicegate.streaming.partitioning import partitions_of

SOURCE_KEY = {
    Source.TRANSACTIONS: "t",
    Source.LEGS: "l",
    Source.ACCOUNTS: "a",
    Source.DIRECTIVES: "d",
    Source.PATTERNS: "p",
}


NO_LEGS: Records = np.zeros(0, LEG)


class Gap(Problem):
    """Records are missing before an offset of a legs log, or from a chain into it."""

    def __init__(self, fact: str, detail: str, hint: str, *, partition: int, offset: int) -> None:
        super().__init__(fact, detail, hint)
        self.partition = partition
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Applied:
    """What one legs message came to."""

    legs: Records
    """The legs that were new, in order; none where the message holds other records."""
    stepped: Stepped
    repeats: int
    """Records that were applied before."""


@dataclass
class Partition:
    """The state of one legs partition."""

    number: int
    memory: AccountMemory
    place: Place = field(default_factory=Place)

    def apply(self, offset: int, value: bytes | None, scorer: Scorer) -> Applied | None:
        """Judges and remembers the legs of a message, or takes what it tells.

        `scorer` is that of the set which `place.activated` names. None if the message was applied
        before.

        Raises:
            Problem: the message is not a batch; nothing has been changed then.
            Gap: the message is not the next one, or its chain has a hole; nor then.
        """
        if offset <= self.place.applied:
            return None
        if offset != self.place.applied + 1:
            raise Gap(
                f"legs partition {self.number} has a hole",
                f"offset {offset} came after {self.place.applied}",
                "the log lost records: `sluicegate state rebuild`",
                partition=self.number,
                offset=offset,
            )
        batch = unpack(value)
        new = self._new_records(offset, batch)
        records = batch.records if new is None else np.ascontiguousarray(batch.records[new])
        legs = records if batch.has_legs else NO_LEGS
        if batch.type is RecordType.PROFILES:
            self.memory.learn(records)
        elif batch.type is RecordType.DIRECTIVES:
            self.memory.direct(records)
        elif batch.type is RecordType.ACTIVATIONS and len(records):
            self.place.activated = records["version"][-1].decode()
        carried = batch.carried if new is None or batch.carried is None else batch.carried[new]
        stepped = step(
            self.memory, legs, scorer, partition=self.number, log_offset=offset, carried=carried
        )
        if new is not None:
            _name_by_batch(stepped.arrivals, new)
        for link in batch.links:
            key = _key(batch.source, link.partition)
            self.place.sources[key] = max(link.last, self._last(key))
        self.place.applied = offset
        return Applied(legs, stepped, len(batch.records) - len(records))

    def _last(self, key: str) -> int:
        return self.place.sources.get(key, NOTHING_BEFORE)

    def _new_records(self, offset: int, batch: Batch) -> Ints | None:
        """Indexes of the records that were not applied before; None if that is all of them."""
        repeated = False
        for link in batch.links:
            last = self._last(_key(batch.source, link.partition))
            if link.previous > last:
                raise Gap(
                    f"the chain into legs partition {self.number} has a hole",
                    f"the batch at offset {offset} follows position {link.previous} of "
                    f"{batch.source.name.lower()} partition {link.partition}; "
                    f"the last one applied is {last}",
                    "a batch was lost between writer and log: `sluicegate state rebuild`",
                    partition=self.number,
                    offset=offset,
                )
            repeated |= link.first <= last
        return self._unrepeated(batch) if repeated else None

    def _unrepeated(self, batch: Batch) -> Ints:
        fresh = np.zeros(len(batch.records), bool)
        for link in batch.links:
            last = self._last(_key(batch.source, link.partition))
            own = batch.records["source_partition"] == link.partition
            fresh |= own & (batch.records["position"] > last)
        return np.flatnonzero(fresh)


class Outbox:
    """Arrivals on their way to the partitions of their accounts, gathered to save messages."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._gathered: list[tuple[Partition, Records, Singles | None]] = []
        self.waiting = 0
        """Arrivals gathered and not yet drained."""

    def add(self, origin: Partition, arrivals: Records, carried: Singles | None = None) -> None:
        """Takes the arrivals that the departures of one message gave, and what they bring."""
        if len(arrivals):
            self._gathered.append((origin, arrivals, carried))
            self.waiting += len(arrivals)

    def drain(self) -> Iterator[tuple[int, bytes]]:
        """Legs messages to produce, as (target partition, value); notes them as sent."""
        gathered, self._gathered, self.waiting = self._gathered, [], 0
        if not gathered:
            return
        origins = {origin.number: origin for origin, _, _ in gathered}
        records = np.concatenate([opaque(records) for _, records, _ in gathered])
        carried = _together([(len(records), carried) for _, records, carried in gathered])
        most = MOST_RECORDS if carried is None else MOST_RECORDS // 4
        arrivals = records.view(LEG)
        targets = partitions_of(arrivals["account"], self._partitions).astype(np.int16)
        order = np.argsort(targets, kind="stable")
        cuts = np.searchsorted(targets[order], np.arange(self._partitions + 1))
        for target in range(self._partitions):
            own = order[cuts[target] : cuts[target + 1]]
            chosen = records[own].view(LEG)
            for start in range(0, len(chosen), most):
                part = chosen[start : start + most]
                links = [_link(origins[number], target, part) for number in _sources(part)]
                brought = None if carried is None else carried[own[start : start + most]]
                yield target, pack(RecordType.ARRIVALS, Source.LEGS, links, part, brought)

    def forget(self) -> None:
        """Drops what was gathered: its partitions have gone, their next owner sends it."""
        self._gathered = []
        self.waiting = 0


def _together(gathered: list[tuple[int, Singles | None]]) -> Singles | None:
    """What arrivals bring for a model; not a number where no model has judged the departure."""
    width = max(0 if carried is None else carried.shape[1] for _, carried in gathered)
    if not width:
        return None
    return np.concatenate(
        [np.full((n, width), np.nan, np.float32) if c is None else c for n, c in gathered]
    )


def _sources(part: Records) -> list[int]:
    counts = np.bincount(part["source_partition"])
    return [int(number) for number in np.flatnonzero(counts)]


def _link(origin: Partition, target: int, part: Records) -> Link:
    positions = part["position"][part["source_partition"] == origin.number]
    previous = origin.place.sent.get(target, NOTHING_BEFORE)
    last = int(positions[-1])
    origin.place.sent[target] = last
    return Link(origin.number, int(positions[0]), last, previous)


def _name_by_batch(arrivals: Records, new: Ints) -> None:
    """Arrivals are named by the index of their departure in the message, repeats counted in."""
    index = arrivals["position"] & INDEX_MASK
    arrivals["position"] += new[index] - index


def _key(source: Source, partition: int) -> str:
    return f"{SOURCE_KEY[source]}{partition}"
