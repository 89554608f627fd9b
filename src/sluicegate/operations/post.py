"""Hands records over to Kafka for a command, and says what was not taken."""

from typing import Any, Final

from confluent_kafka import Message, Producer

from sluicegate.errors import Problem
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.producing import SAFE, hand_over

FLUSH_SECONDS: Final = 60.0


class Post:
    """A producer that says what was not taken; `again` says what another try does."""

    def __init__(self, settings: Settings, bootstrap: str, again: str) -> None:
        self._again = again
        config: dict[str, Any] = {
            **confluent_config(settings.broker, bootstrap),
            **SAFE,
            "message.timeout.ms": 60_000,  # somebody waits for the command
            "linger.ms": 5,
            "log_level": 3,
        }
        self._producer = Producer(config)
        self._failures: list[str] = []
        self._counts: dict[str, int] = {}

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        if topic not in self._counts:
            listed = self._producer.list_topics(topic, timeout=FLUSH_SECONDS).topics[topic]
            if not listed.partitions:
                raise Problem(f"there is no topic {topic}", hint="`sluicegate topics create`")
            self._counts[topic] = len(listed.partitions)
        return self._counts[topic]

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Hands a record over."""
        hand_over(
            self._producer,
            topic,
            value,
            key=key,
            partition=partition,
            headers=[(name, text.encode()) for name, text in (headers or {}).items()],
            on_delivery=self._delivered,
        )

    def flush(self) -> None:
        """Waits until the broker has everything.

        Raises:
            Problem: it did not take a record, or does not answer.
        """
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self._failures:
            detail = self._failures[0] if self._failures else f"{left:,} not acknowledged"
            raise Problem(
                "the broker did not take what was sent",
                detail,
                f"give the command again: {self._again}",
            )

    def _delivered(self, error: object, _: Message) -> None:
        if error is not None:
            self._failures.append(str(error))
