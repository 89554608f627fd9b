"""A flow of payments laid down on a real broker: its legs logs and its changelogs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from tests.memory.legs import directive, profile
from tests.memory.oracle import Holder, Order
from tests.streaming.flow import CAPACITY, Flow, Payment

from sluicegate.settings import Settings, TopicSettings, WorkerSettings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.partitioning import partition_of
from sluicegate.streaming.state import Digests, StateReader, digests_of
from sluicegate.streaming.stretch import StretchReader
from sluicegate.streaming.topics import Topics, create_topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.operations.broker import EmbeddedBroker

PARTITIONS = 3
MINUTE_MS = 60_000


def some_payments(count: int = 60) -> list[Payment]:
    """Among thirty accounts, some in cash."""
    return [
        Payment(
            f"T{number}",
            None if number % 11 == 0 else f"A{number % 30}",
            None if number % 13 == 5 and number % 11 else f"A{(7 * number + 3) % 30}",
            minor=50_000 + 7 * number,
            at_ms=1_772_942_400_000 + number * MINUTE_MS,
        )
        for number in range(count)
    ]


class Shelf:
    """Topics of one's own, and what a flow wrote to them."""

    def __init__(self, broker: EmbeddedBroker, prefix: str, partitions: int = PARTITIONS) -> None:
        self.bootstrap = broker.bootstrap
        self.settings = Settings(
            topics=TopicSettings(prefix=prefix, partitions=partitions),
            worker=WorkerSettings(accounts_per_partition=CAPACITY, session_timeout_seconds=6),
        )
        self.topics = Topics.of(self.settings)
        self.config = confluent_config(self.settings.broker, self.bootstrap)
        create_topics(self.settings, self.bootstrap)
        with closing(StretchReader(self.config)) as reader:
            for topic in (self.topics.legs, self.topics.changelog):
                for number in range(partitions):
                    reader.whole(topic, number)

    @property
    def identity(self) -> dict[str, str]:
        """Of the legs topic that is there."""
        return topic_identity(self.config, self.topics.legs)

    def lay(self, flow: Flow) -> None:
        """Writes the flow's logs and changelogs."""
        self.lay_legs(flow)
        for number, changelog in enumerate(flow._changelogs):
            self.write(self.topics.changelog, number, changelog)

    def lay_legs(self, flow: Flow) -> None:
        """Writes the flow's logs alone."""
        for number, log in enumerate(flow.logs):
            self.write(self.topics.legs, number, log)

    def write(self, topic: str, number: int, values: Sequence[bytes]) -> None:
        """Writes messages in order."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for value in values:
            producer.produce(topic, value, partition=number)
        assert producer.flush(30) == 0

    def digests(self, *, checkpointed: bool = False) -> Digests:
        """As `sluicegate state digest` has them."""
        with closing(StateReader(self.settings, self.bootstrap)) as reader:
            return digests_of(reader.read_all(checkpointed=checkpointed))


def checkpointed_flow(identity: dict[str, str], later: int = 20) -> Flow:
    """A flow in the middle: all partitions checkpointed, then some payments more applied."""
    flow = Flow([some_payments()], PARTITIONS)
    for partition in flow.partitions:
        partition.place.topics = dict(identity)
    home = flow.partitions[partition_of("A3", PARTITIONS)].memory
    home.learn(profile("A3", Holder(birth_year=1950, opened_day=18_262, tier=0)))
    for order in (
        Order("here", "A3", "involved"),
        Order("over", "A3", "watched", ended=True),
        Order("pair", "A3", "whitelisted", until_s=1_772_942_400, other="A4", patterns=("p",)),
    ):
        home.direct(directive(order))
    flow.route([60 - later])
    for _ in range(2):  # the departures, then the arrivals that they sent
        for number in range(PARTITIONS):
            flow.apply(number, 100)
        flow.send()
    for number in range(PARTITIONS):
        flow.checkpoint(number)
    if later:
        flow.finish()
    return flow
