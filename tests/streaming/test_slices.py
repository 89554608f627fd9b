"""A checkpoint is of the moment at which it was taken, whatever the stream does meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count, islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.memory.legs import directive, profile
from tests.memory.oracle import Holder, Order
from tests.streaming.flow import CAPACITY
from tests.streaming.test_checkpoint import A, pay, restored
from tests.streaming.test_figures import value
from tests.streaming.test_table import Kept, owned, step

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.metrics import Metrics, Part
from sluicegate.settings import Settings
from sluicegate.streaming import checkpoint, upkeep
from sluicegate.streaming.checkpoint import Place, chunks, claim
from sluicegate.streaming.figures import WorkerFigures
from sluicegate.streaming.outgoing import Outgoing
from sluicegate.streaming.upkeep import Sweep, Upkeep, copy_slice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sluicegate.streaming.partition import Partition

SWEEP = 3
"""Checkpoints in which a sweep writes every row again."""
NAMES = [f"P{number}" for number in range(12)]
SOME = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), SOME),
        st.tuples(st.just("learn"), SOME),
        st.tuples(st.just("direct"), SOME),
        st.tuples(st.just("copy"), st.integers(1, 5)),
        st.tuples(st.just("write"), st.integers(1, 3)),
        st.tuples(st.just("take"), st.none()),
    ),
    max_size=60,
)


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "ROWS_A_CHUNK", 2)
        patch.setattr(checkpoint, "DIRECTIVES_A_CHUNK", 3)
        yield


@dataclass
class Cut:
    """A checkpoint: what the memory was when it was taken, and its messages, some still to make."""

    digest: str
    rows: set[bytes]
    begins_sweep: bool
    ends_sweep: bool
    left: Iterator[bytes]
    written: list[bytes] = field(default_factory=list)


@dataclass
class Story:
    """One partition whose checkpoints are taken, copied and written between its messages."""

    memory: AccountMemory = field(default_factory=lambda: AccountMemory(len(NAMES) + 1))
    cuts: list[Cut] = field(default_factory=list)
    sweep: Sweep | None = None
    offset: Iterator[int] = field(default_factory=lambda: count(1))

    def pay(self, names: list[str]) -> None:
        pay(self.memory, names, offset=next(self.offset))

    def learn(self, names: list[str]) -> None:
        for name in names:
            self.memory.learn(profile(name, Holder(income=next(self.offset))))

    def direct(self, names: list[str]) -> None:
        for name in names:  # two ids an account: the second time one is overwritten
            at = next(self.offset)
            self.memory.direct(directive(Order(str(at % 2), name, "watched", until_s=at)))

    def copy(self, most: int) -> None:
        self.memory.copy_taken(most)

    def write(self, most: int) -> None:
        """Makes some messages of the last checkpoint, without having copied all of it."""
        for cut in self.cuts[-1:]:
            cut.written += islice(cut.left, most)

    def take(self, _: None = None) -> None:
        number = len(self.cuts) + 1
        begins = self.sweep is None
        self.sweep = sweep = self.sweep or Sweep(len(self.memory), number)
        if begins:
            self.memory.begin_sweep()
        self.memory.mark(sweep.share(number, SWEEP))
        ends = sweep.is_complete(number, SWEEP)
        left = chunks(self.memory, Place(applied=number), A, number)
        rows = {row.tobytes() for row in self.memory.rows}
        self.cuts.append(Cut(self.memory.digest(), rows, begins, ends, left))
        if ends:
            self.sweep = None

    def finish(self) -> None:
        for cut in self.cuts:
            cut.written += cut.left


def told(actions: list[tuple[str, object]]) -> Story:
    story = Story()
    for name, detail in actions:
        act: Callable[[object], None] = getattr(story, name)
        act(detail)
    story.finish()
    return story


law = settings(derandomize=True, deadline=None, max_examples=300)


@given(ACTIONS)
@law
def test_each_checkpoint_restores_the_memory_of_its_moment(
    actions: list[tuple[str, object]],
) -> None:
    story = told([*actions, ("take", None), ("pay", NAMES), ("learn", NAMES), ("direct", NAMES)])
    restorer = restored([claim(A, "w0")], len(NAMES) + 1)
    for number, cut in enumerate(story.cuts, start=1):
        for message in cut.written:
            restorer.feed(message)
        assert restorer.applied == number
        assert restorer.memory.digest() == cut.digest
        assert {row.tobytes() for row in restorer.memory.rows} == cut.rows


@given(st.lists(ACTIONS, min_size=3, max_size=6))
@law
def test_a_sweep_alone_restores_the_memory_of_its_end(
    between: list[list[tuple[str, object]]],
) -> None:
    """Nothing from before its first checkpoint is needed, as when the changelog is trimmed."""
    actions: list[tuple[str, object]] = [("pay", NAMES[:8]), ("take", None)]
    for part in between:
        actions += [*part, ("take", None)]
    story = told([*actions, ("take", None), ("take", None), ("direct", NAMES), ("pay", NAMES)])
    begun = 0
    swept = 0
    for at, cut in enumerate(story.cuts):
        begun = at if cut.begins_sweep else begun
        if cut.ends_sweep:
            values = [value for each in story.cuts[begun : at + 1] for value in each.written]
            assert restored([claim(A, "w0"), *values]).memory.digest() == cut.digest
            swept += 1
    assert swept


# The upkeep itself: slices between deliveries, and what becomes of them when all goes wrong.


@dataclass
class Desk:
    """An `Upkeep` of one partition with its store; the changelog is in memory."""

    changelog: Kept
    partition: Partition
    upkeep: Upkeep
    metrics: Metrics
    failures: list[Exception]

    def take(self) -> None:
        """Begins a checkpoint at once."""
        self.upkeep.note(0, 10**9)
        self.upkeep.take_due([0])

    @property
    def slices(self) -> float:
        """Pieces of checkpoints so far."""
        return value(self.metrics, "sluicegate_worker_checkpoint_pause_seconds_count") or 0.0


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A worker's upkeep that copies two rows at a time."""
    monkeypatch.setattr(upkeep, "SLICE_PIECES", 1)
    monkeypatch.setattr(upkeep, "PIECE_ROWS", 2)
    monkeypatch.setattr(upkeep, "REST_SECONDS", 0.0)
    changelog, metrics, config = Kept(), Metrics(Part.WORKER), Settings()
    store, (partition,) = owned(changelog, 0)
    figures, failures = WorkerFigures(metrics), list[Exception]()
    nowhere = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    outgoing = Outgoing(config, nowhere, figures, failures.append)
    keeper = Upkeep(
        config.worker, store, outgoing, figures, failed=failures.append, give_up=lambda: True
    )
    keeper.begin([partition])
    return Desk(changelog, partition, keeper, metrics, failures)


