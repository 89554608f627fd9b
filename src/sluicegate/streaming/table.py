"""The Faust table behind which account rows live: claimed, restored and checkpointed by partition.

Faust decides which partitions are ours and reads their changelogs back through this store. Rows
are never read or written through the table's mapping: the scoring agent works on the memories.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Message, Producer
from faust.stores import base
from faust.types import TP

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.streaming.checkpoint import Restorer, chunks, claim, new_owner
from sluicegate.streaming.partition import Partition

SAFE: Final[dict[str, Any]] = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,  # never given up: a broker that is away is waited for
    "compression.type": "lz4",
    "linger.ms": 0,
}


@dataclass(frozen=True, slots=True)
class Written:
    """What one write to the changelog came to."""

    size: int
    """Bytes of all values."""
    last_offset: int


class Changelog:
    """Writes claims and checkpoints, and knows when they are safe."""

    def __init__(self, config: dict[str, Any], topic: str) -> None:
        self.topic = topic
        self._producer = Producer({**config, **SAFE})

    def write(self, partition: int, values: Iterable[bytes]) -> Written:
        """Writes the values in order and waits for their acknowledgement.

        Raises:
            Problem: the broker did not take one of them.
        """
        lost: list[str] = []
        offsets = [-1]

        def delivered(error: object, message: Message) -> None:
            if error is not None:
                lost.append(str(error))
            else:
                offsets.append(message.offset() or 0)

        size = 0
        for value in values:
            size += len(value)
            self._produce(partition, value, delivered)
        self._producer.flush()
        if lost:
            raise Problem("the changelog could not be written", lost[0])
        return Written(size, max(offsets))

    def _produce(self, partition: int, value: bytes, delivered: Callable[..., None]) -> None:
        while True:
            try:
                self._producer.produce(
                    self.topic, value, partition=partition, on_delivery=delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return


class SlabStore(base.Store):
    """The partitions this worker holds or is restoring."""

    def __post_init__(self) -> None:
        self.restorers: dict[int, Restorer] = {}
        self.owners: dict[int, bytes] = {}
        self.fault: Exception | None = None
        """A fault found while restoring: Faust only logs what a store raises."""
        self._read: dict[int, int] = {}  # changelog offset up to which a partition is in memory
        self._safe: dict[int, int] = {}  # legs offset of the last checkpoint of our own
        self._changelog: Changelog | None = None
        self._slot = ""
        self._new_memory: Callable[[], AccountMemory] = lambda: AccountMemory(1)

    def attach(
        self, changelog: Changelog, slot: str, new_memory: Callable[[], AccountMemory]
    ) -> None:
        """Gives the store what Faust, which makes it from a URL, cannot."""
        self._changelog, self._slot, self._new_memory = changelog, slot, new_memory

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        """Claims every assigned partition before Faust looks where its changelog ends."""
        del revoked, newly_assigned, generation_id
        if self._changelog is None:
            raise RuntimeError("attach() comes before the first rebalance")
        mine = {tp.partition for tp in assigned if tp.topic == self._changelog.topic}
        for partition in [p for p in self.restorers if p not in mine or not self._is_safe(p)]:
            self.drop(partition)
        for partition in mine:
            self.owners[partition] = owner = new_owner()
            self._changelog.write(partition, [claim(owner, self._slot)])

    def take_over(self, number: int) -> Partition:
        """The restored partition, ready for its first leg.

        Raises:
            Problem: it could not be restored, or somebody else has claimed it since.
        """
        if self.fault is not None:
            raise self.fault
        restorer = self._restorer(number)
        if restorer.owner != self.owners.get(number):
            raise Problem(
                f"partition {number} was claimed by another worker",
                "its claim in the changelog is newer than ours",
                "two workers have the same slot name, or this one was away for too long",
            )
        return Partition(number, restorer.memory, restorer.place)

    def take_checkpoint(self, partition: Partition) -> Callable[[], Written]:
        """Takes what changed since the last checkpoint; the result, called, writes it.

        The taking is quick and belongs to the stream's thread, the writing to any other. Until it
        is written the partition takes no further checkpoint.
        """
        changelog, number = self._changelog, partition.number
        if changelog is None:
            raise RuntimeError("attach() comes before the first checkpoint")
        restorer = self._restorer(number)
        restorer.number += 1
        applied = partition.place.applied
        values = chunks(partition.memory, partition.place, self.owners[number], restorer.number)

        def write() -> Written:
            written = changelog.write(number, values)
            self._read[number] = written.last_offset
            self._safe[number] = applied
            return written

        return write

    def _is_safe(self, number: int) -> bool:
        """Whether all that is in memory is in the changelog too."""
        restorer = self.restorers[number]
        return restorer.place.applied == self._safe.get(number, restorer.applied)

    def drop(self, number: int) -> None:
        """Forgets a partition; it is read back in full if it comes again."""
        self.restorers.pop(number, None)
        for known in (self._read, self._safe, self.owners):
            known.pop(number, None)

    def _restorer(self, number: int) -> Restorer:
        if number not in self.restorers:
            self.restorers[number] = Restorer(self._new_memory())
        return self.restorers[number]

    # What Faust asks of a store.

    def persisted_offset(self, tp: TP) -> int:
        """How far this partition's changelog is in memory: read back, or written by us.

        Of a partition that was dropped that is -1, not None: at None Faust goes on from where it
        read last.
        """
        return self._read.get(tp.partition, -1)

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[..., Any], to_value: Callable[..., Any]
    ) -> None:
        """Reads back messages of the changelog."""
        del to_key, to_value
        for event in batch:
            message = event.message
            if message.offset <= self._read.get(message.partition, -1):
                continue
            try:
                self._restorer(message.partition).feed(message.value)
            except Exception as error:  # noqa: BLE001 - Faust would log it and go on
                self.fault = self.fault or error
            self._read[message.partition] = message.offset

    async def backup_partition(self, *_args: object, **_options: object) -> None:
        """Faust wants it; checkpoints are the backup."""

    def restore_backup(self, *_args: object, **_options: object) -> None:
        """Faust wants it; checkpoints are the backup."""

    def reset_state(self) -> None:
        """Forgets all partitions."""
        for number in list(self.restorers):
            self.drop(number)

    def __getitem__(self, key: object) -> object:
        raise KeyError(key)

    def __setitem__(self, key: object, value: object) -> None:
        raise NotImplementedError("rows change by legs alone")

    def __delitem__(self, key: object) -> None:
        raise NotImplementedError("rows change by legs alone")

    def __iter__(self) -> Iterator[object]:
        return iter(())

    def __len__(self) -> int:
        return sum(len(restorer.memory) for restorer in self.restorers.values())
