"""Reads the partitions of the transactions topic in step by event time.

One consumer for each source partition; the next records always come from the one furthest behind,
no more of them than span what a batch of the densest partition spans. In live operation, where none
has a full batch waiting, all are taken together and merged.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, Message, TopicPartition

from sluicegate.errors import Problem

FETCH: Final[dict[str, Any]] = {
    "group.id": "sluicegate-unused",  # librdkafka wants one; nothing is joined or committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    # librdkafka's default of 1,000 ms starves a fast reader (165,000 instead of 580,000 a second).
    "fetch.queue.backoff.ms": 2,
    # A fetch costs the broker a third of a millisecond: wait up to 8 ms for 20 kB.
    "fetch.min.bytes": 20_000,
    "fetch.wait.max.ms": 8,
    "queued.min.messages": 50_000,
    "queued.max.messages.kbytes": 65_536,
    "max.partition.fetch.bytes": 2_097_152,
}

REST_SECONDS: Final = 0.2
"""For so long nobody waits for a partition that brought nothing of what is known to wait."""
SMALLEST_SHARE: Final = 20
"""A partition is read by no less than a twentieth of a batch."""


@dataclass(slots=True)
class SourceReader:
    """One partition of the transactions topic."""

    topic: str
    partition: int
    consumer: Consumer
    next_offset: int
    known_end: int
    """Where the partition ended when it was opened: it is not at its end before that."""
    event_time_ms: int = 0
    """Running maximum of the event times read, each clipped to its record's timestamp."""
    pace_ms: float | None = None
    """Event time from record to record in the last batch; None before there was one."""
    _rests_until: float = 0.0

    def read(self, most: int, seconds: float) -> list[Message]:
        """Up to `most` records, waiting `seconds` for them at most.

        Raises:
            Problem: the broker refuses to go on.
        """
        messages = self.consumer.consume(most, seconds)
        for message in messages[-1:]:
            error = message.error()
            if error is not None:
                raise Problem(
                    f"partition {self.partition} of {self.topic} cannot be read on",
                    error.str(),
                    "nothing was committed: start the router again and it goes on where it was",
                )
        if messages:
            self.next_offset = (messages[-1].offset() or 0) + 1
        elif seconds:
            self._rests_until = time.monotonic() + REST_SECONDS
        return messages

    def advance(self, event_time_ms: int, records: int) -> None:
        """Notes how far in event time so many records have led."""
        if self.event_time_ms and records:
            self.pace_ms = (event_time_ms - self.event_time_ms) / records
        self.event_time_ms = event_time_ms

    @property
    def is_awaited(self) -> bool:
        """Whether records are known to wait here, and come when they are asked for.

        The last offset may hold no record, but the mark of the bank's Kafka transaction.
        """
        return self.lag() > 0 and time.monotonic() >= self._rests_until

    def lag(self) -> int:
        """Records between this place and the end of the partition, as last heard of."""
        _, high = self.consumer.get_watermark_offsets(
            TopicPartition(self.topic, self.partition), cached=True
        )
        return max(0, max(high, self.known_end) - self.next_offset)


def open_reader(
    config: dict[str, Any], topic: str, partition: int, offset: int, end: int
) -> SourceReader:
    """A reader of one source partition from an offset on; it ends at `end` now."""
    consumer = Consumer({**config, **FETCH})
    consumer.assign([TopicPartition(topic, partition, offset)])
    return SourceReader(topic, partition, consumer, offset, end)


def share_of(reader: SourceReader, readers: Sequence[SourceReader], most: int) -> int:
    """How many records to read of one, so that it spans no more than `most` of the densest do."""
    least = max(1, most // SMALLEST_SHARE)
    if reader.pace_ms is None:
        return least
    densest = min(each.pace_ms for each in readers if each.pace_ms is not None)
    share = round(most * densest / reader.pace_ms) if reader.pace_ms else most
    return min(most, max(least, share))
