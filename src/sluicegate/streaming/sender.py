"""Sends transactions as a bank does: keyed, in order, nothing given up in silence."""

from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, Producer

from sluicegate.errors import Problem
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.topics import Topics

Keyed = tuple[bytes | None, bytes | None]
"""Key and value of a message."""

FLUSH_SECONDS: Final = 60.0
METADATA_SECONDS: Final = 10.0
POLL_EVERY: Final = 1_000


class Sender:
    """A producer that hands on every message, in order, and reports the first failure."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self.sent = 0
        self._topic = Topics.of(settings).transactions
        self._failures: list[str] = []
        failures = self._failures  # not `self`: the producer goes when the sender does
        config: dict[str, Any] = {
            **confluent_config(settings.broker, bootstrap),
            "partitioner": "murmur2_random",  # as Java's and kafka-python's producers do
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "queue.buffering.max.messages": 200_000,
            "delivery.report.only.error": True,
            "on_delivery": lambda error, _message: _note(failures, error),
            "log_level": 2,  # that a broker just started or away is not ready is no news
        }
        self._producer = Producer(config)
        if self._topic not in self._producer.list_topics(timeout=METADATA_SECONDS).topics:
            raise Problem(
                f"there is no topic {self._topic}",
                hint="`sluicegate topics create` makes it",
            )

    def send(self, key: bytes | None, value: bytes | None) -> None:
        """Hand over a message, waiting for room where the queue is full."""
        while True:
            try:
                self._producer.produce(self._topic, value, key)
            except BufferError:
                self.poll(0.1)
            else:
                break
        self.sent += 1
        if self.sent % POLL_EVERY == 0:
            self.poll(0.0)

    def send_all(self, messages: Sequence[Keyed]) -> None:
        """Hand over many messages."""
        # Not produce_batch: of 1,000,000 messages two were once acknowledged and not in the topic.
        for key, value in messages:
            self.send(key, value)
        self.poll(0.0)

    def poll(self, seconds: float) -> None:
        """Hear of failures."""
        self._producer.poll(seconds)
        if self._failures:
            raise Problem(f"{self._topic}: the broker did not take a message", self._failures[0])

    def finish(self) -> None:
        """Wait until the broker has everything."""
        left = self._producer.flush(FLUSH_SECONDS)
        self.poll(0.0)
        if left:
            raise Problem(f"{self._topic}: {left:,} messages were not acknowledged")


def _note(failures: list[str], error: KafkaError | None) -> None:
    if error is not None:
        failures.append(error.str())
