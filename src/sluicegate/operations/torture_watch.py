"""Looks from outside how far everyone is, without disturbing: only asks the broker."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from sluicegate.operations.torture_parts import Life
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.offsets import ASK_SECONDS, Offsets
from sluicegate.streaming.progress import Progress, first_judged_ms
from sluicegate.streaming.topics import Topics

ONLY_READS: Final[dict[str, Any]] = {
    "group.id": "sluicegate-torture",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "fetch.queue.backoff.ms": 1,
}
STABLE_SECONDS: Final = 2.0
AIM_SECONDS: Final = 2.0
AIM_ASK_SECONDS: Final = 0.3
MOST_MESSAGES: Final = 100_000


@dataclass
class ProgressLog:
    """All that workers said, in order."""

    said: list[Progress] = field(default_factory=list)
    applied: dict[int, int] = field(default_factory=dict)
    """The furthest of each legs partition."""

    def add(self, value: bytes | None) -> None:
        """Take a message of the progress topic."""
        progress = Progress.read(value)
        self.said.append(progress)
        for number, offset in progress.applied.items():
            self.applied[number] = max(offset, self.applied.get(number, -1))


class Watch:
    """Asks the broker; while it is away, nothing is settled."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings = settings
        self._topics = Topics.of(settings)
        reached: dict[str, Any] = {
            **confluent_config(settings.broker, bootstrap),
            "log_level": 2,
        }
        self._config = {**reached, **ONLY_READS}
        prefix = settings.topics.prefix
        self._reader = Consumer(self._config)
        self._offsets = Offsets(reached)
        self._groups = {
            self._topics.transactions: self._member(f"{prefix}{settings.router.group}"),
            self._topics.stop_payment: self._member(f"{prefix}{settings.liaison.group}"),
        }
        self._settled_at: float | None = None
        self.progress = ProgressLog()
        self._reader.assign([TopicPartition(self._topics.progress, 0, 0)])

    def close(self) -> None:
        """Leave the cluster."""
        for consumer in (self._reader, *self._groups.values()):
            consumer.close()

    def listen(self) -> None:
        """Hear what workers said in the meantime."""
        for message in self._reader.consume(MOST_MESSAGES, 0.0):
            if message.error() is None:
                self.progress.add(message.value())

    def is_settled(self) -> bool:
        """Whether for some time all that was sent has gone all its way."""
        self.listen()
        if self.behind():
            self._settled_at = None
            return False
        self._settled_at = self._settled_at or time.monotonic()
        return time.monotonic() - self._settled_at > STABLE_SECONDS

    def behind(self) -> list[str]:
        """Who has not come to the end; the broker itself, while it does not answer."""
        try:
            return [*self._readers_behind(), *self._logs_behind()]
        except KafkaException as error:
            return [f"the broker: {error.args[0].str()}"]

    def await_checkpoint(self) -> bool:
        """Return when a checkpoint is being written; False if there was none in some seconds."""
        topic = self._topics.changelog
        deadline = time.monotonic() + AIM_SECONDS
        before: dict[int, int] | None = None
        numbers = range(self._settings.topics.partitions)
        while time.monotonic() < deadline:
            try:
                ends = self._offsets.ends(topic, numbers, AIM_ASK_SECONDS)
            except KafkaException:
                return False
            if before is not None and ends != before:
                return True
            before = ends
        return False

    def _member(self, group: str) -> Consumer:
        return Consumer({**self._config, "group.id": group})

    def _readers_behind(self) -> list[str]:
        topics = self._settings.topics
        counts = {
            self._topics.transactions: topics.transactions_partitions,
            self._topics.stop_payment: topics.partitions,
        }
        behind = []
        for topic, group in self._groups.items():
            places = [TopicPartition(topic, number) for number in range(counts[topic])]
            ends = self._offsets.ends(topic, range(counts[topic]))
            for place in group.committed(places, timeout=ASK_SECONDS):
                end = ends[place.partition]
                if max(place.offset, 0) < end:
                    behind.append(f"{topic}[{place.partition}] read to {place.offset} of {end}")
        return behind

    def _logs_behind(self) -> list[str]:
        behind = []
        numbers = range(self._settings.topics.partitions)
        for number, end in self._offsets.ends(self._topics.legs, numbers).items():
            applied = self.progress.applied.get(number, -1)
            if applied + 1 < end:
                behind.append(f"legs[{number}] applied to {applied} of {end}")
        return behind


def recoveries(lives: Sequence[Life], said: Sequence[Progress]) -> list[float]:
    """Seconds from each start of a worker to its first judged leg, for the lives that had one."""
    found = []
    for life in lives:
        ends_ms = min((other.began_ms for other in lives if _follows(other, life)), default=None)
        own = [
            word
            for word in said
            if word.worker == life.slot
            and word.at_ms >= life.began_ms
            and (ends_ms is None or word.at_ms < ends_ms)
        ]
        judged_ms = first_judged_ms(own)
        if judged_ms is not None:
            found.append((judged_ms - life.began_ms) / 1000)
    return found


def _follows(other: Life, life: Life) -> bool:
    return other.slot == life.slot and other.began_ms > life.began_ms
