"""The liaison consumer: from `stop-payment` to the database of the desk, nothing lost.

A batch is stored in one database transaction; what cannot be read goes to dead-letter; only then
are the offsets committed. A crash in between reads the batch again, and the ids of the alerts
make that change nothing.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

import kafka  # type: ignore[import-untyped]
from kafka.errors import CommitFailedError, KafkaError  # type: ignore[import-untyped]
from kafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sluicegate.domain.alert import Alert
from sluicegate.errors import Problem
from sluicegate.liaison.cases import USUAL, CaseRules, group_alerts
from sluicegate.liaison.database import (
    Stored,
    open_database,
    reason_of,
    store_alerts,
)
from sluicegate.liaison.dead_letters import (
    DeadLetter,
    DeadLetters,
    KafkaDeadLetters,
    Record,
    Unreadable,
    read_as,
)
from sluicegate.liaison.schema import prepare_tables_when_there
from sluicegate.operations.logs import event_log
from sluicegate.operations.metrics import Metrics, Part, serve_metrics
from sluicegate.settings import Settings
from sluicegate.streaming.clients import kafka_python_config, wait_for_broker
from sluicegate.streaming.topics import Topics

log = logging.getLogger(__name__)
events = event_log(__name__)

POLL_MS = 100
BATCH_RECORDS = 500
COMMIT_MS = 5_000
PAUSE_SECONDS = 1.0
"""Before the broker is asked again."""
CLOSE_MS = 500
SQLITE_PATIENCE_SECONDS = 2.0
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses between attempts. The last one repeats; it stays far below the poll interval of 300 s."""


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: alerts new in the database, alerts seen before, dead letters."""

    new: tuple[Alert, ...]
    repeats: int
    dead: tuple[DeadLetter, ...]
    cases: Mapping[str, str] = field(default_factory=dict)
    """Of the new ones: the case by the alert's id."""


def read_alert(value: bytes | None) -> Alert | tuple[Unreadable, str]:
    """The alert in a message, or why there is none."""
    return read_as(Alert, value, Unreadable.NOT_AN_ALERT)


def take_batch(
    records: Sequence[Record],
    engine: Engine,
    dead_letters: DeadLetters,
    received_at: datetime,
    rules: CaseRules = USUAL,
) -> Outcome:
    """Store the alerts of a batch in their cases, then send on what could not be.

    Raises:
        SQLAlchemyError: The database did not take the batch: nothing of it is stored.
        KafkaError: dead-letter did not take the rest: the alerts are stored.
    """
    alerts: list[tuple[Record, Alert]] = []
    dead: list[DeadLetter] = []
    for record in records:
        match read_alert(record.value):
            case Alert() as alert:
                alerts.append((record, alert))
            case (reason, detail):
                dead.append(DeadLetter(record, reason, detail))

    cases: dict[str, str] = {}

    def group(session: Session, new: Sequence[Alert]) -> None:
        cases.update(group_alerts(session, new, received_at, rules))

    stored = store_alerts(engine, [alert for _, alert in alerts], received_at, group)
    dead += [
        DeadLetter(record, Unreadable.NOT_STORABLE, stored.refused[alert.id])
        for record, alert in alerts
        if alert.id in stored.refused
    ]
    # Behind the database: a database that is away for an hour must not repeat these for an hour.
    dead_letters.send(dead)
    return _outcome([alert for _, alert in alerts], stored, dead, cases)


def run_liaison(settings: Settings, bootstrap: str, stop: Event) -> None:
    """Read alerts until `stop` is set.

    Raises:
        Problem: The broker, the topic or the database cannot be used from the start.
    """
    metrics = Metrics(Part.LIAISON)
    page = serve_metrics(metrics, settings.metrics.bind, settings.liaison.metrics_port)
    log.info("figures at port %d", page.port)
    engine = open_database(settings.liaison.url)
    try:
        prepare_tables_when_there(
            engine, settings.broker.give_up_after_seconds, SQLITE_PATIENCE_SECONDS, stop
        )
        while not stop.is_set():
            wait_for_broker(settings, bootstrap, log.warning)
            try:
                return _consume(settings, bootstrap, engine, metrics, stop)
            except KafkaError as error:
                if not error.retriable:
                    raise Problem("liaison: Kafka refuses the consumer", str(error)) from error
                log.warning("the broker has gone away: %s", error)
                stop.wait(PAUSE_SECONDS)
    finally:
        engine.dispose()
        page.close()


def _consume(
    settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics, stop: Event
) -> None:
    topics = Topics.of(settings)
    consumer = _consumer(settings, bootstrap)
    dead_letters = KafkaDeadLetters(settings, bootstrap)
    try:
        if not consumer.partitions_for_topic(topics.stop_payment):
            raise Problem(
                f"liaison: there is no topic {topics.stop_payment}",
                hint="`sluicegate topics create` makes it",
            )
        consumer.subscribe([topics.stop_payment])
        log.info("reading %s", topics.stop_payment)
        rules = CaseRules(
            gap=timedelta(hours=settings.liaison.case_gap_hours),
            capacity=settings.liaison.reviews_a_day,
        )
        _Loop(consumer, engine, dead_letters, metrics, rules).run(stop)
    finally:
        dead_letters.close()
        consumer.close(autocommit=False, timeout_ms=CLOSE_MS)


