"""Reads the partitions of the transactions topic in step by event time.

One consumer for each source partition; the next batch always comes from the one furthest behind.
In live operation, where none has a full batch waiting, all are taken together and merged.
"""

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
    at_end: bool = False
    """Whether the last read found less than it asked for, and less than that is known to wait."""

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
        self.at_end = len(messages) < most and self.lag() < most
        return messages

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
