"""A record of a topic, apart from the client that read it."""

from typing import NamedTuple

from confluent_kafka import Message


class SourceRecord(NamedTuple):
    """What a dead letter says of where it came from, and what it holds."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def record_of(message: Message) -> SourceRecord:
    """A message of confluent-kafka."""
    at = message.partition() or 0, message.offset() or 0
    return SourceRecord(message.topic() or "", *at, message.key(), message.value())
