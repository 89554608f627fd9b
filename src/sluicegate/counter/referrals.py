"""Referred checks as alerts on stop-payment, origin `counter`, for the desk to act on.

An alert is in the counter's database before it is sent, and marked when Kafka has taken it; what is
not marked is sent again at the next start, under the same id.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from confluent_kafka import KafkaError, Producer
from prometheus_client import Counter
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.counter.contract import Intended, SideTold
from sluicegate.counter.database import mark_sent, unsent_alerts
from sluicegate.counter.verdict import VERDICTS, Verdict
from sluicegate.domain.alert import Alert, alert_id, moment_of
from sluicegate.liaison.database import reason_of
from sluicegate.operations.background import Background
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.producing import SAFE, hand_over
from sluicegate.streaming.topics import Topics

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
LEAVE_SECONDS: Final = 1.0
COMPLAIN_SECONDS: Final = 5.0


def alerts_for(
    intended: Intended,
    sides: Iterable[tuple[SideTold, dict[str, float]]],
    version: str,
    now_ms: int,
) -> list[dict[str, Any]]:
    """Rows of the alerts of a check: one for each side that alone would be referred.

    The check's id stands for the transaction's: what is asked may never be executed, and if it is,
    the alert of the stream must not pass for a repeat of this one.
    """
    transaction = intended.transaction
    alerts = [
        Alert(
            id=alert_id(intended.check_id, side.account, side.side),
            transaction_id=intended.check_id,
            account=side.account,
            side=side.side,
            counterparty=transaction.payee_account
            if side.side == "outflow"
            else transaction.payer_account,
            amount_minor=transaction.amount_minor,
            currency=transaction.currency,
            score=side.score,
            measure=side.measure,
            reasons=side.reasons,
            facts=facts,
            occurred_at=moment_of(transaction.occurred_at_ms),
            recorded_at=moment_of(now_ms),
            detected_at=moment_of(now_ms),
            pattern_set_version=version,
            origin="counter",
        )
        for side, facts in sides
        if VERDICTS[side.measure] is Verdict.REFER
    ]
    return [
        {
            "id": each.id,
            "check_id": intended.check_id,
            "account": each.account,
            "value": each.model_dump_json(),
            "sent_at": None,
        }
        for each in alerts
    ]


class Referrals(Background):
    """Sends alerts from a thread of its own, and marks those that Kafka has taken."""

    def __init__(self, settings: Settings, bootstrap: str, engine: Engine, taken: Counter) -> None:
        super().__init__("referrals")
        self._engine = engine
        self._topic = Topics.of(settings).stop_payment
        self._partitions = settings.topics.partitions
        self._taken_count = taken
        self._config = {
            **confluent_config(settings.broker, bootstrap),
            **SAFE,
            "linger.ms": 0,
            "log_level": 2,
        }
        self._waiting: deque[tuple[str, str, str]] = deque()
        self._taken: list[str] = []
        self._complained_at = float("-inf")
        self._due = threading.Event()

    def start(self) -> None:
        """Begins with what an earlier run left unsent."""
        self._waiting.extend(unsent_alerts(self._engine))
        self._due.set()
        super().start()

    def send(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Takes alerts that are in the database; any thread may call."""
        self._waiting.extend((each["id"], each["account"], each["value"]) for each in alerts)
        self._due.set()

    def stop(self) -> None:
        """Waits a moment for Kafka; what it does not take now is sent at the next start."""
        self._stop.set()
        self._due.set()
        super().stop()

    def _run(self) -> None:
        producer = Producer({**self._config, "error_cb": self._complain})
        while not self._stop.is_set():
            self._due.wait(POLL_SECONDS)
            self._due.clear()
            self._hand_over(producer)
            producer.poll(0)
            self._mark()
        self._hand_over(producer)
        producer.flush(LEAVE_SECONDS)
        self._mark()

    def _hand_over(self, producer: Producer) -> None:
        with suppress(IndexError):
            while True:
                alert_id_, account, value = self._waiting.popleft()
                hand_over(
                    producer,
                    self._topic,
                    value.encode(),
                    key=account.encode(),
                    partition=partition_of(account, self._partitions),
                    on_delivery=lambda error, _, id_=alert_id_: self._delivered(error, id_),
                )
        if self._waiting or len(producer):
            producer.poll(POLL_SECONDS)

    def _delivered(self, error: KafkaError | None, alert: str) -> None:
        if error is None:
            self._taken.append(alert)
        else:
            log.error("an alert was not taken by %s: %s", self._topic, error.str())

    def _mark(self) -> None:
        if not self._taken:
            return
        try:
            mark_sent(self._engine, self._taken, datetime.now(UTC))
        except SQLAlchemyError as error:  # marked with the next ones
            log.warning("sent alerts cannot be marked: %s", reason_of(error))
        else:
            self._taken_count.inc(len(self._taken))
            self._taken = []

    def _complain(self, error: KafkaError) -> None:
        """Librdkafka connects again by itself."""
        if time.monotonic() - self._complained_at > COMPLAIN_SECONDS:
            self._complained_at = time.monotonic()
            log.warning("broker: %s", error.str())
