"""Answers of core banking: from `measures-acknowledged` to the database, nothing lost.

A batch is stored in one database transaction, what cannot be read goes to dead-letter, and only
then are the offsets committed. A crash in between reads the batch again; an answer that is there
already changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from confluent_kafka import Message
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from sluicegate.desk import audit
from sluicegate.desk.clocks import utc_now
from sluicegate.desk.measures import DESK_ITSELF, order_of, take_answer
from sluicegate.desk.reading import TopicReader
from sluicegate.desk.tables import MeasureRow
from sluicegate.domain.decision import MeasureAnswer
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
from sluicegate.streaming.records import SourceRecord, record_of
from sluicegate.streaming.topics import Topics

AT_ONCE: Final = 200
POLL_SECONDS: Final = 0.2


def take_answers(
    records: Sequence[SourceRecord], engine: Engine, dead_letters: DeadLetters, now: datetime
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


def answers_reader(
    settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics
) -> TopicReader:
    """Reads the topic, and counts the answers that were new."""
    dead_letters = KafkaDeadLetters(settings, bootstrap)

    def keep(read: Sequence[Message]) -> None:
        stored = take_answers([record_of(each) for each in read], engine, dead_letters, utc_now())
        for answer in stored:
            metrics.counter("sluicegate_desk_answers_total", answer=answer.answer.value).inc()

    return TopicReader(
        settings,
        bootstrap,
        keep,
        metrics.counter("sluicegate_desk_failures_total"),
        what="answers",
        topic=Topics.of(settings).measures_acknowledged,
        at_once=AT_ONCE,
        poll_seconds=POLL_SECONDS,
        options={"fetch.wait.max.ms": 100},
        closing=dead_letters.close,
    )
