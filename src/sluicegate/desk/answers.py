"""Answers of core banking: from `measures-acknowledged` to the database, nothing lost.

A batch is stored in one database transaction, what cannot be read goes to dead-letter, and only
then are the offsets committed. A crash in between reads the batch again; an answer that is there
already changes nothing.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from kafka.errors import KafkaError  # type: ignore[import-untyped]
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sluicegate.desk import audit
from sluicegate.desk.clocks import utc_now
from sluicegate.desk.measures import DESK_ITSELF, order_of, take_answer
from sluicegate.desk.tables import MeasureRow
from sluicegate.domain.decision import MeasureAnswer
from sluicegate.liaison.database import reason_of
from sluicegate.liaison.dead_letters import (
    DeadLetter,
    DeadLetters,
    KafkaDeadLetters,
    Unreadable,
    read_as,
)
from sluicegate.liaison.schema import writing
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.topics import Topics

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
POLL_SECONDS: Final = 0.2
PAUSE_SECONDS: Final = 1.0


@dataclass
class Told:
    """A message as dead-letter takes it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def take_answers(
    records: Sequence[Told], engine: Engine, dead_letters: DeadLetters, now: datetime
) -> list[MeasureAnswer]:
    """Stores the answers of a batch, then sends on what could not be; those that were new.

    Raises:
        SQLAlchemyError: the database did not take the batch: nothing of it is stored.
        KafkaError: dead-letter did not take the rest.
    """
    dead, stored = [], []
    with writing(engine) as session:
        for record in records:
            answer = read_as(MeasureAnswer, record.value, Unreadable.NOT_AN_ANSWER)
            if not isinstance(answer, MeasureAnswer):
                dead.append(DeadLetter(record, *answer))
                continue
            row = order_of(session, answer)
            if row is None:
                dead.append(DeadLetter(record, Unreadable.UNKNOWN_MEASURE, "no order has this id"))
            elif take_answer(session, row, answer, now):
                stored.append(answer)
                _note(session, row, answer, now)
    dead_letters.send(dead)
    return stored


def _note(session: Session, row: MeasureRow, answer: MeasureAnswer, now: datetime) -> None:
    details = {
        "measure": row.measure,
        "id": row.id,
        "answer": answer.answer.value,
        "code": answer.code,
        "note": answer.detail,
    }
    act = audit.Act(now, DESK_ITSELF, DESK_ITSELF, "answered", row.case_id, details)
    audit.append(session, act)


class Answers:
    """Reads the topic in a thread of its own."""

    def __init__(
        self, settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics
    ) -> None:
        self._engine = engine
        self._topic = Topics.of(settings).measures_acknowledged
        self._dead_letters = KafkaDeadLetters(settings, bootstrap)
        self._metrics = metrics
        self._failed = metrics.counter("sluicegate_desk_failures_total")
        self._config: dict[str, Any] = {
            **confluent_config(settings.broker, bootstrap),
            "group.id": f"{settings.topics.prefix}{settings.desk.group}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            "fetch.wait.max.ms": 100,
            "topic.metadata.refresh.interval.ms": 30_000,
            "log_level": 2,
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ends; what is not committed is read at the next start."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        consumer = Consumer({**self._config, "error_cb": lambda _: None})
        consumer.subscribe([self._topic])
        try:
            while not self._stop.is_set():
                read = [
                    each for each in consumer.consume(AT_ONCE, POLL_SECONDS) if each.error() is None
                ]
                if read and not self._is_taken(consumer, read):
                    self._stop.wait(PAUSE_SECONDS)
        finally:
            self._dead_letters.close()
            consumer.close()

    def _is_taken(self, consumer: Consumer, read: Sequence[Message]) -> bool:
        try:
            told = [_told(each) for each in read]
            stored = take_answers(told, self._engine, self._dead_letters, utc_now())
            consumer.commit(asynchronous=False)
        except SQLAlchemyError as error:
            return self._again(consumer, read, f"the database: {reason_of(error)}")
        except KafkaError as error:
            return self._again(consumer, read, f"dead-letter: {error}")
        except KafkaException as error:  # committed with the next batch
            log.warning("offsets of answers are not committed yet: %s", error.args[0].str())
            return True
        for answer in stored:
            self._metrics.counter("sluicegate_desk_answers_total", answer=answer.answer.value).inc()
        return True

    def _again(self, consumer: Consumer, read: Sequence[Message], what: str) -> bool:
        """Reads the batch again."""
        self._failed.inc()
        log.warning("%d answers wait for %s", len(read), what)
        first: dict[int, int] = {}
        for each in map(_told, read):
            first[each.partition] = min(each.offset, first.get(each.partition, each.offset))
        for partition, offset in first.items():
            try:
                consumer.seek(TopicPartition(self._topic, partition, offset))
            except KafkaException:  # it went to another desk, which reads it
                log.info("partition %d went to another desk", partition)
        return False


def _told(message: Message) -> Told:
    value, key = message.value(), message.key()
    return Told(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        key,
        value,
    )
