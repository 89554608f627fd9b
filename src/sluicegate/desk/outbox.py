"""The outbox: what is decided is written with its message, and a thread hands that to Kafka.

A message is marked as sent once Kafka has it. A crash in between sends it again, under the same id:
nothing is lost, and nothing counts twice.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sluicegate.desk.clocks import utc_now
from sluicegate.desk.tables import OutgoingRow
from sluicegate.liaison.database import reason_of
from sluicegate.operations.background import Background
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.producing import SAFE, hand_over
from sluicegate.streaming.topics import Topics

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.2
AT_ONCE: Final = 200
FLUSH_SECONDS: Final = 5.0
ASK_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 1.0
MEASURES: Final = "measures"
DIRECTIVES: Final = "directives"


def put(session: Session, id_: str, topic: str, account: str, value: str, now: datetime) -> None:  # noqa: PLR0917
    """Adds a message to the transaction that decides what it says."""
    session.add(
        OutgoingRow(id=id_, topic=topic, account=account, value=value, written_at=now, sent_at=None)
    )


def unsent(engine: Engine) -> Sequence[OutgoingRow]:
    """The messages that Kafka does not have yet, the oldest first."""
    with Session(engine, expire_on_commit=False) as session:
        asked = select(OutgoingRow).where(OutgoingRow.sent_at.is_(None)).order_by(OutgoingRow.seq)
        return list(session.scalars(asked.limit(AT_ONCE)))


class Outbox(Background):
    """Sends what is unsent, in order, from a thread of its own."""

    def __init__(
        self, settings: Settings, bootstrap: str, engine: Engine, metrics: Metrics
    ) -> None:
        super().__init__("outbox")
        self._engine = engine
        names = Topics.of(settings)
        self._names = {MEASURES: names.measures, DIRECTIVES: names.directives}
        self._sent = {
            topic: metrics.counter("sluicegate_desk_sent_total", topic=topic)
            for topic in self._names
        }
        self._failed = metrics.counter("sluicegate_desk_failures_total")
        self._config: dict[str, Any] = {
            **confluent_config(settings.broker, bootstrap),
            **SAFE,
            "linger.ms": 0,
            "log_level": 2,
        }
        self._partitions: dict[str, int] = {}
        self._under_way: set[int] = set()
        """With librdkafka, or taken and not noted yet."""
        self._taken: list[OutgoingRow] = []
        self._due = threading.Event()

    def wake(self) -> None:
        """There is something new: any thread may call."""
        self._due.set()

    def stop(self) -> None:
        """Ends; what is unsent is sent at the next start."""
        self._stop.set()
        self._due.set()
        super().stop()

    def _run(self) -> None:
        producer = Producer({**self._config, "error_cb": lambda _: None})
        while not self._stop.is_set():
            self._due.wait(LOOK_SECONDS)
            self._due.clear()
            try:
                while self._send_some(producer):
                    pass
            except SQLAlchemyError as error:
                self._complain(f"the database: {reason_of(error)}")
            except KafkaException as error:
                self._complain(f"the broker: {error.args[0].str()}")

    def _send_some(self, producer: Producer) -> bool:
        """Hands over the oldest messages; whether as many as are taken at once have arrived.

        What Kafka does not take now stays with librdkafka, which goes on trying.
        """
        self._mark()
        rows = [row for row in unsent(self._engine) if row.seq not in self._under_way]
        for row in rows:
            name = self._names[row.topic]
            partition = partition_of(row.account, self._count(producer, name))
            self._under_way.add(row.seq)
            hand_over(
                producer,
                name,
                row.value.encode(),
                key=row.account.encode(),
                partition=partition,
                on_delivery=lambda error, _, row=row: self._delivered(error, row),
            )
        deadline = time.monotonic() + FLUSH_SECONDS
        while len(producer) and time.monotonic() < deadline and not self._stop.is_set():
            producer.flush(LOOK_SECONDS)
        self._mark()
        if self._under_way:
            self._complain(f"the broker, with {len(self._under_way)} messages")
        return len(rows) == AT_ONCE and not self._under_way

    def _mark(self) -> None:
        """Notes what Kafka has; what cannot be noted now is noted before anything else is sent."""
        if not self._taken:
            return
        with self._engine.begin() as connection:
            connection.execute(
                update(OutgoingRow)
                .where(OutgoingRow.seq.in_([row.seq for row in self._taken]))
                .values(sent_at=utc_now())
            )
        for row in self._taken:
            self._sent[row.topic].inc()
            self._under_way.discard(row.seq)
        self._taken.clear()

    def _count(self, producer: Producer, name: str) -> int:
        """How many partitions a topic has; asked once."""
        if name not in self._partitions:
            found = producer.list_topics(name, timeout=ASK_SECONDS).topics[name].partitions
            if not found:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            self._partitions[name] = len(found)
        return self._partitions[name]

    def _delivered(self, error: KafkaError | None, row: OutgoingRow) -> None:
        if error is None:
            self._taken.append(row)
        else:
            log.error("a message was not taken: %s", error.str())
            self._under_way.discard(row.seq)  # and is offered again

    def _complain(self, what: str) -> None:
        if self._stop.is_set():
            return
        self._failed.inc()
        log.warning("the outbox waits for %s", what)
        self._stop.wait(PAUSE_SECONDS)