def read_back(kept: Kept) -> tuple[str, int]:
    """Digest and place of what the changelog restores."""
    restorer = restored([each for each in kept.kept[0] if each is not None], CAPACITY)
    return restorer.memory.digest(), restorer.applied


def move_nine(at: Desk) -> None:
    for number in range(9):
        step(at.partition, f"A{number}")


def held(at: Desk) -> tuple[str, int]:
    return at.partition.memory.digest(), at.partition.place.applied


@pytest.mark.parametrize(("seconds", "slices"), [(0.0, 5), (60.0, 2)])
def test_a_slice_ends_with_its_pieces_or_its_time(
    at: Desk, monkeypatch: pytest.MonkeyPatch, seconds: float, slices: int
) -> None:
    monkeypatch.setattr(upkeep, "SLICE_PIECES", 3)
    monkeypatch.setattr(upkeep, "SLICE_SECONDS", seconds)
    move_nine(at)
    memory = at.partition.memory
    memory.take_dirty(9)
    assert [copy_slice(memory) for _ in range(slices)] == [*[False] * (slices - 1), True]


def test_messages_are_applied_between_slices_and_the_checkpoint_is_of_before_them(
    at: Desk,
) -> None:
    async def story() -> None:
        move_nine(at)
        was = held(at)
        at.take()
        while at.slices < 4:  # the taking, and three slices
            step(at.partition, f"A{int(at.slices)}")
            await asyncio.sleep(0)
        assert len(at.changelog.kept[0]) == 1  # the claim: nothing is written before all is copied
        await at.upkeep.finish()
        assert at.slices == 1 + 5
        assert read_back(at.changelog) == was
        step(at.partition, "LAST")
        await at.upkeep.leave()
        assert read_back(at.changelog) == held(at)
        assert at.failures == []

    asyncio.run(story())


def test_leaving_in_the_middle_of_a_checkpoint_ends_it_and_writes_the_last(
    at: Desk,
) -> None:
    async def story() -> None:
        move_nine(at)
        at.take()
        await asyncio.sleep(0)
        step(at.partition, "A3")
        await at.upkeep.leave()
        assert read_back(at.changelog) == held(at)
        assert at.failures == []

    asyncio.run(story())


def test_a_checkpoint_that_is_cut_off_between_slices_leaves_nothing(
    at: Desk,
) -> None:
    """The process ends: what was taken is gone, and the checkpoint before stands."""

    async def story() -> tuple[str, int]:
        move_nine(at)
        at.take()
        await at.upkeep.finish()
        was = held(at)
        move_nine(at)
        at.take()
        await asyncio.sleep(0)
        return was

    was = asyncio.run(story())  # what still runs is cancelled
    assert read_back(at.changelog) == was


def test_a_partition_that_is_lost_between_slices_is_not_written_over(
    at: Desk,
) -> None:
    async def story() -> None:
        move_nine(at)
        at.take()
        await asyncio.sleep(0)
        at.changelog.write(0, [claim(b"B" * 16, "w1")])
        await at.upkeep.finish()
        (failure,) = at.failures
        assert isinstance(failure, Problem)
        assert "claimed by another worker" in failure.fact
        assert read_back(at.changelog)[1] == -1  # it does not count

    asyncio.run(story())
