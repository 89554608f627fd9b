"""The Faust table behind which account rows live: claimed, restored and checkpointed by partition.

Faust decides which partitions are ours and reads their changelogs back through this store. Rows
are never read or written through the table's mapping: the scoring agent works on the memories.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaException, Message, Producer
from faust.stores import base
from faust.tables import TableManager
from faust.types import TP

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.streaming.checkpoint import Restorer, chunks, claim, claimed_by, new_owner, renewal
from sluicegate.streaming.offsets import Offsets, passes
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.producing import SAFE, hand_over, is_flushed
from sluicegate.streaming.stretch import Stretch, StretchReader

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

AGAIN_SECONDS: Final = 0.2
COMPLAIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Written:
    """What one write to the changelog came to."""

    size: int
    """Bytes of all values."""
    first_offset: int
    last_offset: int
    messages: int


class Changelog:
    """Writes claims and checkpoints, knows when they are safe, and deletes what they replace.

    `give_up` says when an answer of the broker is not worth waiting for any longer.
    """

    def __init__(
        self, config: dict[str, Any], topic: str, give_up: Callable[[], bool] = lambda: False
    ) -> None:
        self.topic = topic
        self._config = config
        self._give_up = give_up
        # Most bytes of a row are zeros.
        self._producer = Producer({**config, **SAFE, "compression.type": "lz4", "linger.ms": 0})
        self._offsets = Offsets(config)

    def write(self, partition: int, values: Iterable[bytes]) -> Written | None:
        """Writes the values in order and waits for their acknowledgement; None: it gave up.

        One is acknowledged before the next is sent, so that the broker takes alerts and legs
        between them.

        Raises:
            Problem: the broker did not take one of them.
        """
        lost: list[str] = []
        offsets: list[int] = []

        def delivered(error: object, message: Message) -> None:
            if error is not None:
                lost.append(str(error))
            else:
                offsets.append(message.offset() or 0)

        size = messages = 0
        for value in values:
            size += len(value)
            messages += 1
            hand_over(self._producer, self.topic, value, partition=partition, on_delivery=delivered)
            if not is_flushed(self._producer, self._give_up):
                return None
        if lost:
            raise Problem("the changelog could not be written", lost[0])
        return Written(size, min(offsets), max(offsets), messages)

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last message of each partition."""
        numbers = list(partitions)
        return self._patiently(lambda: self._offsets.ends(self.topic, numbers))

    def read(self, partition: int, start: int, stop: int) -> Iterator[bytes | None]:
        """The values from one offset to before another."""
        with closing(StretchReader(self._config)) as reader:
            for message in reader.read(Stretch(self.topic, partition, start, stop)):
                yield message.value()

    def delete_before(self, partition: int, offset: int) -> None:
        """Deletes what lies before an offset."""
        self._patiently(lambda: self._offsets.delete_before(self.topic, partition, offset))

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        """Asks again while the broker is away or its leaders change."""
        complained = 0.0
        while True:
            try:
                return ask()
            except KafkaException as error:
                if not passes(error) or self._give_up():
                    raise
                if time.monotonic() - complained > COMPLAIN_SECONDS:
                    complained = time.monotonic()
                    log.warning("%s: asks the broker again: %s", self.topic, error.args[0].str())
                time.sleep(AGAIN_SECONDS)


class Tables(TableManager):
    """Faust's tables without the second that it waits for some to be declared late: ours is not."""

    async def on_start(self) -> None:
        """Called when the application starts."""
        await self._update_channels()
        await self.recovery.start()


