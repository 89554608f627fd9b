"""All of Kafka in memory, for processes that take one step at a time.

What a producer has taken lies on its `Wire` until it is delivered, in order within a partition and
in any order between partitions, also long after its process was replaced. Nothing is fenced but
what Kafka fences: commits of a router that has lost the group.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numba as nb
from tests.judging.small_model import small_model
from tests.memory.legs import UTC_8
from tests.streaming.flow import Hit, Sighting, hits_of, sightings_of

from sluicegate.judging.patterns import version_of
from sluicegate.memory.accounts import AccountMemory, Floats, Scorer
from sluicegate.memory.features import FEATURE_INDEX
from sluicegate.memory.step import STRENGTHS
from sluicegate.settings import RouterSettings, Settings, TopicSettings
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.topics import Topics

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from confluent_kafka import TopicPartition

LEGS: Final = 3
SOURCES: Final = 2
REACH: Final = 4
CAPACITY: Final = 16
SWEEP: Final = 2
"""Checkpoints in which a sweep writes every row again."""
SETTINGS: Final = Settings(
    topics=TopicSettings(partitions=LEGS), router=RouterSettings(repeat_reach=REACH)
)
TOPICS: Final = Topics.of(SETTINGS)
RECORDED_AT_MS: Final = 1_772_942_400_000
"""2026-03-08 12:00 in China: when the bank's first record was written."""

_AMOUNT: Final = FEATURE_INDEX["amount"]
_OUTFLOW_24H: Final = FEATURE_INDEX["outflow_24h"]
_INFLOW_COUNT: Final = FEATURE_INDEX["inflow_count"]
_PAYER_SCORE: Final = FEATURE_INDEX["payer_score"]


@nb.njit(STRENGTHS, cache=False)
def by_memory(
    _side: int, features: Floats, strengths: Floats
) -> float:  # pragma: no cover - compiled
    """A score that hangs on all the row has seen, and on the payer's: nothing is forgotten."""
    carried = features[_PAYER_SCORE]
    weight = features[_OUTFLOW_24H] / 100.0 + features[_INFLOW_COUNT] + features[_AMOUNT] / 500.0
    weight += 0.0 if carried != carried else 3.0 * carried  # noqa: PLR0124 - not a number
    strengths[0] = weight / (1.0 + weight)
    return float(strengths[0])


SCORER: Final = Scorer(by_memory, 1, 0.6, UTC_8)
PUBLISHED: Final = {
    b"stricter": replace(SCORER, threshold=0.4),
    b"with a model": replace(SCORER, model=small_model()),
}
"""What judges when this was published."""
SETS: Final = {
    "": SCORER,
    **{version_of(content.decode()): scorer for content, scorer in PUBLISHED.items()},
}
"""The same by the version that is active in a partition."""


class Died(Exception):  # noqa: N818 - not an error: what the schedule wanted
    """A process was killed between two effects."""


@dataclass(frozen=True, slots=True)
class Record:
    """A message of a source topic, as librdkafka gives it."""

    number: int
    at: int
    body: bytes
    source: str = TOPICS.transactions

    def error(self) -> None:
        return None

    def value(self) -> bytes:
        return self.body

    def key(self) -> bytes | None:
        return version_of(self.body.decode()).encode() if self.source == TOPICS.patterns else None

    def topic(self) -> str:
        return self.source

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, RECORDED_AT_MS + 60_000 * self.at


class Wire:
    """What a producer has taken and no log holds yet: in order within a partition, no further."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, int], deque[Callable[[], object]]] = {}

    def put(self, topic: str, partition: int, deliver: Callable[[], object]) -> None:
        self._queues.setdefault((topic, partition), deque()).append(deliver)

    def deliver(self, chosen: int) -> bool:
        """Delivers the next record of one partition; whether there was any."""
        waiting = [queue for queue in self._queues.values() if queue]
        if not waiting:
            return False
        queue = waiting[chosen % len(waiting)]
        queue[0]()  # it stays if its process dies of it
        queue.popleft()
        return True

    def deliver_some(self, draw: random.Random, most: int) -> None:
        """Delivers so many, of any partitions."""
        for _ in range(min(most, self.waiting)):
            self.deliver(draw.randrange(100))

    def flush(self) -> None:
        """Delivers all, one partition after the other."""
        while self.deliver(0):
            pass

    @property
    def waiting(self) -> int:
        """Records that no log holds yet."""
        return sum(map(len, self._queues.values()))


@dataclass
class World:
    """All that Kafka holds."""

    transactions: list[list[Record]]
    told: list[Record] = field(default_factory=list)
    """Profiles, directives and published sets, in one partition of each topic."""
    legs: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(LEGS)])
    changelogs: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(LEGS)])
    trimmed: list[int] = field(default_factory=lambda: [0] * LEGS)
    """First offset that each changelog still has."""
    hits: set[Hit] = field(default_factory=set)
    """Every alert on the topic; one that is there twice is there once, as in the database."""
    dead: set[tuple[int, int, str]] = field(default_factory=set)
    """What is in dead-letter: source partition, offset, reason."""
    committed: dict[tuple[str, int], TopicPartition] = field(default_factory=dict)
    routers: int = 0
    """How many routers there were: the last one holds the group."""
    fuse: int | None = None
    """Effects until the process that acts now is killed."""

    def told_of(self, topic: str) -> list[Record]:
        """One of the topics that tell of accounts, or the published sets."""
        return [record for record in self.told if record.source == topic]

    def effect(self) -> None:
        """Something is about to be written.

        Raises:
            Died: before it was.
        """
        if self.fuse is not None:
            if self.fuse == 0:
                raise Died
            self.fuse -= 1

    def append(self, log: list[bytes], value: bytes) -> int:
        self.effect()
        log.append(value)
        return len(log) - 1


@dataclass
class Replayed:
    """A legs log, applied offline from its first message to its last."""

    digests: list[str] = field(default_factory=list)
    """After each message; the first one is that of no message."""
    sightings: list[Sighting] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    places: list[tuple[dict[str, int], dict[int, int]]] = field(default_factory=list)
    """Sources and sent on, after each message."""
    activated: list[str] = field(default_factory=list)
    """The set that judges, after each message."""


def replay(number: int, log: Sequence[bytes]) -> Replayed:
    partition, outbox = Partition(number, AccountMemory(CAPACITY)), Outbox(LEGS)
    replayed = Replayed()

    def note() -> None:
        place = partition.place
        replayed.digests.append(partition.memory.digest())
        replayed.places.append((dict(place.sources), dict(place.sent)))
        replayed.activated.append(place.activated)

    note()
    for offset, value in enumerate(log):
        applied = partition.apply(offset, value, SETS[partition.place.activated])
        if applied is None:
            raise AssertionError(f"offset {offset} was applied before")
        replayed.sightings += sightings_of(applied)
        replayed.hits += hits_of(applied)
        outbox.add(partition, applied.stepped.arrivals, applied.stepped.carried)
        list(outbox.drain())
        note()
    return replayed
