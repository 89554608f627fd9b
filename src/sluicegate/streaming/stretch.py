"""Reads a stretch of a partition that is known to be there, outside of any group."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from sluicegate.errors import Problem
from sluicegate.streaming.offsets import listed_partitions

PATIENCE_SECONDS: Final = 60.0
"""How long the next record of a stretch is waited for."""
REQUEST_SECONDS: Final = 30.0
AT_ONCE: Final = 500
TURN_SECONDS: Final = 0.02
"""How long librdkafka waits for so many at once, although some are there."""
LEADER_SECONDS: Final = 10.0
_PASSING: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
_END: Final = KafkaError._PARTITION_EOF  # noqa: SLF001 - its public name for it
FETCH: Final[dict[str, Any]] = {
    "group.id": "sluicegate-unused",  # librdkafka wants one; nothing is joined or committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "fetch.queue.backoff.ms": 1,
    # At the end of a partition a fetch waits this long, and all other questions behind it.
    "fetch.wait.max.ms": 10,
    "queued.max.messages.kbytes": 65_536,
    "fetch.message.max.bytes": 8_388_608,
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Offsets `start` up to, not including, `end` of one partition."""

    topic: str
    partition: int
    start: int
    end: int


class StretchReader:
    """A consumer for stretches, one after another; close it when done."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._consumer = Consumer({**config, **FETCH})

    def close(self) -> None:
        """Leaves the cluster."""
        self._consumer.close()

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic.

        Raises:
            Problem: there is no such topic.
        """
        return listed_partitions(self._consumer, topic, REQUEST_SECONDS)

    def whole(self, topic: str, partition: int) -> Stretch:
        """All that the partition holds now."""
        place = TopicPartition(topic, partition)
        give_up_at = time.monotonic() + LEADER_SECONDS
        while True:
            try:
                low, high = self._consumer.get_watermark_offsets(place, timeout=REQUEST_SECONDS)
            except KafkaException as error:
                # of a topic just made the broker says for a moment that it does not lead it
                if error.args[0].code() not in _PASSING or time.monotonic() > give_up_at:
                    raise _unreadable(topic, partition, error.args[0].str()) from error
                time.sleep(TURN_SECONDS)
            else:
                return Stretch(topic, partition, low, high)

    def since(self, stretch: Stretch, at_ms: int) -> Stretch:
        """The stretch from its first record of that Kafka timestamp or a later one."""
        place = TopicPartition(stretch.topic, stretch.partition, at_ms)
        found = self._consumer.offsets_for_times([place], timeout=REQUEST_SECONDS)[0].offset
        start = stretch.end if found < 0 else max(found, stretch.start)
        return Stretch(stretch.topic, stretch.partition, start, stretch.end)

    def first_of(self, stretch: Stretch) -> Message | None:
        """Its first record; None where it has none."""
        return next(self.read(stretch), None)

    def read(
        self, stretch: Stretch, told: Callable[[int], None] = lambda _count: None
    ) -> Iterator[Message]:
        """Its records in order; `told` hears how many offsets of it are behind.

        Raises:
            Problem: the partition cannot be read, or nothing comes any more.
        """
        at, heard_at = stretch.start, time.monotonic()
        if at < stretch.end:
            self._consumer.assign([TopicPartition(stretch.topic, stretch.partition, at)])
        while at < stretch.end:
            messages = self._consumer.consume(AT_ONCE, TURN_SECONDS)
            if messages:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > PATIENCE_SECONDS:
                raise _unreadable(stretch.topic, stretch.partition, f"nothing came after {at}")
            for message in messages:
                error = message.error()
                if error is not None and error.code() == _END:
                    # the last offsets may hold no record, but the marks of Kafka transactions
                    at = max(at, message.offset() or 0)
                elif error is not None:
                    raise _unreadable(stretch.topic, stretch.partition, error.str())
                elif at < stretch.end:
                    at = (message.offset() or 0) + 1
                    if at <= stretch.end:
                        yield message
            told(min(at, stretch.end) - stretch.start)


def _unreadable(topic: str, partition: int, detail: str) -> Problem:
    return Problem(
        f"partition {partition} of {topic} cannot be read",
        detail,
        "is the broker well? The command can be given again",
    )
