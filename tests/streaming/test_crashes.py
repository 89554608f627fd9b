"""Whoever dies between whichever two effects: nothing is lost, nothing counts twice.

Hypothesis plays schedules of routers and workers that are killed, paused and replaced while records
of theirs are still on their way, and at the end of each the books must balance. More schedules:
CRASH_SCHEDULES=5000 (each up to 40 steps; the default takes some seconds).
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.streaming.crash_books import (
    active_of,
    assert_a_hole_is_refused,
    assert_all_is_held,
    books_of,
    story_of,
    told_in,
    transactions_of,
)
from tests.streaming.world import (
    LEGS,
    SOURCES,
    Died,
    Replayed,
    World,
    replay,
)
from tests.streaming.world_router import RouterProcess
from tests.streaming.world_worker import WorkerProcess

from sluicegate.errors import Problem
from sluicegate.streaming import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

SCHEDULES = int(os.environ.get("CRASH_SCHEDULES", "200"))
MOST_AT_ONCE = 3
"""Processes of a kind that are alive together."""

# The schedules.

WHICH = st.integers(0, MOST_AT_ONCE - 1)
DRAW = st.integers(0, 2**20).map(random.Random)
"""Details that need not shrink one by one: a number each."""
NUMBER = st.integers(0, LEGS - 1)
ALL = frozenset(range(LEGS))
FUSE = st.one_of(st.none(), st.none(), st.integers(0, 6))


def _time_goes_on(self: Crashes, draw: random.Random) -> None:
    """The newest router routes, some worker applies; what they write arrives, or not yet."""
    arrives = draw.choice([0, 1, 2, 100, 100])
    if self.routers:
        self.routers[-1].route((draw.randrange(6), draw.randrange(6)))
        self.routers[-1].tell(draw.randrange(3))
        self.routers[-1].wire.deliver_some(draw, arrives)
        if draw.random() < 0.2:
            self.routers[-1].commit()
    if self.workers:
        worker = self.worker(draw.randrange(MOST_AT_ONCE))
        for number in worker.partitions:
            worker.apply(number, draw.randint(1, 6))
        worker.send()
        worker.wire.deliver_some(draw, arrives)
        if worker.partitions and draw.random() < 0.3:
            self.checkpoint(worker, draw.choice(sorted(worker.partitions)), 100)


class Crashes(RuleBasedStateMachine):
    """Routers and workers at work; each rule is one process taking one step."""

    @initialize(
        draw=DRAW,
        late=st.sampled_from(["lost", "before", "claimed", "restored"]),
        cut=st.tuples(NUMBER, st.integers(0, 30)),
    )
    def begin(self, draw: random.Random, late: str, cut: tuple[int, int]) -> None:
        sources = [transactions_of(number, story_of(draw)) for number in range(SOURCES)]
        self.world = World(sources, told_in(draw))
        self.books = books_of(sources)
        self.late, self.cut = late, cut
        self.routers = [RouterProcess(self.world)]
        self.workers: list[WorkerProcess] = []
        self.slots = 0
        worker = self.start_worker()
        worker.rebalance(set(ALL))
        worker.restore()

    def act(
        self,
        processes: list[Any],
        which: int,
        step: Callable[[], object],
        fuse: int | None = None,
    ) -> None:
        """One process takes a step; when its fuse burns down it is gone."""
        process = processes[which % len(processes)]
        self.world.fuse = fuse
        try:
            step()
        except Died:
            processes.remove(process)
        except Problem as problem:
            if "was claimed by another worker" not in problem.fact:
                raise
            processes.remove(process)  # it exits, as it must
        finally:
            self.world.fuse = None

    # Rules are chosen evenly: most of the time nothing goes wrong.
    time_goes_on = rule(draw=DRAW)(_time_goes_on)
    and_on = rule(draw=DRAW)(_time_goes_on)
    still_goes_on = rule(draw=DRAW)(_time_goes_on)
    goes_on_again = rule(draw=DRAW)(_time_goes_on)

    # Routers: the newest holds the group, older ones have not noticed yet.

    @precondition(lambda self: self.routers)
    @rule(
        which=WHICH,
        step=st.sampled_from(["route", "deliver", "deliver", "commit"]),
        counts=st.tuples(st.integers(0, 4), st.integers(0, 4)),
        fuse=FUSE,
    )
    def router_steps(
        self, which: int, step: str, counts: tuple[int, int], fuse: int | None
    ) -> None:
        router = self.routers[which % len(self.routers)]
        if step == "route":
            router.route(counts)
        elif step == "deliver":
            for _ in range(counts[0]):
                router.wire.deliver(counts[1])
        else:
            self.act(self.routers, which, router.commit, fuse)

    @rule(which=WHICH, kill=st.booleans())
    def router_is_replaced(self, which: int, *, kill: bool) -> None:
        """The old one dies, or has only lost the group and does not know."""
        if self.routers and (kill or len(self.routers) == MOST_AT_ONCE):
            self.routers.pop(which % len(self.routers))
        self.routers.append(RouterProcess(self.world))

    # Workers: several may take themselves for the owner of a partition.

    def worker(self, which: int) -> WorkerProcess:
        return self.workers[which % len(self.workers)]

    def start_worker(self) -> WorkerProcess:
        self.slots += 1
        self.workers.append(WorkerProcess(self.world, f"w{self.slots}"))
        return self.workers[-1]

    @rule(
        which=WHICH,
        numbers=st.one_of(st.just(ALL), st.sets(NUMBER, min_size=1)),
        kill=st.booleans(),
        at_once=st.sampled_from([True, True, False]),
        fuse=FUSE,
    )
    def worker_is_replaced(
        self, which: int, numbers: set[int], fuse: int | None, *, kill: bool, at_once: bool
    ) -> None:
        """The old one dies, or stands still for a while and does not know."""
        if self.workers and (kill or len(self.workers) == MOST_AT_ONCE):
            self.workers.pop(which % len(self.workers))
        worker = self.start_worker()
        self.act(self.workers, -1, lambda: worker.rebalance(set(numbers)), fuse)
        if at_once and worker in self.workers:
            self.act(self.workers, -1, worker.restore)

    @precondition(lambda self: self.workers)
    @rule(
        which=WHICH,
        numbers=st.one_of(st.just(ALL), st.sets(NUMBER, min_size=1)),
        at_once=st.sampled_from([True, True, False]),
        fuse=FUSE,
    )
    def worker_is_assigned(
        self, which: int, numbers: set[int], fuse: int | None, *, at_once: bool
    ) -> None:
        """A rebalance: it leaves what it holds and takes what it is given."""
        worker = self.worker(which)
        self.act(self.workers, which, lambda: worker.rebalance(set(numbers)), fuse)
        if at_once and worker in self.workers:
            self.act(self.workers, self.workers.index(worker), worker.restore)

    @precondition(lambda self: len(self.workers) < MOST_AT_ONCE and self.workers)
    @rule(which=WHICH, checkpoints=st.integers(1, 2 * LEGS), returns=st.booleans())
    def worker_is_away(self, which: int, checkpoints: int, *, returns: bool) -> None:
        """Between leaving and being assigned again: another one holds all, and sweeps."""
        away = self.worker(which)
        self.act(self.workers, which, lambda: away.rebalance(set(ALL)))
        other = self.start_worker()
        other.rebalance(set(ALL))
        other.restore()
        for turn in range(checkpoints):
            self.checkpoint(other, turn % LEGS, 100)
        if returns and away in self.workers:
            self.act(self.workers, self.workers.index(away), lambda: away.rebalance(set(ALL)))
            self.act(self.workers, self.workers.index(away), away.restore)

    @precondition(lambda self: any(worker.assigned for worker in self.workers))
    @rule(which=WHICH)
    def worker_is_restored(self, which: int) -> None:
        waiting = [worker for worker in self.workers if worker.assigned]
        worker = waiting[which % len(waiting)]
        self.act(self.workers, self.workers.index(worker), worker.restore)

    @precondition(lambda self: self.workers)
    @rule(
        which=WHICH,
        step=st.sampled_from(["apply", "send", "deliver", "deliver", "look"]),
        number=NUMBER,
        count=st.integers(1, 6),
    )
    def worker_steps(self, which: int, step: str, number: int, count: int) -> None:
        worker = self.worker(which)
        if step == "apply" and number in worker.partitions:
            worker.apply(number, count)
        elif step == "send":
            worker.send()
        elif step == "deliver":
            for _ in range(count):
                worker.wire.deliver(number + count)
        elif step == "look":
            self.act(self.workers, which, worker.look_for_others)

    @precondition(lambda self: any(worker.partitions for worker in self.workers))
    @rule(
        which=WHICH,
        number=NUMBER,
        chunks=st.integers(0, 5),
        kill=st.sampled_from([True] + 3 * [False]),
        fuse=FUSE,
    )
    def worker_checkpoints(
        self, which: int, number: int, chunks: int, fuse: int | None, *, kill: bool
    ) -> None:
        """One checkpoint goes on by some chunks; the last of them may be the last of all."""
        holding = [worker for worker in self.workers if worker.partitions or worker.writing]
        worker = holding[which % len(holding)]
        chosen = number if number in worker.partitions else min(worker.partitions or worker.writing)
        self.checkpoint(worker, chosen, chunks, fuse)
        if kill and worker in self.workers:
            self.workers.remove(worker)

    def checkpoint(
        self, worker: WorkerProcess, number: int, chunks: int, fuse: int | None = None
    ) -> None:
        if number in worker.partitions:
            worker.begin_checkpoint(number)
        if number in worker.writing:
            place = self.workers.index(worker)
            self.act(self.workers, place, lambda: worker.write_checkpoint(number, chunks), fuse)

    # The end: everything comes to rest, and the books are balanced.

    def teardown(self) -> None:
        if not hasattr(self, "late"):
            return
        old: list[RouterProcess | WorkerProcess] = [*self.routers, *self.workers]
        event(f"late records: {self.late}")
        self._release(old, "before")
        router = RouterProcess(self.world)
        router.route([len(records) for records in self.world.transactions])
        router.tell(len(self.world.told))
        router.commit()
        last = WorkerProcess(self.world, "last")
        last.rebalance(set(ALL))
        self._release(old, "claimed")
        last.restore()
        restored = {
            p.number: (p.place.applied, p.memory.digest()) for p in last.partitions.values()
        }
        self._release(old, "restored")
        self._quiet(last)

        replayed = [replay(number, log) for number, log in enumerate(self.world.legs)]
        for number, (applied, digest) in restored.items():
            assert digest == replayed[number].digests[applied + 1]
        for worker in self.workers:
            assert_held_is_replayed(worker, replayed)
        assert_held_is_replayed(last, replayed)
        assert Counter(each for one in replayed for each in one.sightings) == self.books.legs
        assert self.world.dead == self.books.dead
        assert self.world.hits == {hit for one in replayed for hit in one.hits}
        active = active_of(self.world.told)
        event(f"judged by {'the file' if not active else 'a published set'} at the end")
        assert {each.place.activated for each in last.partitions.values()} == {active}
        held = [each.memory for each in last.partitions.values()]
        assert_all_is_held(self.world.told, held)
        self._handed_over(last, replayed)
        number, at = self.cut
        assert_a_hole_is_refused(number, self.world.legs[number], at)

    def _release(self, old: Sequence[RouterProcess | WorkerProcess], when: str) -> None:
        """What paused processes still have on the way arrives at this moment, or never."""
        for process in old if when == self.late else []:
            try:
                process.release()
            except Problem as problem:
                assert "was claimed by another worker" in problem.fact  # noqa: PT017

    def _quiet(self, worker: WorkerProcess) -> None:
        while any(
            p.place.applied + 1 < len(self.world.legs[p.number]) for p in worker.partitions.values()
        ):
            for number in worker.partitions:
                worker.apply(number, 1_000)
            worker.send()
            worker.wire.flush()
        worker.wire.flush()

    def _handed_over(self, last: WorkerProcess, replayed: Sequence[Replayed]) -> None:
        """What the last owner leaves behind is all that the next one needs."""
        last.rebalance(set(ALL))
        following = WorkerProcess(self.world, "next")
        following.rebalance(set(ALL))
        following.restore()
        assert_held_is_replayed(following, replayed)
        for partition in following.partitions.values():
            end = partition.place.applied + 1
            assert end == len(self.world.legs[partition.number])
            place = dict(partition.place.sources), dict(partition.place.sent)
            assert place == replayed[partition.number].places[end]


def assert_held_is_replayed(worker: WorkerProcess, replayed: Sequence[Replayed]) -> None:
    """Whatever a worker holds, the owner or not, is what its log comes to at that offset."""
    for number, partition in worker.partitions.items():
        at = partition.place.applied + 1
        assert partition.memory.digest() == replayed[number].digests[at]
        assert partition.place.activated == replayed[number].activated[at]


def test_whoever_dies_between_whichever_two_effects_the_books_balance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logging.getLogger("sluicegate.streaming.router").setLevel(logging.ERROR)
    monkeypatch.setattr(checkpoint, "ROWS_A_CHUNK", 2)
    run_state_machine_as_test(
        Crashes,
        settings=settings(
            max_examples=SCHEDULES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
