"""Reads a topic for the desk from a thread of its own: a batch is kept, then its offsets committed.

A batch that cannot be kept now is read again after a pause, as it is after a crash; nothing is
skipped.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from kafka.errors import KafkaError  # type: ignore[import-untyped]
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.liaison.database import reason_of
from sluicegate.operations.background import Background
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 1.0
Keep = Callable[[Sequence[Message]], None]
"""Makes a batch safe; SQLAlchemyError or (of dead-letter) KafkaError when it cannot now."""


class TopicReader(Background):
    """A member of a group of the desk's that hands batches to `keep`; `closing` is called last."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        keep: Keep,
        failed: Counter,
        *,
        what: str,
        topic: str,
        group: str = "",
        at_once: int,
        poll_seconds: float,
        options: dict[str, Any] | None = None,
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        """Does not read yet.

        Args:
            settings: Of this installation.
            bootstrap: Where Kafka is.
            keep: What becomes of a batch.
            failed: Counts batches that are read again.
            what: The records in the plural, for the log, and the name of the thread.
            topic: What is read.
            group: Behind the desk's own group, for one beside it.
            at_once: Most records in a batch.
            poll_seconds: How long a batch is waited for.
            options: More settings of librdkafka.
            closing: Called when no more is read.
        """
        super().__init__(what)
        self._what = what
        self._topic = topic
        self._keep = keep
        self._failed = failed
        self._at_once = at_once
        self._poll_seconds = poll_seconds
        self._closing = closing
        self._config: dict[str, Any] = {
            **confluent_config(settings.broker, bootstrap),
            "group.id": f"{settings.topics.prefix}{settings.desk.group}{group}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            "topic.metadata.refresh.interval.ms": 30_000,
            "log_level": 2,
            **(options or {}),
        }

    def _run(self) -> None:
        consumer = Consumer({**self._config, "error_cb": lambda _: None})
        consumer.subscribe([self._topic])
        try:
            while not self._stop.is_set():
                came = consumer.consume(self._at_once, self._poll_seconds)
                read = [each for each in came if each.error() is None]
                if read and not self._is_kept(consumer, read):
                    self._stop.wait(PAUSE_SECONDS)
        finally:
            self._closing()
            consumer.close()

    def _is_kept(self, consumer: Consumer, read: Sequence[Message]) -> bool:
        try:
            self._keep(read)
        except SQLAlchemyError as error:
            return self._again(consumer, read, f"the database: {reason_of(error)}")
        except KafkaError as error:
            return self._again(consumer, read, f"dead-letter: {error}")
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:  # committed with the next batch
            log.warning("offsets of %s are not committed yet: %s", self._what, error.args[0].str())
        return True

    def _again(self, consumer: Consumer, read: Sequence[Message], waits_for: str) -> bool:
        """Has the batch read again."""
        self._failed.inc()
        log.warning("%d %s wait for %s", len(read), self._what, waits_for)
        first: dict[int, int] = {}
        for each in read:
            partition, offset = each.partition() or 0, each.offset() or 0
            first[partition] = min(offset, first.get(partition, offset))
        for partition, offset in first.items():
            try:
                consumer.seek(TopicPartition(self._topic, partition, offset))
            except KafkaException:  # it went to another desk, which reads it
                log.info("partition %d went to another desk", partition)
        return False
