"""Replays the legs logs offline: the same partitions and rules, so exactly the live alerts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from sluicegate.domain.alert import Alert
from sluicegate.memory.accounts import AccountMemory
from sluicegate.settings import Settings
from sluicegate.streaming.alerts import alerts_of
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.scoring import scoring_of
from sluicegate.streaming.topics import Topics

QUIET_SECONDS: Final = 5.0
FETCH: Final[dict[str, Any]] = {
    "group.id": "sluicegate-unused",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "fetch.queue.backoff.ms": 1,
}


@dataclass(frozen=True, slots=True)
class Retraced:
    """What the log of one partition came to."""

    partition: int
    applied: int
    digest: str
    """Of the account rows; equal to the live state's when that stands at the same offset."""
    alerts: tuple[Alert, ...]


def retrace(
    settings: Settings, bootstrap: str, progress: Callable[[int, int], None] | None = None
) -> Iterator[Retraced]:
    """Replays each legs log from its beginning to its present end, one partition at a time.

    `progress(done, total)` counts legs messages.

    Raises:
        Problem: the log is not what a worker would apply.
        KafkaException: the broker failed.
    """
    topic = Topics.of(settings).legs
    scoring = scoring_of(settings)
    consumer = Consumer({**confluent_config(settings.broker, bootstrap), **FETCH})
    try:
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
            for number in range(settings.topics.partitions)
        }
        total, done = sum(high - low for low, high in ends.values()), 0
        for number, (low, high) in ends.items():
            partition = Partition(number, AccountMemory(settings.worker.accounts_per_partition))
            partition.place.applied = low - 1
            alerts: list[Alert] = []
            for message in _messages(consumer, topic, number, low, high):
                offset = message.offset() or 0
                applied = partition.apply(offset, message.value(), scoring.scorer)
                if applied is not None and len(applied.stepped.hits):
                    at_ms = message.timestamp()[1]
                    currency = settings.contract.base_currency
                    judged = alerts_of(applied, scoring.pattern_set, currency, at_ms)
                    alerts += [each for each in judged if isinstance(each, Alert)]
                done += 1
                if progress is not None:
                    progress(done, total)
            yield Retraced(number, high - 1, partition.memory.digest(), tuple(alerts))
    finally:
        consumer.close()


def _messages(
    consumer: Consumer, topic: str, partition: int, low: int, high: int
) -> Iterator[Message]:
    consumer.assign([TopicPartition(topic, partition, low)])
    at = low
    while at < high:
        for message in consumer.consume(min(500, high - at), QUIET_SECONDS):
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            at = (message.offset() or 0) + 1
            if at <= high:
                yield message
