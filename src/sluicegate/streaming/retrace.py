"""Replays the legs logs offline: the same partitions and rules, so exactly the live alerts."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from sluicegate.domain.alert import Alert
from sluicegate.memory.accounts import AccountMemory
from sluicegate.settings import Settings
from sluicegate.streaming.alerts import alerts_of, as_read
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.published import ActiveSets
from sluicegate.streaming.stretch import StretchReader
from sluicegate.streaming.topics import Topics


@dataclass(frozen=True, slots=True)
class Retraced:
    """What the log of one partition came to."""

    partition: int
    applied: int
    digest: str
    """Of the account rows; equal to the live state's when that stands at the same offset."""
    alerts: tuple[Alert, ...]


def retrace(
    settings: Settings, bootstrap: str, progress: Callable[[int, int], None] | None = None
) -> Iterator[Retraced]:
    """Replays each legs log from its beginning to its present end, one partition at a time.

    `progress(done, total)` counts legs messages.

    Raises:
        Problem: the log is not what a worker would apply, or cannot be read.
    """
    topic = Topics.of(settings).legs
    config = confluent_config(settings.broker, bootstrap)
    sets = ActiveSets(settings, config)
    with closing(StretchReader(config)) as reader:
        logs = [reader.whole(topic, number) for number in range(settings.topics.partitions)]
        total, done = sum(log.end - log.start for log in logs), 0
        for log in logs:
            memory = AccountMemory(settings.worker.accounts_per_partition)
            partition = Partition(log.partition, memory)
            partition.place.applied = log.start - 1
            alerts: list[Alert] = []
            for message in reader.read(log):
                offset = message.offset() or 0
                scoring = sets.of(partition.place.activated)
                applied = partition.apply(offset, message.value(), scoring.scorer)
                if applied is not None and len(applied.stepped.hits):
                    at_ms = message.timestamp()[1]
                    currency = settings.contract.base_currency
                    judged = alerts_of(applied, scoring.pattern_set, currency, at_ms)
                    alerts += as_read(judged)
                done += 1
                if progress is not None:
                    progress(done, total)
            yield Retraced(log.partition, log.end - 1, memory.digest(), tuple(alerts))
