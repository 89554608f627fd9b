"""The state of the partitions, read offline: checkpoints restored, then legs applied in memory.

Nothing is written and no group is joined, so it can be asked while workers run: what a worker has
at that moment, but for the legs that come while it is read.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory, Records
from sluicegate.memory.directive_table import sorted_bytes
from sluicegate.memory.row import ROW, opaque
from sluicegate.memory.words import ACCOUNT_WORDS, text_words, words_bytes
from sluicegate.settings import Settings
from sluicegate.streaming.checkpoint import Place, Restorer, claimed_by
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.published import ActiveSets
from sluicegate.streaming.starts import next_offset
from sluicegate.streaming.stretch import Stretch, StretchReader
from sluicegate.streaming.topics import Topics

ROWS_AT_ONCE: Final = 4_096

Progress = Callable[[int, int], None]
"""Told how many messages are read, and of how many as far as is known."""


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition as it was read."""

    number: int
    memory: AccountMemory
    place: Place
    slot: str
    """Of the worker that claimed the partition last; empty: nobody ever did."""
    checkpointed: int
    """Legs offset of the last checkpoint, -1 without one; `place.applied` is at or beyond it."""
    checkpoint_number: int
    changelog: Stretch
    """What the changelog held."""
    legs: Stretch
    """What the legs log held."""


class StateReader:
    """Reads partitions; close it when done."""

    def __init__(
        self, settings: Settings, bootstrap: str, progress: Progress | None = None
    ) -> None:
        self._settings = settings
        self._topics = Topics.of(settings)
        self._config: dict[str, Any] = confluent_config(settings.broker, bootstrap)
        self._reader = StretchReader(self._config)
        self._progress = progress
        self._read = self._known = 0

    def close(self) -> None:
        """Leaves the cluster."""
        self._reader.close()

    @cached_property
    def identity(self) -> dict[str, str]:
        """Which cluster and legs topic is there now."""
        return topic_identity(self._config, self._topics.legs)

    @cached_property
    def _sets(self) -> ActiveSets:
        return ActiveSets(self._settings, self._config)

    def read_all(self, *, checkpointed: bool = False) -> Iterator[PartitionState]:
        """All partitions, one after another.

        Raises:
            Problem: as `read`, or the topics have another number of partitions than configured.
        """
        count = self._settings.topics.partitions
        for topic in (self._topics.changelog, self._topics.legs):
            there = len(self._reader.partitions(topic))
            if there != count:
                raise Problem(
                    f"{topic} has {there} partitions, and {count} are configured",
                    "which account belongs to which partition hangs on the number",
                    "set topics.partitions to what it was when the topics were made",
                )
        for number in range(count):
            yield self.read(number, checkpointed=checkpointed)

    def read(self, number: int, *, checkpointed: bool = False) -> PartitionState:
        """One partition at the present end of its legs log, or as its last checkpoint has it.

        Raises:
            Problem: the changelog cannot be restored, or does not belong to this legs log.
        """
        legs = self._reader.whole(self._topics.legs, number)
        changelog, restorer, slot = self._restored(number)
        at = restorer.place.applied
        partition = Partition(number, restorer.memory, restorer.place)
        if not checkpointed:
            self._apply(partition, legs)
        return PartitionState(
            number, partition.memory, partition.place, slot, at, restorer.number, changelog, legs
        )

    def first_of(self, stretch: Stretch) -> bytes | None:
        """The value of the first message of a stretch."""
        message = self._reader.first_of(stretch)
        return None if message is None else message.value()

    def _restored(self, number: int) -> tuple[Stretch, Restorer, str]:
        """The changelog and what it restores; again, where a sweep has trimmed it meanwhile."""
        while True:
            changelog = self._reader.whole(self._topics.changelog, number)
            try:
                return changelog, *self._restore(changelog)
            except Problem:
                if self._reader.whole(self._topics.changelog, number).start == changelog.start:
                    raise

    def _restore(self, changelog: Stretch) -> tuple[Restorer, str]:
        restorer = Restorer(
            AccountMemory(self._settings.worker.accounts_per_partition), changelog.start
        )
        slot = ""
        for message in self._reader.read(changelog, self._telling(changelog)):
            value = message.value()
            restorer.feed(value)
            claimed = claimed_by(value, or_renewed=True)  # a sweep deletes the claim itself
            if claimed and claimed[0] == restorer.owner:
                slot = claimed[1]
        restorer.require_whole()
        return restorer, slot

    def _apply(self, partition: Partition, legs: Stretch) -> None:
        """What a worker would apply; alerts and arrivals are left to the worker itself."""
        start = next_offset(
            partition.place,
            partition.number,
            self._topics.legs,
            self.identity,
            (legs.start, legs.end),
        )
        rest = Stretch(legs.topic, legs.partition, start, legs.end)
        for message in self._reader.read(rest, self._telling(rest)):
            scorer = self._sets.of(partition.place.activated).scorer
            partition.apply(message.offset() or 0, message.value(), scorer)

    def _telling(self, stretch: Stretch) -> Callable[[int], None]:
        before = self._known
        self._known += stretch.end - stretch.start

        def told(done: int) -> None:
            if self._progress is not None:
                self._progress(before + done, self._known)

        return told


