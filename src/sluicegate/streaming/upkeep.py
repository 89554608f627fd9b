"""Keeps the changelogs of a worker's partitions: checkpoints when due, sweeps, foreign claims.

A sweep sees to it that every row is written again, a share of those that did not change with each
checkpoint, behind the claim renewed; what lies before that is then no longer needed and is deleted.
It takes the configured period, or less where so many rows change that the changelog would grow.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sluicegate.memory.accounts import AccountMemory
from sluicegate.settings import WorkerSettings
from sluicegate.streaming.figures import WorkerFigures
from sluicegate.streaming.outgoing import Outgoing
from sluicegate.streaming.partition import Partition
from sluicegate.streaming.table import SlabStore

FASTEST: Final = 15
"""So many times as fast as configured a sweep is at most, however much is written."""
WATCH_SECONDS: Final = 5.0
"""How often the changelogs are looked at for claims of others."""
SLICE_PIECES: Final = 9
PIECE_ROWS: Final = 300
"""Rows copied at once while the stream waits are so many pieces, or fewer in `SLICE_SECONDS`."""
SLICE_SECONDS: Final = 0.002
"""Into memory used before all pieces take half of it, into new memory ten times as long."""
REST_SECONDS: Final = 0.005
"""What the stream has to itself between two slices, at least."""


@dataclass(slots=True)
class Sweep:
    """One pass over the rows of a partition. Pure; seconds by any clock that never goes back."""

    rows: int
    """Rows when it began; later ones are written anyway, because they are new."""
    began: float
    next_row: int = 0
    written: int = 0
    """Rows written since it began, each as often as it was."""
    renewed_at: int | None = None
    """Changelog offset of the renewed claim: what is before may go when all rows are behind."""

    def share(self, now: float, period: float) -> range:
        """Rows to write with the checkpoint of now, unless they were since the sweep began."""
        until = int(self.rows * self._passed(now, period))
        due = range(self.next_row, until)
        self.next_row = max(self.next_row, until)
        return due

    def is_complete(self, now: float, period: float) -> bool:
        """Whether every row was given out."""
        return self._passed(now, period) >= 1 and self.next_row >= self.rows

    def _passed(self, now: float, period: float) -> float:
        """How much of it is over: by time, or once as many rows were written as there are."""
        by_time = (now - self.began) / period
        by_volume = self.written / self.rows if self.rows else 0.0
        return min(1.0, max(by_time, min(by_volume, FASTEST * by_time)))


@dataclass(slots=True)
class _Kept:
    """What is known of one partition."""

    partition: Partition
    due_at: float
    legs: int = 0
    """Applied since the last checkpoint."""
    sweep: Sweep | None = None
    writing: asyncio.Task[None] | None = None


def copy_slice(memory: AccountMemory) -> bool:
    """Copies some of what was taken, as `AccountMemory.copy_taken`; whether all is copied."""
    until = time.monotonic() + SLICE_SECONDS
    for _ in range(SLICE_PIECES):
        if memory.copy_taken(PIECE_ROWS):
            return True
        if time.monotonic() > until:
            break
    return False


class Upkeep:
    """Takes checkpoints on the event loop, writes them in threads; `failed` is told of errors.

    What was taken is copied on the event loop too, in slices between the deliveries of the stream.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        store: SlabStore,
        outgoing: Outgoing,
        figures: WorkerFigures,
        *,
        failed: Callable[[Exception], None],
        give_up: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._store = store
        self._outgoing = outgoing
        self._figures = figures
        self._failed = failed
        self._give_up = give_up
        self._kept: dict[int, _Kept] = {}
        self._watch: asyncio.Task[None] | None = None
        self._watched_at = time.monotonic()
        self._copying = asyncio.Lock()
        """One slice at a time, of whichever partition."""
        self._rest_seconds = REST_SECONDS

    def begin(self, partitions: Iterable[Partition]) -> None:
        """These partitions are held from now on; their checkpoints fall due one after the other."""
        held = list(partitions)
        now, seconds = time.monotonic(), self._settings.checkpoint_seconds
        self._rest_seconds = REST_SECONDS
        self._kept = {
            partition.number: _Kept(partition, now + seconds * (index + 1) / len(held))
            for index, partition in enumerate(held)
        }

    def note(self, number: int, legs: int) -> None:
        """So many legs were applied to a partition."""
        self._kept[number].legs += legs

    def take_due(self, numbers: Iterable[int]) -> None:
        """Begins those checkpoints of these partitions that are due."""
        for number in numbers:
            kept = self._kept.get(number)
            if kept is not None and self._is_due(kept):
                self._begin(kept)

    def look_around(self) -> None:
        """Takes what is due, and now and then looks for claims of other workers."""
        self.take_due(self._kept)
        now = time.monotonic()
        if now - self._watched_at > WATCH_SECONDS and (self._watch is None or self._watch.done()):
            self._watched_at = now
            idle = [number for number, kept in self._kept.items() if kept.writing is None]
            self._watch = asyncio.ensure_future(
                self._told(asyncio.to_thread(self._store.look_for_others, idle))
            )

    async def finish(self) -> None:
        """Waits for the checkpoints that are being written."""
        while writing := [kept.writing for kept in self._kept.values() if kept.writing]:
            await asyncio.wait(writing)

    async def leave(self) -> None:
        """Writes the last checkpoints, of a stream that stands; the partitions are then left."""
        self._rest_seconds = 0.0
        await self.finish()
        for kept in self._kept.values():
            self._begin(kept)
        await self.finish()
        self._kept = {}

    def _is_due(self, kept: _Kept) -> bool:
        if kept.writing is not None or not kept.legs:
            return False
        share = self._settings.checkpoint_legs / len(self._kept)
        return time.monotonic() > kept.due_at or kept.legs >= share

    def _begin(self, kept: _Kept) -> None:
        """Takes the changed rows as of now; they are copied and written beside the stream."""
        self._outgoing.send_all()  # what the state has sent on goes into the log before it
        began = time.monotonic()
        now, period = began, self._settings.sweep_seconds
        begins = kept.sweep is None
        sweep = kept.sweep = kept.sweep or Sweep(len(kept.partition.memory), now)
        memory = kept.partition.memory
        if begins:
            memory.begin_sweep()
        memory.mark(sweep.share(now, period))
        is_last = sweep.is_complete(now, period)
        rows = memory.changed
        sweep.written += rows
        write = self._store.take_checkpoint(kept.partition, renews=begins, completes=is_last)
        kept.legs = 0
        kept.due_at = now + self._settings.checkpoint_seconds

        def flush_and_write() -> None:
            if not self._outgoing.flush(self._give_up):
                return  # an arrival or alert may be lost: the state must not say that it was sent
            written = write()
            if written is None:
                return
            if begins:
                sweep.renewed_at = written.first_offset
            number = kept.partition.number
            self._figures.checkpoint(number, time.monotonic() - began, written.size, rows)
            if is_last and sweep.renewed_at is not None:
                self._store.trim(number, sweep.renewed_at)
                self._figures.trimmed(number)
                kept.sweep = None

        async def copy_and_write() -> None:
            await self._copied(memory)
            await asyncio.to_thread(flush_and_write)

        async def write_it() -> None:
            try:
                await self._told(copy_and_write())
            finally:
                kept.writing = None

        kept.writing = asyncio.ensure_future(write_it())
        self._figures.checkpoint_paused(time.monotonic() - began)

    async def _copied(self, memory: AccountMemory) -> None:
        """Copies what was taken before any thread reads it."""
        is_whole = False
        while not is_whole:
            async with self._copying:
                began = time.monotonic()
                is_whole = copy_slice(memory)
                self._figures.checkpoint_paused(time.monotonic() - began)
                await asyncio.sleep(self._rest_seconds)

    async def _told(self, work: Awaitable[None]) -> None:
        """Tells of an error, since nobody awaits the work while streaming."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - told
            self._failed(error)