class SlabStore(base.Store):
    """The partitions this worker holds or is restoring."""

    def __post_init__(self) -> None:
        self.restorers: dict[int, Restorer] = {}
        self.owners: dict[int, bytes] = {}
        self.fault: Exception | None = None
        """A fault found while restoring: Faust only logs what a store raises."""
        self._read: dict[int, int] = {}  # changelog offset up to which a partition is in memory
        self._safe: dict[int, int] = {}  # legs offset of the last checkpoint of our own
        self._sweep_began: dict[int, int] = {}  # number of the sweep's first checkpoint
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
        changelog = self._held()
        mine = {tp.partition for tp in assigned if tp.topic == changelog.topic}
        for partition in [p for p in self.restorers if p not in mine or not self._is_safe(p)]:
            self.drop(partition)
        for partition in mine:
            self.owners[partition] = owner = new_owner()
            # In a thread: a broker that is away must not keep signals from being heard.
            record = [claim(owner, self._slot)]
            await asyncio.to_thread(changelog.write, partition, record)

    def take_over(self, number: int) -> Partition:
        """The restored partition, ready for its first leg.

        Raises:
            Problem: it could not be restored in full, or somebody else has claimed it since.
        """
        if self.fault is not None:
            raise self.fault
        restorer = self._restorer(number)
        restorer.require_whole()
        if restorer.owner != self.owners.get(number):
            raise _taken(number, "its claim in the changelog is newer than ours")
        return Partition(number, restorer.memory, restorer.place)

    def take_fenced(self) -> int:
        """Messages of workers that no longer owned their partition, found since it was asked."""
        fenced = sum(restorer.fenced for restorer in self.restorers.values())
        for restorer in self.restorers.values():
            restorer.fenced = 0
        return fenced

    def take_checkpoint(
        self, partition: Partition, *, renews: bool = False, completes: bool = False
    ) -> Callable[[], Written | None]:
        """Takes what changed since the last checkpoint; the result, called, writes it.

        The taking is quick and belongs to the stream's thread, the writing to any other. Until it
        is written the partition takes no further checkpoint. With `renews` it begins a sweep: our
        claim is renewed before it. With `completes` it ends that sweep, so that a restore may
        begin where the sweep began.
        """
        changelog, number = self._held(), partition.number
        owner = self.owners[number]
        restorer = self._restorer(number)
        restorer.stand_at(restorer.number + 1)
        if renews:
            self._sweep_began[number] = restorer.number
        if completes:
            partition.place.whole_from = self._sweep_began[number]
        applied = partition.place.applied
        values = chunks(partition.memory, partition.place, owner, restorer.number)
        if renews:
            values = chain([renewal(owner, self._slot)], values)

        def write() -> Written | None:
            written = changelog.write(number, values)
            if written is not None:
                read = self._read[number]
                if written.last_offset != read + written.messages:  # not only ours lie in between
                    self._look_for_others(number, read + 1, written.last_offset + 1)
                self._read[number] = written.last_offset
                self._safe[number] = applied
            return written

        return write

    def look_for_others(self, numbers: Iterable[int]) -> None:
        """Looks whether somebody else has written to the changelogs of these partitions.

        Raises:
            Problem: another worker has claimed one of them.
        """
        for number, end in self._held().ends(numbers).items():
            expected = self._read.get(number, end) + 1
            if end > expected and number in self.owners:
                self._look_for_others(number, expected, end)

    def trim(self, number: int, offset: int) -> None:
        """Deletes what a completed sweep has written again: all before its claim.

        Raises:
            Problem: another worker has claimed the partition, so nothing is ours to delete.
        """
        self.look_for_others([number])
        self._held().delete_before(number, offset)

    def _look_for_others(self, number: int, start: int, stop: int) -> None:
        for value in self._held().read(number, start, stop):
            claimed = claimed_by(value)
            if claimed is not None and claimed[0] != self.owners.get(number):
                raise _taken(number, f"slot {claimed[1]} has claimed it since")

    def _held(self) -> Changelog:
        if self._changelog is None:
            raise RuntimeError("attach() comes before any work")
        return self._changelog

    def _is_safe(self, number: int) -> bool:
        """Whether all that is in memory is in the changelog too."""
        restorer = self.restorers[number]
        return restorer.place.applied == self._safe.get(number, restorer.applied)

    def drop(self, number: int) -> None:
        """Forgets a partition; it is read back in full if it comes again."""
        self.restorers.pop(number, None)
        for known in (self._read, self._safe, self._sweep_began, self.owners):
            known.pop(number, None)

    def _restorer(self, number: int, begins_at: int = 0) -> Restorer:
        if number not in self.restorers:
            self.restorers[number] = Restorer(self._new_memory(), begins_at)
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
            read = self._read.get(message.partition, -1)
            if message.offset <= read:
                continue
            if message.offset > read + 1:  # trimmed up to here: what it held is written again
                self.restorers.pop(message.partition, None)
                self._safe.pop(message.partition, None)
            try:
                self._restorer(message.partition, message.offset).feed(message.value)
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


def _taken(number: int, detail: str) -> Problem:
    return Problem(
        f"partition {number} was claimed by another worker",
        detail,
        "two workers have the same slot name, or this one was away for too long: start it again",
    )
