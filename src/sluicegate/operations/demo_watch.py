"""What the demo sees of the pipeline: the alerts as a consumer reads them, and its figures."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, NamedTuple

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from sluicegate.domain.alert import Alert
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.progress import Progress
from sluicegate.streaming.topics import Topics

POLL_SECONDS: Final = 0.1
REQUEST_SECONDS: Final = 5.0
SCRAPE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """An alert, and when a consumer had it: milliseconds since the epoch."""

    alert: Alert
    received_ms: int

    @property
    def recorded_ms(self) -> int:
        """Timestamp of the source record."""
        return round(self.alert.recorded_at.timestamp() * 1000)

    @property
    def delay_ms(self) -> int:
        """From the source record's timestamp to the alert read by a consumer."""
        return self.received_ms - self.recorded_ms


class Quantiles(NamedTuple):
    """Of delays, in milliseconds."""

    p50: float
    p99: float
    p999: float


@dataclass(frozen=True, slots=True)
class Figures:
    """How many of each there are: in the topic, and in what the parts show to Prometheus."""

    sent: int = 0
    read: int = 0
    repeats: int = 0
    refused: int = 0
    legs: int = 0
    stored: int = 0


class Watch:
    """Reads along; close it, or its thread goes with the process."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings = settings
        self._topics = Topics.of(settings)
        self._config: dict[str, Any] = confluent_config(settings.broker, bootstrap) | {
            "group.id": "sluicegate-unused",  # nothing is joined or committed
            "enable.auto.commit": False,
            "log_level": 2,
        }
        # Under the routers' name, to ask where they are.
        router_group = f"{settings.topics.prefix}{settings.router.group}"
        self._asking = Consumer(self._config | {"group.id": router_group})
        self._seen: deque[Seen] = deque()
        self._applied: dict[int, int] = {}
        self._stop = threading.Event()
        self.first_applied_at: float | None = None
        """When a worker had first applied something, of the monotonic clock."""
        self._thread = threading.Thread(target=self._read_along, daemon=True)
        self._thread.start()

    def take(self) -> list[Seen]:
        """The alerts that were read since the last time."""
        return [self._seen.popleft() for _ in range(len(self._seen))]

    def figures(self) -> Figures:
        """The figures now; a part that does not answer shows zeros."""
        bind, settings = self._settings.metrics.bind, self._settings
        router = _scrape(bind, settings.router.metrics_port)
        worker = _scrape(bind, settings.worker.metrics_port)
        liaison = _scrape(bind, settings.liaison.metrics_port)
        return Figures(
            sent=self._sent(),
            read=router.get("sluicegate_router_transactions_total", 0),
            repeats=router.get("sluicegate_router_repeats_total", 0),
            refused=router.get("sluicegate_router_refused_total", 0),
            legs=worker.get("sluicegate_worker_legs_total", 0),
            stored=liaison.get("sluicegate_liaison_stored_total", 0),
        )

    def workers_are_ready(self) -> bool:
        """Whether all partitions have their worker."""
        return len(self._applied) == self._settings.topics.partitions

    def has_caught_up(self) -> bool:
        """Whether all that was sent has been routed, and all that was routed is applied."""
        sent = self._sent()
        routed = self._routed()
        if routed is None or sent not in (routed, self._read_by_router()):
            return False
        # Twice: an arrival may still be on its way into the log when its departure is applied.
        return all(self._all_applied(pause) for pause in (0.0, 0.05))

    def close(self) -> None:
        """Leave the cluster."""
        self._stop.set()
        self._thread.join()
        self._asking.close()

    def _all_applied(self, pause_seconds: float) -> bool:
        time.sleep(pause_seconds)
        ends = self._ends(self._topics.legs, self._settings.topics.partitions)
        return bool(ends) and all(
            self._applied.get(partition, -1) + 1 >= end for partition, end in enumerate(ends)
        )

    def _sent(self) -> int:
        """Transactions in the topic."""
        return sum(
            self._ends(self._topics.transactions, self._settings.topics.transactions_partitions)
        )

    def _ends(self, topic: str, partitions: int) -> list[int]:
        """The end of each partition; [] if the broker cannot say now."""
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        ask = self._asking.get_watermark_offsets
        try:
            return [int(ask(place, timeout=REQUEST_SECONDS)[1]) for place in places]
        except KafkaException:
            return []

    def _read_by_router(self) -> int:
        """Transactions that the router has read since it started."""
        page = _scrape(self._settings.metrics.bind, self._settings.router.metrics_port)
        return page.get("sluicegate_router_transactions_total", 0)

    def _routed(self) -> int | None:
        """Transactions up to the routers' committed places, once a second; None: no router yet."""
        places = [
            TopicPartition(self._topics.transactions, partition)
            for partition in range(self._settings.topics.transactions_partitions)
        ]
        try:
            offsets = [
                place.offset for place in self._asking.committed(places, timeout=REQUEST_SECONDS)
            ]
        except KafkaException:
            return None
        return sum(offsets) if min(offsets) >= 0 else None

    def _read_along(self) -> None:
        consumer = Consumer(self._config)
        alerts, progress = self._topics.stop_payment, self._topics.progress
        consumer.assign(
            [
                TopicPartition(progress, 0, OFFSET_BEGINNING),
                *(
                    TopicPartition(alerts, partition, OFFSET_BEGINNING)
                    for partition in range(self._settings.topics.partitions)
                ),
            ]
        )
        while not self._stop.is_set():
            message = consumer.poll(POLL_SECONDS)
            if message is None or message.error() is not None:
                continue
            value = message.value() or b"{}"
            if message.topic() == alerts:
                now_ms = time.time_ns() // 1_000_000
                self._seen.append(Seen(Alert.model_validate_json(value), now_ms))
            else:
                self._note_progress(Progress.read(value))
        consumer.close()

    def _note_progress(self, progress: Progress) -> None:
        for partition, offset in progress.applied.items():
            self._applied[partition] = offset
            if offset >= 0 and self.first_applied_at is None:
                self.first_applied_at = time.monotonic()


def quantiles_of(delays_ms: Sequence[int]) -> Quantiles | None:
    """None where nothing was measured."""
    if not delays_ms:
        return None
    p50, p99, p999 = np.percentile(delays_ms, (50.0, 99.0, 99.9)).round(1).tolist()
    return Quantiles(p50, p99, p999)


def _scrape(host: str, port: int) -> dict[str, int]:
    """Counters by name, summed over their labels; {} if nobody answers."""
    connection = HTTPConnection(host, port, timeout=SCRAPE_SECONDS)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except (OSError, HTTPException):
        return {}
    finally:
        connection.close()
    counters: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        base = name.partition("{")[0]
        if base.endswith("_total") and not base.startswith("#"):
            counters[base] = counters.get(base, 0) + round(float(value))
    return counters
