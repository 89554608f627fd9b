"""A worker's rules over the logs of a `World`, with the store itself: it moves when told to."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import patch

from faust.types import TP
from tests.streaming.flow import Hit, hits_of
from tests.streaming.world import (
    CAPACITY,
    LEGS,
    SETS,
    SWEEP,
    TOPICS,
    Wire,
    World,
)

from sluicegate.memory.accounts import AccountMemory
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.table import Changelog, SlabStore, Written
from sluicegate.streaming.upkeep import Sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class _Parked(Exception):  # noqa: N818 - a checkpoint that waits for its turn
    pass


@dataclass
class _Writing:
    """A checkpoint on its way: the store's own function to write it, and what is left of it."""

    write: Callable[[], Written | None]
    sweep: Sweep
    begins: bool
    is_last: bool
    values: Iterator[bytes] | None = None
    """What is left of it, made as it is written; None before it was begun."""
    offsets: list[int] = field(default_factory=list)


class _Shelf(Changelog):
    """The changelog as one worker writes it: claims at once, checkpoints chunk by chunk."""

    def __init__(self, world: World) -> None:
        self.topic = TOPICS.changelog
        self._world = world
        self.writing: _Writing | None = None

    def write(self, partition: int, values: Iterable[bytes]) -> Written:
        writing = self.writing
        if writing is None:
            offsets = [
                self._world.append(self._world.changelogs[partition], each) for each in values
            ]
        elif writing.values is None:
            writing.values = iter(values)
            raise _Parked
        else:
            offsets = writing.offsets
        return Written(0, min(offsets), max(offsets), len(offsets))

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        return {number: len(self._world.changelogs[number]) for number in partitions}

    def read(self, partition: int, start: int, stop: int) -> Iterator[bytes | None]:
        yield from self._world.changelogs[partition][start:stop]

    def delete_before(self, partition: int, offset: int) -> None:
        self._world.effect()
        low = self._world.trimmed
        low[partition] = max(low[partition], offset)


async def _at_once(work: Callable[..., object], *arguments: object) -> object:
    return work(*arguments)


class WorkerProcess:
    """A worker's rules over the logs of a world; it moves when it is told to.

    A step raises a Problem where the worker would stop.
    """

    def __init__(self, world: World, slot: str) -> None:
        self._world = world
        self._shelf = _Shelf(world)
        self.store = SlabStore(
            "slab://local", app=SimpleNamespace(), table=SimpleNamespace(name="accounts")
        )
        self.store.attach(self._shelf, slot, lambda: AccountMemory(CAPACITY))
        self.wire = Wire()
        self.assigned: set[int] = set()
        """What Faust has assigned and not yet restored."""
        self.partitions: dict[int, Partition] = {}
        self._outbox = Outbox(LEGS)
        self._writings: dict[int, _Writing] = {}
        self._sweeps: dict[int, Sweep] = {}
        self._now = 0

    # A rebalance: leave, claim, restore.

    def rebalance(self, numbers: set[int]) -> None:
        """Checkpoints what is held, then claims what is assigned."""
        self.finish_checkpoints()
        for number in list(self.partitions):
            self.begin_checkpoint(number)
        self.finish_checkpoints()
        self._outbox.forget()
        self.partitions, self._sweeps = {}, {}
        self.assigned = numbers
        claiming = self.store.on_rebalance({_place(each) for each in numbers}, set(), set())
        with patch.object(asyncio, "to_thread", _at_once), contextlib.suppress(StopIteration):
            claiming.send(None)

    def restore(self) -> None:
        """Reads the changelogs back, as Faust does."""
        for number in self.assigned:
            log = self._world.changelogs[number]
            first = self.store.persisted_offset(_place(number)) + 1
            for offset in range(max(first, self._world.trimmed[number]), len(log)):
                message = SimpleNamespace(partition=number, offset=offset, value=log[offset])
                event = SimpleNamespace(message=message)
                self.store.apply_changelog_batch([event], bytes, bytes)
        taken = {number: self.store.take_over(number) for number in sorted(self.assigned)}
        self.partitions, self.assigned = taken, set()

    # The stream.

    def apply(self, number: int, most: int) -> None:
        """Applies up to so many of the next messages of a partition that it holds."""
        partition = self.partitions[number]
        log = self._world.legs[number]
        first = partition.place.applied + 1
        for offset in range(first, min(first + most, len(log))):
            applied = partition.apply(offset, log[offset], SETS[partition.place.activated])
            if applied is None:
                raise AssertionError(f"offset {offset} was applied before")
            for hit in hits_of(applied):
                self.wire.put(TOPICS.stop_payment, number, partial(self._alert, hit))
            self._outbox.add(partition, applied.stepped.arrivals, applied.stepped.carried)

    def _alert(self, hit: Hit) -> None:
        self._world.effect()
        self._world.hits.add(hit)

    def send(self) -> None:
        """Hands the gathered arrivals to the producer."""
        for target, value in self._outbox.drain():
            log = self._world.legs[target]
            self.wire.put(TOPICS.legs, target, partial(self._world.append, log, value))

    def look_for_others(self) -> None:
        """Looks for claims of others on what it holds."""
        self.store.look_for_others(self.partitions.keys() - self._writings.keys())

    # Checkpoints, and the sweep that goes with them, as in `Upkeep`.

    def begin_checkpoint(self, number: int) -> None:
        """Takes the changed rows, unless the last ones are still being written."""
        if number in self._writings:
            return
        self.send()
        self._now += 1
        memory = self.partitions[number].memory
        begins = number not in self._sweeps
        sweep = self._sweeps.setdefault(number, Sweep(len(memory), self._now))
        if begins:
            memory.begin_sweep()
        memory.mark(sweep.share(self._now, SWEEP))
        is_last = sweep.is_complete(self._now, SWEEP)
        sweep.written += memory.changed
        write = self.store.take_checkpoint(
            self.partitions[number], renews=begins, completes=is_last
        )
        self._writings[number] = _Writing(write, sweep, begins, is_last)

    def write_checkpoint(self, number: int, most: int) -> None:
        """Writes up to so many chunks, after all that was sent is safe."""
        writing = self._writings[number]
        if most and writing.values is None:
            self.wire.flush()
            with contextlib.suppress(_Parked):
                self._write(writing)
        for _ in range(most):
            value = next(writing.values or iter(()), None)
            if value is None:
                self._finish(number, writing)
                return
            writing.offsets.append(self._world.append(self._world.changelogs[number], value))

    def _finish(self, number: int, writing: _Writing) -> None:
        written = self._write(writing)
        del self._writings[number]
        if written is not None and writing.begins:
            writing.sweep.renewed_at = written.first_offset
        if writing.is_last and writing.sweep.renewed_at is not None:
            self.store.trim(number, writing.sweep.renewed_at)
            self._sweeps.pop(number, None)

    def _write(self, writing: _Writing) -> Written | None:
        self._shelf.writing = writing
        try:
            return writing.write()
        finally:
            self._shelf.writing = None

    @property
    def writing(self) -> list[int]:
        """Partitions whose checkpoint is on its way."""
        return sorted(self._writings)

    def finish_checkpoints(self) -> None:
        for number in self.writing:
            self.write_checkpoint(number, 1_000)

    def release(self) -> None:
        """Delivers what is still on the wire, late checkpoints too."""
        self.send()
        self.wire.flush()
        self.finish_checkpoints()


def _place(number: int) -> TP:
    return TP(TOPICS.changelog, number)
