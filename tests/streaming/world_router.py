"""The router itself over the logs of a `World`: it reads when it is told to."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from tests.streaming.world import (
    REACH,
    SETTINGS,
    SOURCES,
    TOPICS,
    Record,
    Wire,
    World,
)

from sluicegate.domain.transaction import Rules
from sluicegate.operations.metrics import Metrics, Part
from sluicegate.streaming import router as router_module
from sluicegate.streaming import sources as sources_module
from sluicegate.streaming import told as told_module
from sluicegate.streaming.blocks import Block
from sluicegate.streaming.committed import Committed
from sluicegate.streaming.decoder import Decoder
from sluicegate.streaming.figures import RouterFigures
from sluicegate.streaming.lead import Lead
from sluicegate.streaming.records import SourceRecord
from sluicegate.streaming.refusing import DeadLetters
from sluicegate.streaming.repeats import Repeats
from sluicegate.streaming.router import Read, Router
from sluicegate.streaming.stretch import Stretch
from sluicegate.streaming.told import Told

if TYPE_CHECKING:
    from collections.abc import Sequence

_DECODER: Final = Decoder(
    Rules(
        SETTINGS.contract.base_currency,
        SETTINGS.contract.max_ahead_seconds * 1000,
        SETTINGS.contract.max_bytes,
    )
)
_FIGURES: Final = RouterFigures(Metrics(Part.ROUTER))


class _Producer:
    """The router's producer."""

    def __init__(self, world: World, wire: Wire) -> None:
        self._world, self._wire = world, wire

    def produce(self, topic: str, value: bytes, **options: Any) -> None:
        delivered = options["on_delivery"]
        if topic == TOPICS.legs:
            number = options["partition"]

            def to_legs() -> None:
                offset = self._world.append(self._world.legs[number], value)
                delivered(None, Record(number, offset, value))

            self._wire.put(topic, number, to_legs)
        else:
            told = {name: text.decode() for name, text in options["headers"]}
            place = int(told["source_partition"]), int(told["source_offset"]), told["reason"]

            def to_dead_letter() -> None:
                self._world.effect()
                self._world.dead.add(place)

            self._wire.put(topic, 0, to_dead_letter)

    def flush(self, _seconds: float) -> int:
        self._wire.flush()
        return len(self)

    def __len__(self) -> int:
        return self._wire.waiting


class _Group:
    """The routers' group and the bounds of topics, as the router's clients ask for them."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.routers += 1
        self._generation = world.routers

    def partitions(self, topic: str, _seconds: float) -> list[int]:
        return list(range(SOURCES if topic == TOPICS.transactions else 1))

    def committed(self, asked: list[TopicPartition], **_: object) -> list[TopicPartition]:
        known = self._world.committed
        return [known.get((place.topic, place.partition), place) for place in asked]

    def bounds(
        self, topic: str, partitions: list[int], _seconds: float
    ) -> dict[int, tuple[int, int]]:
        if topic == TOPICS.transactions:
            return {each: (0, len(self._world.transactions[each])) for each in partitions}
        return dict.fromkeys(partitions, (0, len(self._world.told_of(topic))))

    def commit(self, offsets: list[TopicPartition], **_: object) -> None:
        self._world.effect()
        if self._generation != self._world.routers:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        self._world.committed |= {(place.topic, place.partition): place for place in offsets}


class _Logs:
    """Reads the partitions of the transactions topic, each from an offset on."""

    def __init__(self, world: World, starts: dict[int, int]) -> None:
        self._logs = world.transactions
        self._next = starts

    def read(self, number: int, most: int, _seconds: float) -> Block:
        start = self._next[number]
        records = self._logs[number][start : start + most]
        self._next[number] += len(records)
        return Block.of([(_source(each), each.timestamp()[1]) for each in records])

    def end(self, number: int) -> int:
        return len(self._logs[number])


def _source(record: Record) -> SourceRecord:
    return SourceRecord(record.source, record.number, record.at, None, record.body)


class _Pulled:
    """The consumer of what is told: gives so much as the schedule lets come."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._at: dict[str, int] = {}
        self.allowed = 0

    def assign(self, places: list[TopicPartition]) -> None:
        self._at = {place.topic: place.offset for place in places}

    def consume(self, _most: int, _seconds: float) -> list[Record]:
        found: list[Record] = []
        for topic, start in self._at.items():
            came = self._world.told_of(topic)[start : start + self.allowed]
            self._at[topic] = start + len(came)
            found += came
        self.allowed = 0
        return found


class _Stretches:
    """What reads the topic of directives again at the start."""

    def __init__(self, world: World) -> None:
        self._world = world

    def whole(self, topic: str, number: int) -> Stretch:
        return Stretch(topic, number, 0, len(self._world.told_of(topic)))

    def read(self, stretch: Stretch) -> list[Record]:
        return self._world.told_of(stretch.topic)[stretch.start : stretch.end]

    def close(self) -> None:
        """Nothing is open."""


class RouterProcess(Router):
    """The router itself, over the logs of a world; it reads when it is told to."""

    def __init__(self, world: World) -> None:
        self.wire = Wire()
        self._world = world
        connected: Any = self
        connected._settings, connected._topics, connected._config = SETTINGS, TOPICS, {}
        connected._decoder, connected._figures, connected._failure = _DECODER, _FIGURES, None
        connected._producer, connected._group = _Producer(world, self.wire), _Group(world)
        connected._active = connected._stop = threading.Event()
        connected._lead = Lead(1, 1)

        def read_logs(_: object, __: str, starts: dict[int, int]) -> _Logs:
            return _Logs(world, starts)

        def topic_identity(_: object, *topics: str) -> dict[str, str]:
            return dict.fromkeys(topics, "bank")

        def refused_among(*_: object) -> dict[int, list[int]]:
            return {number: [] for number in range(SOURCES)}

        connected._dead_letters = DeadLetters(
            connected._producer, TOPICS.dead_letter, 1_000_000, _FIGURES, self._failed
        )
        self._pulled = _Pulled(world)
        with (
            patch.object(told_module, "Consumer", lambda _: self._pulled),
            patch.object(told_module, "StretchReader", lambda _: _Stretches(world)),
            patch.object(told_module, "topic_identity", topic_identity),
            patch.object(sources_module, "BlockReader", read_logs),
            patch.object(router_module, "topic_identity", topic_identity),
            patch.object(router_module, "refused_among", refused_among),
        ):
            group = connected._group
            committed = Committed(group, group, threading.Event())
            self._readers, connected._chains = self._resume(committed)
            connected._told = Told(SETTINGS, {}, committed, connected._dead_letters)
            self._told.resume()
        connected._repeats = {reader.partition: Repeats(REACH) for reader in self._readers}

    def route(self, counts: Sequence[int]) -> None:
        """Takes up to so many records of each source partition, in one pass."""
        reads = []
        for reader, count in zip(self._readers, counts, strict=True):
            block = reader.read(count, 0)
            if len(block):
                reads.append(Read(reader, block))
        if reads:
            self._pass(reads, holds=False)

    def tell(self, most: int) -> None:
        """Passes on up to so much of what each topic tells of accounts."""
        self._pulled.allowed = most
        self._tell()

    def commit(self) -> None:
        """Flushes, then commits where it stands."""
        self._commit(self._readers)

    def release(self) -> None:
        """Delivers what is still on the wire."""
        self.wire.flush()
