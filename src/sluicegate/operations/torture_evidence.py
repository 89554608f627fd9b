"""Reads what the pipeline left behind: logs, changelogs, alerts, the desk's database."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from confluent_kafka import Message
from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.domain.alert import Alert
from sluicegate.liaison.database import AlertRow, open_database
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.operations.torture_compare import Stand
from sluicegate.settings import Settings
from sluicegate.streaming.checkpoint import Restorer
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.legs import RecordType, unpack
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.partitioning import partitions_of
from sluicegate.streaming.published import ActiveSets
from sluicegate.streaming.stretch import StretchReader
from sluicegate.streaming.topics import Topics


class Shelf:
    """The topics of the pipeline, to be read from begin to end."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self.settings = settings
        self.topics = Topics.of(settings)
        self.config = confluent_config(settings.broker, bootstrap)
        self._reader = StretchReader(self.config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def partitions(self) -> range:
        """Numbers of the legs partitions."""
        return range(self.settings.topics.partitions)

    def messages(self, topic: str, partition: int = 0) -> Iterator[Message]:
        """All that a partition holds now.

        Raises:
            Problem: it cannot be read.
        """
        yield from self._reader.read(self._reader.whole(topic, partition))

    def alerts(self) -> Iterator[Alert]:
        """What stop-payment says, repeats as often as they are there."""
        for partition in self.partitions:
            for message in self.messages(self.topics.stop_payment, partition):
                yield Alert.model_validate_json(message.value() or b"")

    def restored(self, partition: int) -> Stand:
        """The state that a new owner of the partition would begin with."""
        restorer = Restorer(AccountMemory(self.settings.worker.accounts_per_partition))
        for message in self.messages(self.topics.changelog, partition):
            restorer.feed(message.value())
        place = restorer.place
        return Stand(place.applied, restorer.memory.digest(), place.sources)


@dataclass
class Replayed:
    """What the legs logs come to when they are applied offline, one partition after another."""

    stands: dict[int, Stand] = field(default_factory=dict)
    given: defaultdict[int, list[Records]] = field(default_factory=lambda: defaultdict(list))
    """Arrivals that the departures of all logs give, by the partition they belong to."""
    there: defaultdict[int, list[Records]] = field(default_factory=lambda: defaultdict(list))
    """Arrivals as they lie in the logs, repeats included."""


def replay(shelf: Shelf, say: Callable[[str], None]) -> Replayed:
    """Applies each log to an empty memory, and keeps the arrivals.

    Raises:
        Problem: a log is not what a worker would apply.
    """
    replayed = Replayed()
    sets = ActiveSets(shelf.settings, shelf.config)
    for number in shelf.partitions:
        say(f"replays legs partition {number}")
        memory = AccountMemory(shelf.settings.worker.accounts_per_partition)
        partition = Partition(number, memory)
        for message in shelf.messages(shelf.topics.legs, number):
            _note_arrivals(replayed.there[number], message.value())
            scorer = sets.of(partition.place.activated).scorer
            applied = partition.apply(message.offset() or 0, message.value(), scorer)
            if applied is not None:
                _hand_out(replayed.given, applied.stepped.arrivals, len(shelf.partitions))
        place = partition.place
        replayed.stands[number] = Stand(place.applied, memory.digest(), place.sources)
    return replayed


def _note_arrivals(there: list[Records], value: bytes | None) -> None:
    batch = unpack(value)
    if batch.type is RecordType.ARRIVALS:
        there.append(batch.records)


def _hand_out(given: defaultdict[int, list[Records]], arrivals: Records, partitions: int) -> None:
    targets = partitions_of(arrivals["account"], partitions)
    for target in set(targets.tolist()):
        given[target].append(arrivals[targets == target])


def stored_alerts(settings: Settings) -> list[Alert]:
    """The rows of the desk's database, as the alerts they are."""
    engine = open_database(settings.liaison.url)
    try:
        with Session(engine) as session:
            rows = session.scalars(select(AlertRow)).all()
            return [
                Alert.model_validate({name: getattr(row, name) for name in Alert.model_fields})
                for row in rows
            ]
    finally:
        engine.dispose()
