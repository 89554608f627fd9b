"""Reads the partitions of the transactions topic in step by event time.

One client reads all of them. Of each are read as many records as bring all of them to the
same moment, by the pace at which event time went in what was read last; the router merges them.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluicegate.errors import Problem
from sluicegate.streaming.blocks import Block, BlockReader, CannotRead

FETCH: Final[dict[str, Any]] = {
    "group.id": "sluicegate-unused",  # librdkafka wants one; nothing is joined or committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    # librdkafka's default of 1,000 ms starves a fast reader (165,000 instead of 580,000 a second).
    "fetch.queue.backoff.ms": 2,
    # A fetch costs the broker a quarter of a millisecond: wait up to 3 ms for 20 kB.
    "fetch.min.bytes": 20_000,
    "fetch.wait.max.ms": 3,
    "queued.min.messages": 50_000,
    "queued.max.messages.kbytes": 65_536,
    "max.partition.fetch.bytes": 2_097_152,
}

REST_SECONDS: Final = 0.2
"""For so long nobody waits for a partition that brought nothing of what is known to wait."""
PROBE: Final = 5
"""Records that are read of a partition at first, to learn its pace."""
GROWTH: Final = 4
"""So many times the last share is the next one at most: what looked dense may have been a burst."""
LEAST_PACE_MS: Final = 1e-3
"""Some banks know only hours, and then many records have one event time."""


@dataclass(slots=True)
class SourceReader:
    """One partition of the transactions topic."""

    topic: str
    partition: int
    records: BlockReader
    next_offset: int
    known_end: int
    """Where the partition ended when it was opened: it is not at its end before that."""
    event_time_ms: int = 0
    """Running maximum of the event times read, each clipped to its record's timestamp."""
    pace_ms: float | None = None
    """Event time from record to record in the last batch; None before there was one."""
    last_share: int = 0
    """Records of the last batch, those included that were refused."""
    _rests_until: float = 0.0

    def read(self, most: int, seconds: float) -> Block:
        """Up to `most` records, waiting `seconds` for them at most.

        Raises:
            Problem: the broker refuses to go on.
        """
        try:
            block = self.records.read(self.partition, most, seconds)
        except CannotRead as error:
            raise Problem(
                f"partition {self.partition} of {self.topic} cannot be read on",
                str(error),
                "nothing was committed: start the router again and it goes on where it was",
            ) from error
        if len(block):
            self.last_share = len(block)
            self.next_offset = int(block.offsets[-1]) + 1
        elif seconds:
            self._rests_until = time.monotonic() + REST_SECONDS
        return block

    def advance(self, first_ms: int, last_ms: int, records: int) -> None:
        """Notes that so many records have led from one event time to another."""
        since, steps = self.event_time_ms, records
        if not since:
            since, steps = first_ms, records - 1
        self.pace_ms = (last_ms - since) / steps if steps else None
        self.event_time_ms = last_ms

    @property
    def is_awaited(self) -> bool:
        """Whether records are known to wait here, and come when they are asked for.

        The last offset may hold no record, but the mark of the bank's Kafka transaction.
        """
        return self.lag() > 0 and time.monotonic() >= self._rests_until

    def lag(self) -> int:
        """Records between this place and the end of the partition, as last heard of."""
        return max(0, max(self.records.end(self.partition), self.known_end) - self.next_offset)


def open_readers(
    config: dict[str, Any], topic: str, stretches: Mapping[int, tuple[int, int]]
) -> list[SourceReader]:
    """A reader of each source partition, from an offset on; with where the partition ends now."""
    starts = {partition: start for partition, (start, _) in stretches.items()}
    records = BlockReader({**config, **FETCH}, topic, starts)
    return [
        SourceReader(topic, partition, records, start, end)
        for partition, (start, end) in stretches.items()
    ]


def shares(readers: Sequence[SourceReader], most: int) -> list[int]:
    """How many records to read of each, about `most` in all, to bring them to the same moment.

    One that is ahead of that moment waits for the others: its share is 0.
    """
    behind = [reader for reader in readers if reader.pace_ms is not None]
    start = min((reader.event_time_ms for reader in behind), default=0)
    moment = _moment(behind, start, most)
    while ahead := [reader for reader in behind if reader.event_time_ms - start > moment]:
        behind = [reader for reader in behind if reader not in ahead]
        moment = _moment(behind, start, most)
    wanted = [
        most
        if reader.pace_ms is None
        else math.ceil((start + moment - reader.event_time_ms) * _rate(reader))
        for reader in readers
    ]
    return [
        max(0, min(count, max(PROBE, GROWTH * reader.last_share)))
        for reader, count in zip(readers, wanted, strict=True)
    ]


def _moment(readers: Sequence[SourceReader], start: int, most: int) -> float:
    """Event time after `start` to which `most` records of these readers lead, in ms."""
    already = sum((reader.event_time_ms - start) * _rate(reader) for reader in readers)
    return (most + already) / sum(map(_rate, readers)) if readers else 0.0


def _rate(reader: SourceReader) -> float:
    """Records a millisecond of event time."""
    return 1 / max(LEAST_PACE_MS, reader.pace_ms or 0.0)