def _consumer(settings: Settings, bootstrap: str) -> kafka.KafkaConsumer:
    return kafka.KafkaConsumer(
        **kafka_python_config(settings.broker, bootstrap),
        group_id=f"{settings.topics.prefix}{settings.liaison.group}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        max_poll_records=BATCH_RECORDS,
        fetch_max_wait_ms=POLL_MS,
        # A consumer that was killed keeps its partitions this long.
        session_timeout_ms=10_000,
        heartbeat_interval_ms=2_000,
    )


class _Loop:
    """Reads batches; one that could not be stored is read again from Kafka, after a pause."""

    def __init__(
        self,
        consumer: kafka.KafkaConsumer,
        engine: Engine,
        dead_letters: DeadLetters,
        metrics: Metrics,
        rules: CaseRules,
    ) -> None:
        self._rules = rules
        self._consumer = consumer
        self._engine = engine
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._failures = 0
        for reason in Unreadable:  # from 0 on, so that the first one shows as a rise
            metrics.counter("sluicegate_liaison_unreadable_total", reason=reason.value)
        self._uncommitted: dict[TopicPartition, OffsetAndMetadata] = {}

    def run(self, stop: Event) -> None:
        while not stop.is_set():
            batch = self._consumer.poll(timeout_ms=POLL_MS)
            if batch and not self._take(batch):
                self._rewind(batch)
                stop.wait(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS)) - 1])
            if self._uncommitted:
                self._commit()
            self._metrics.readiness.report(*self._unready())

    def _unready(self) -> list[str]:
        reasons = []
        if not self._consumer.assignment():
            reasons.append("owns no partition")
        if self._failures:
            reasons.append("the database or dead-letter does not take what was read")
        return reasons

    def _take(self, batch: Mapping[TopicPartition, Sequence[Record]]) -> bool:
        """Make a batch safe; False if that failed for now."""
        records = [record for part in batch.values() for record in part]
        try:
            outcome = take_batch(
                records, self._engine, self._dead_letters, datetime.now(UTC), self._rules
            )
        except SQLAlchemyError as error:
            return self._failed(len(records), f"the database: {reason_of(error)}")
        except KafkaError as error:
            return self._failed(len(records), f"dead-letter: {error}")
        self._failures = 0
        for place, part in batch.items():
            self._uncommitted[place] = OffsetAndMetadata(part[-1].offset + 1)
        self._count(outcome)
        self._show_lag(batch)
        return True

    def _failed(self, records: int, what: str) -> bool:
        self._failures += 1
        self._metrics.counter("sluicegate_liaison_failures_total").inc()
        log.warning("%d records wait, attempt %d failed: %s", records, self._failures, what)
        return False

    def _rewind(self, batch: Mapping[TopicPartition, Sequence[Record]]) -> None:
        """Read the batch again; a partition that went to another consumer is read by that one."""
        assigned = self._consumer.assignment()
        for place, part in batch.items():
            if place in assigned:
                self._consumer.seek(place, part[0].offset)

    def _commit(self) -> None:
        """Commit what is safe; what cannot be committed now is with the next batch, or read again.

        Either way nothing is stored twice.
        """
        try:
            self._consumer.commit(self._uncommitted, timeout_ms=COMMIT_MS)
        except CommitFailedError:
            log.info("the partitions went to another consumer, which reads the last batch again")
        except KafkaError as error:
            log.warning("offsets not committed yet: %s", error)
            return
        self._uncommitted.clear()

    def _count(self, outcome: Outcome) -> None:
        counter = self._metrics.counter
        counter("sluicegate_liaison_stored_total").inc(len(outcome.new))
        counter("sluicegate_liaison_repeats_total").inc(outcome.repeats)
        for reason, number in Counter(each.reason for each in outcome.dead).items():
            counter("sluicegate_liaison_unreadable_total", reason=reason.value).inc(number)
        age = self._metrics.histogram("sluicegate_stage_seconds", stage="alert_stored")
        now = time.time()
        for alert in outcome.new:
            case = outcome.cases.get(alert.id)
            events.info("alert stored", trace=alert.transaction_id, alert=alert.id, case=case)
            age.observe(max(0.0, now - alert.recorded_at.timestamp()))

    def _show_lag(self, batch: Mapping[TopicPartition, Sequence[Record]]) -> None:
        for place, part in batch.items():
            end = self._consumer.highwater(place)
            if end is not None:
                lag = self._metrics.gauge(
                    "sluicegate_liaison_lag_records", partition=str(place.partition)
                )
                lag.set(max(0, end - part[-1].offset - 1))


def _outcome(
    alerts: Sequence[Alert],
    stored: Stored,
    dead: Sequence[DeadLetter],
    cases: Mapping[str, str],
) -> Outcome:
    # An id twice in one batch is new once.
    first = {alert.id: alert for alert in reversed(alerts)}
    new = tuple(alert for alert in first.values() if alert.id in stored.new)
    refused = sum(1 for each in dead if each.reason is Unreadable.NOT_STORABLE)
    return Outcome(new, len(alerts) - len(new) - refused, tuple(dead), cases)
