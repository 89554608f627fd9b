"""Who holds which account: the topic `accounts`, kept in a table of the desk.

A later message of an account takes the place of the earlier one; an empty message deletes. A batch
is one database transaction, and its offsets are committed after it: a crash reads it again, which
changes nothing. What is no profile is left out here: the router has sent it to dead-letter.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from sqlalchemy import Engine, delete, insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sluicegate.desk.tables import HolderRow
from sluicegate.domain.fields import Rules
from sluicegate.domain.profile import Profile, parse_profile
from sluicegate.liaison.database import reason_of
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.topics import Topics

log = logging.getLogger(__name__)

AT_ONCE: Final = 500
POLL_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 1.0


def latest(messages: Sequence[tuple[bytes | None, bytes | None, int]]) -> dict[str, Profile | None]:
    """By account what a batch of (key, value, time in ms) says last; None: deleted."""
    told: dict[str, Profile | None] = {}
    for key, value, at_ms in messages:
        if value is None:
            if key is not None:
                told[key.decode(errors="replace")] = None
            continue
        profile = parse_profile(value, at_ms, Rules())
        if isinstance(profile, Profile):
            told[profile.account] = profile
    return told


def keep(engine: Engine, told: Mapping[str, Profile | None]) -> None:
    """Puts these in the place of what was known of the accounts, in one transaction.

    Raises:
        SQLAlchemyError: the database did not take it: nothing of it is stored.
    """
    rows = [_row(profile) for profile in told.values() if profile is not None]
    with Session(engine) as session, session.begin():
        session.execute(delete(HolderRow).where(HolderRow.account.in_(told)))
        if rows:
            session.execute(insert(HolderRow), rows)


def _row(profile: Profile) -> dict[str, Any]:
    opened = profile.opened_at_ms
    return {
        "account": profile.account,
        "holder_id": profile.holder_id,
        "holder_kind": profile.holder_kind,
        "birth_year": profile.birth_year,
        "opened_at": None if opened is None else datetime.fromtimestamp(opened / 1000, UTC),
        "branch": profile.branch,
        "region": profile.region,
        "documents_expire_on": profile.documents_expire_on,
        "enterprise_status": profile.enterprise_status,
    }


class Holders:
    """Reads the topic in a thread of its own."""

    def __init__(
        self, settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics
    ) -> None:
        self._engine = engine
        self._topic = Topics.of(settings).accounts
        self._failed = metrics.counter("sluicegate_desk_failures_total")
        self._config: dict[str, Any] = {
            **confluent_config(settings.broker, bootstrap),
            "group.id": f"{settings.topics.prefix}{settings.desk.group}-holders",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 10_000,
            "topic.metadata.refresh.interval.ms": 30_000,
            "log_level": 2,
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holders", daemon=True)

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
                if read and not self._is_kept(consumer, read):
                    self._stop.wait(PAUSE_SECONDS)
        finally:
            consumer.close()

    def _is_kept(self, consumer: Consumer, read: Sequence[Message]) -> bool:
        told = latest([(each.key(), each.value(), each.timestamp()[1]) for each in read])
        try:
            keep(self._engine, told)
        except SQLAlchemyError as error:
            self._failed.inc()
            log.warning("%d profiles wait for the database: %s", len(read), reason_of(error))
            _again(consumer, read)
            return False
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:  # committed with the next batch
            log.warning("offsets of profiles are not committed yet: %s", error.args[0].str())
        return True


def _again(consumer: Consumer, read: Sequence[Message]) -> None:
    """Reads the batch again."""
    first: dict[tuple[str, int], int] = {}
    for each in read:
        place = (each.topic() or "", each.partition() or 0)
        first[place] = min(each.offset() or 0, first.get(place, each.offset() or 0))
    for (topic, partition), offset in first.items():
        try:
            consumer.seek(TopicPartition(topic, partition, offset))
        except KafkaException:  # it went to another desk, which reads it
            log.info("partition %d went to another desk", partition)