def row_of(memory: AccountMemory, account: str) -> Records | None:
    """The row of an account (shape `[1]`), or None."""
    return memory.row_of(text_words(account, ACCOUNT_WORDS))


@dataclass(frozen=True, slots=True)
class PartitionDigest:
    """The rows of one partition as a digest."""

    partition: int
    applied: int
    accounts: int
    digest: str


@dataclass(frozen=True, slots=True)
class Digests:
    """Equal digests: equal rows and directives, whoever made them and in whatever order."""

    partitions: tuple[PartitionDigest, ...]
    digest: str
    """Of the rows and directives of all partitions, sorted by account."""

    @property
    def accounts(self) -> int:
        """Of all partitions."""
        return sum(each.accounts for each in self.partitions)

    def lines(self) -> Iterator[str]:
        """For a terminal, a line a partition and one for all."""
        for each in self.partitions:
            yield (
                f"partition {each.partition}: applied {each.applied:,}, "
                f"{each.accounts:,} accounts, {each.digest}"
            )
        yield f"all partitions: {self.accounts:,} accounts, {self.digest}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "accounts": self.accounts}


def digests_of(states: Iterable[PartitionState]) -> Digests:
    """The digests of partitions; all their rows are in memory at the end."""
    memories, partitions = [], []
    for state in states:
        memories.append(state.memory)
        partitions.append(
            PartitionDigest(
                state.number, state.place.applied, len(state.memory), state.memory.digest()
            )
        )
    return Digests(tuple(partitions), digest_of_all(memories))


def digest_of_all(memories: Sequence[AccountMemory]) -> str:
    """SHA-256 of rows and directives of all partitions, sorted by account, and of populations."""
    accounts = [words_bytes(memory.rows["account"]) for memory in memories]
    owner = np.repeat(np.arange(len(memories)), [len(memory) for memory in memories])
    index = np.concatenate([np.arange(len(memory)) for memory in memories])
    order = np.argsort(np.concatenate(accounts), kind="stable")
    content = hashlib.sha256()
    for start in range(0, len(order), ROWS_AT_ONCE):
        chosen = order[start : start + ROWS_AT_ONCE]
        rows = opaque(np.empty(len(chosen), ROW))
        for number in np.unique(owner[chosen]).tolist():
            own = owner[chosen] == number
            rows[own] = opaque(memories[number].rows)[index[chosen[own]]]
        content.update(rows.tobytes())
    content.update(sorted_bytes(memory.directives for memory in memories))
    for population in sorted(memory.population_bytes for memory in memories):
        content.update(population)
    return content.hexdigest()
