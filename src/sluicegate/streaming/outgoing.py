"""What a worker writes besides checkpoints: alerts, arrivals, failed judgements, progress."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer
from pydantic_core import to_json

from sluicegate.domain.alert import AlertFields
from sluicegate.errors import Problem
from sluicegate.memory.accounts import Records
from sluicegate.memory.past_scores import Singles
from sluicegate.operations.few_lines import FewLines
from sluicegate.operations.logs import mask_account
from sluicegate.settings import Settings
from sluicegate.streaming.figures import WorkerFigures
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.producing import SAFE, hand_over, is_flushed
from sluicegate.streaming.progress import Progress
from sluicegate.streaming.topics import Topics
from sluicegate.streaming.unjudged import JUDGEMENT_FAILED, UnjudgedLeg

log = logging.getLogger(__name__)

GATHERED_ENOUGH: Final = 8_192
"""Arrivals that are sent on although more are to come."""
COMPLAIN_SECONDS: Final = 5.0


class Outgoing:
    """The worker's producer; `failed` is told, from any thread, when a record was not taken."""

    def __init__(
        self,
        settings: Settings,
        config: dict[str, Any],
        figures: WorkerFigures,
        failed: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._topics = Topics.of(settings)
        self._figures = figures
        self._tell_failed = failed
        self._outbox = Outbox(settings.topics.partitions)
        self._outbox_since = 0.0
        self._judged: list[tuple[int, int, Iterable[AlertFields | UnjudgedLeg]]] = []
        self._raised = FewLines(__name__, "alert raised")
        self._complained_at = 0.0
        self.failure: Exception | None = None
        """The first record that was not taken: nothing may be called safe after it."""
        self._producer = Producer(
            {
                **config,
                **SAFE,
                "linger.ms": 0,
                "queue.buffering.max.messages": 1_000_000,
                "error_cb": self._client_failed,
            }
        )

    # Arrivals and alerts are gathered: each request costs the broker a quarter of a millisecond.

    def gather(self, origin: Partition, arrivals: Records, carried: Singles | None) -> None:
        """Takes arrivals on their way; they are sent when they are enough, or old enough."""
        if not self._outbox.waiting:
            self._outbox_since = time.monotonic()
        self._outbox.add(origin, arrivals, carried)

    def send_due(self) -> None:
        """Sends the arrivals that are enough, or have waited long enough, while more is to come."""
        gathered_ms = (time.monotonic() - self._outbox_since) * 1000
        if self._outbox.waiting >= GATHERED_ENOUGH or gathered_ms > self._settings.worker.gather_ms:
            self.send_arrivals()

    def send_all(self) -> None:
        """Sends on all that is gathered."""
        self.send_arrivals()
        self.send_alerts()

    def send_arrivals(self) -> None:
        """Sends on the arrivals gathered."""
        if not self._outbox.waiting:
            return
        self._figures.sent(self._outbox.waiting)
        for target, value in self._outbox.drain():
            self._produce(self._topics.legs, value, partition=target)

    def send_alerts(self) -> None:
        """Makes and sends the alerts gathered: many at once take less time and fewer requests.

        They lie in the partition of their account, which is that of its legs.
        """
        judged, self._judged = self._judged, []
        made: list[tuple[int, AlertFields, bytes]] = []
        for partition, offset, of_message in judged:
            for each in of_message:
                if isinstance(each, UnjudgedLeg):
                    self._keep_unjudged(partition, offset, each)
                else:
                    made.append((partition, each, to_json(each)))
                    self._say(partition, offset, each)
        # One after the other: what librdkafka finds together goes in one request.
        for partition, alert, value in made:
            key = alert["account"].encode()
            self._produce(self._topics.stop_payment, value, key=key, partition=partition)
        self._figures.alerts([alert for _, alert, _ in made])

    def _say(self, partition: int, offset: int, alert: AlertFields) -> None:
        self._raised.say(
            lambda: {
                "trace": alert["transaction_id"],
                "alert": alert["id"],
                "account": mask_account(alert["account"]),
                "side": alert["side"],
                "score": round(alert["score"], 3),
                "measure": alert["measure"].value,
                "pattern": alert["reasons"][0]["pattern"],
                "partition": partition,
                "offset": offset,
            }
        )

    def forget_arrivals(self) -> None:
        """Drops what is gathered: its partitions have gone, their next owner sends it."""
        self._outbox.forget()

    def tell(
        self, partition: int, offset: int, judged: Iterable[AlertFields | UnjudgedLeg]
    ) -> None:
        """Takes the alerts of one legs message on their way, and what could not be judged of it.

        They are made when they are sent.
        """
        self._judged.append((partition, offset, judged))

    def _keep_unjudged(self, partition: int, offset: int, leg: UnjudgedLeg) -> None:
        log.error("pattern %r failed on a leg: %s", leg.pattern, leg.error)
        headers = {
            "reason": JUDGEMENT_FAILED,
            "field": leg.pattern,
            "detail": leg.error[:1000],
            "source_topic": self._topics.legs,
            "source_partition": str(partition),
            "source_offset": str(offset),
        }
        self._produce(
            self._topics.dead_letter,
            leg.model_dump_json().encode(),
            key=leg.account.encode(),
            headers=[(name, text.encode()) for name, text in headers.items()],
        )
        self._figures.unjudged(leg.pattern)

    def publish_progress(self, partitions: Iterable[Partition]) -> None:
        """Tells the router how far each partition has come."""
        applied = {each.number: each.place.applied for each in partitions}
        if not applied:
            return
        progress = Progress(self._settings.worker.slot, time.time_ns() // 1_000_000, applied)
        self._produce(self._topics.progress, progress.message(), partition=0)
        self.poll()

    def poll(self) -> None:
        """Lets the producer tell what was delivered."""
        self._producer.poll(0)

    def flush(self, give_up: Callable[[], bool]) -> bool:
        """Waits until all is acknowledged; False if it gave up, or a record was not taken."""
        flushed = is_flushed(self._producer, lambda: self.failure is not None or give_up())
        return flushed and self.failure is None

    def _produce(self, topic: str, value: bytes, **options: Any) -> None:  # noqa: ANN401 - librdkafka's own
        hand_over(self._producer, topic, value, on_delivery=self._delivered, **options)

    def _delivered(self, error: object, message: Message) -> None:
        """Runs in whatever thread polls or flushes."""
        if error is not None and self.failure is None:
            self.failure = Problem(f"a record for {message.topic()} was not taken", str(error))
            self._tell_failed(self.failure)

    def _client_failed(self, error: KafkaError) -> None:
        """Librdkafka reconnects by itself; what it cannot mend comes with the delivery."""
        if time.monotonic() - self._complained_at > COMPLAIN_SECONDS:
            self._complained_at = time.monotonic()
            log.warning("broker: %s", error.str())
