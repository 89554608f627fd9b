"""The store behind the Faust table: claims, restores, checkpoints, and whom it trusts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from faust.types import TP
from tests.streaming.flow import CAPACITY, SCORER, Payment, messages_of

from sluicegate.errors import Problem
from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.row import LAYOUT_VERSION
from sluicegate.streaming.checkpoint import Restorer, claim, claimed_by
from sluicegate.streaming.routing import Chains
from sluicegate.streaming.table import Changelog, SlabStore, Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sluicegate.streaming.partition import Partition

TOPIC = "accounts-changelog"


class Kept(Changelog):
    """A changelog topic in memory, which several stores may share; deleted records are None."""

    def __init__(self) -> None:
        self.topic = TOPIC
        self.kept: dict[int, list[bytes | None]] = {}

    def write(self, partition: int, values: Iterable[bytes]) -> Written:
        log = self.kept.setdefault(partition, [])
        first, written = len(log), list(values)
        log += written
        return Written(sum(map(len, written)), first, len(log) - 1, len(written))

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        return {number: len(self.kept[number]) for number in partitions}

    def read(self, partition: int, start: int, stop: int) -> Iterator[bytes | None]:
        return iter(self.kept[partition][start:stop])

    def delete_before(self, partition: int, offset: int) -> None:
        self.kept[partition][:offset] = [None] * offset


def new_store(changelog: Changelog, slot: str = "w0") -> SlabStore:
    store = SlabStore("slab://local", app=SimpleNamespace(), table=SimpleNamespace(name="accounts"))
    store.attach(changelog, slot, lambda: AccountMemory(CAPACITY))
    return store


def place(partition: int) -> TP:
    return TP(TOPIC, partition)


def rebalance(store: SlabStore, *partitions: int) -> None:
    """What Faust calls, with all of a worker's partitions, before it reads the changelog's end."""
    assigned = {place(number) for number in partitions} | {TP("ownership", 0)}
    asyncio.run(store.on_rebalance(assigned, set(), set()))


def read_back(store: SlabStore, changelog: Kept, *partitions: int) -> None:
    """What Faust does next: everything after the persisted offset, in batches."""
    for number in partitions:
        start = store.persisted_offset(place(number)) + 1
        feed(store, number, changelog.kept[number], start)


def feed(store: SlabStore, number: int, values: Sequence[bytes | None], start: int = 0) -> None:
    """From the first record that was not deleted."""
    first = next((at for at, value in enumerate(values) if value is not None), 0)
    for offset in range(max(start, first), len(values)):
        message = SimpleNamespace(partition=number, offset=offset, value=values[offset])
        store.apply_changelog_batch([SimpleNamespace(message=message)], _no_key, _no_key)


def _no_key(value: Any) -> Any:
    raise AssertionError(value)


def owned(changelog: Kept, *partitions: int, slot: str = "w0") -> tuple[SlabStore, list[Partition]]:
    """A store that claimed and restored these partitions."""
    store = new_store(changelog, slot)
    rebalance(store, *partitions)
    read_back(store, changelog, *partitions)
    return store, [store.take_over(number) for number in partitions]


def step(partition: Partition, account: str = "A") -> None:
    """Applies the next message: a payment of this account in cash."""
    offset = partition.place.applied + 1
    chains = Chains(1)
    chains.last(0)[0] = partition.place.sources.get("t0", -1)
    payment = Payment(f"T{offset}", account, None)
    ((_, value),) = messages_of(chains, [payment], [0], [offset])
    partition.apply(offset, value, SCORER)


def test_a_partition_goes_from_owner_to_owner_as_it_is() -> None:
    changelog = Kept()
    digest = ""
    for turn in range(3):
        store, (partition,) = owned(changelog, 5, slot=f"w{turn}")
        assert partition.memory.digest() == digest or turn == 0
        assert partition.place.applied == 2 * turn - 1
        for _ in range(2):
            step(partition, f"A{turn}")
        store.take_checkpoint(partition)()
        digest = partition.memory.digest()
    assert len(partition.memory) == 3


def test_every_assigned_partition_is_claimed_and_no_other() -> None:
    changelog = Kept()
    store = new_store(changelog, "w7")
    rebalance(store, 1, 4)
    assert {number: len(log) for number, log in changelog.kept.items()} == {1: 1, 4: 1}
    assert [claimed_by(log[0]) for log in changelog.kept.values()] == [
        (store.owners[number], "w7") for number in changelog.kept
    ]
    assert store.owners[1] != store.owners[4]


def test_a_partition_that_stays_is_claimed_again_with_a_fresh_owner() -> None:
    changelog = Kept()
    store, _ = owned(changelog, 0)
    before = store.owners[0]
    rebalance(store, 0)
    assert len(changelog.kept[0]) == 2
    assert store.owners[0] != before


def test_what_was_checkpointed_is_kept_in_memory_over_a_rebalance() -> None:
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    store.take_checkpoint(partition)()
    assert store.persisted_offset(place(0)) == 1  # the claim, then one chunk
    rebalance(store, 0)
    assert store.persisted_offset(place(0)) == 1
    read_back(store, changelog, 0)
    assert store.take_over(0).memory is partition.memory
    assert store.fault is None


def test_what_was_not_checkpointed_is_dropped_and_read_back() -> None:
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    store.take_checkpoint(partition)()
    digest = partition.memory.digest()
    step(partition, "NEVER-WRITTEN")
    rebalance(store, 0)
    read_back(store, changelog, 0)
    again = store.take_over(0)
    assert again.memory is not partition.memory
    assert (again.memory.digest(), again.place.applied) == (digest, 0)


def test_a_dropped_partition_is_read_from_its_beginning() -> None:
    """Faust remembers by itself where it was, unless it is told otherwise."""
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    rebalance(store, 0)
    assert store.persisted_offset(place(0)) == -1


def test_partitions_that_have_gone_are_forgotten() -> None:
    changelog = Kept()
    store, partitions = owned(changelog, 0, 1)
    for partition in partitions:
        step(partition)
        store.take_checkpoint(partition)()
    assert len(store) == 2
    rebalance(store, 1)
    assert sorted(store.restorers) == [1]
    assert len(store) == 1
    assert store.persisted_offset(place(0)) == -1


def test_messages_that_were_read_are_not_read_twice() -> None:
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    store.take_checkpoint(partition)()
    before = partition.memory.digest()
    feed(store, 0, changelog.kept[0])
    assert partition.memory.digest() == before
    assert store.restorers[0].fenced == 0


def test_a_newer_claim_of_another_worker_refuses_the_partition() -> None:
    changelog = Kept()
    store = new_store(changelog)
    rebalance(store, 0)
    changelog.write(0, [claim(b"B" * 16, "w1")])
    read_back(store, changelog, 0)
    with pytest.raises(Problem, match="claimed by another worker"):
        store.take_over(0)


def test_an_own_claim_that_was_not_read_back_refuses_the_partition() -> None:
    store = new_store(Kept())
    rebalance(store, 0)
    with pytest.raises(Problem, match="claimed by another worker"):
        store.take_over(0)


def test_checkpoints_of_one_owner_follow_each_other() -> None:
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    for turn in range(4):
        step(partition, f"A{turn}")
        store.take_checkpoint(partition)()
    restorer = Restorer(AccountMemory(CAPACITY))
    for value in changelog.kept[0]:
        restorer.feed(value)
    assert (restorer.number, restorer.applied, restorer.fenced) == (4, 3, 0)
    assert restorer.memory.digest() == partition.memory.digest()


def test_a_checkpoint_after_a_foreign_claim_stops_the_worker() -> None:
    """It does not count, so the state must not pass for safe."""
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    changelog.write(0, [claim(b"B" * 16, "w1")])
    with pytest.raises(Problem, match="slot w1 has claimed it since"):
        store.take_checkpoint(partition)()
    rebalance(store, 0)
    assert store.persisted_offset(place(0)) == -1  # dropped: it is read back in full


def test_a_foreign_claim_is_found_without_a_checkpoint() -> None:
    changelog = Kept()
    store, _ = owned(changelog, 0, 1)
    store.look_for_others([0, 1])
    changelog.write(1, [claim(b"B" * 16, "w1")])
    with pytest.raises(Problem, match="partition 1 was claimed by another worker"):
        store.look_for_others([0, 1])


def test_late_writes_of_an_owner_before_do_not_disturb() -> None:
    changelog = Kept()
    zombie, (stale,) = owned(changelog, 0)
    step(stale)
    late = zombie.take_checkpoint(stale)
    store, (partition,) = owned(changelog, 0, slot="w1")
    with pytest.raises(Problem, match="slot w1"):
        late()
    store.look_for_others([0])
    step(partition)
    store.take_checkpoint(partition)()
    _, (after,) = owned(changelog, 0, slot="w2")
    assert after.memory.digest() == partition.memory.digest()


def test_a_claim_renewed_by_a_zombie_does_not_take_the_partition_back() -> None:
    """Found by the torture (24 kills, seed 5): thawed in the middle of a checkpoint, a worker wrote
    its claim again after its successor's, and from there on its checkpoints counted and the others
    did not.
    """
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    write = store.take_checkpoint(partition, renews=True)
    successor = b"B" * 16
    changelog.write(0, [claim(successor, "w1")])  # while the zombie was frozen
    with pytest.raises(Problem, match="claimed by another worker"):
        write()
    restorer = Restorer(AccountMemory(CAPACITY))
    for value in changelog.kept[0]:
        restorer.feed(value)
    assert restorer.owner == successor
    assert restorer.number == 0


def sweep(store: SlabStore, changelog: Kept, partition: Partition) -> int:
    """Writes all rows again behind a claim of their own, with legs in between; its offset."""
    begin = len(changelog.kept[partition.number])
    half = len(partition.memory) // 2
    partition.memory.begin_sweep()
    partition.memory.mark(range(half))
    store.take_checkpoint(partition, renews=True)()
    step(partition, "BETWEEN")
    partition.memory.mark(range(half, len(partition.memory)))
    store.take_checkpoint(partition, completes=True)()
    return begin


def test_a_restore_of_a_trimmed_changelog_is_exact() -> None:
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    for turn in range(6):
        step(partition, f"A{turn}")
        store.take_checkpoint(partition)()
    begin = sweep(store, changelog, partition)
    store.trim(0, begin)
    assert changelog.kept[0][:begin] == [None] * begin
    _, (after,) = owned(changelog, 0, slot="w1")
    assert after.memory.digest() == partition.memory.digest()
    assert after.place == partition.place


def restored(changelog: Kept) -> Partition:
    return owned(changelog, 0, slot="w1")[1][0]


def test_a_changelog_that_lost_more_than_a_sweep_replaced_is_refused() -> None:
    """Rows written only in what was deleted would be missing, and nobody would know."""
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    for turn in range(6):
        step(partition, f"A{turn}")
        store.take_checkpoint(partition)()
    begin = sweep(store, changelog, partition)
    begun = len(changelog.kept[0])
    store.take_checkpoint(partition, renews=True)()
    changelog.delete_before(0, begin)
    assert restored(changelog).place == partition.place
    changelog.delete_before(0, begun)  # where the next sweep has begun, but not ended
    with pytest.raises(Problem, match="lost its beginning") as refusal:
        restored(changelog)
    assert "its first checkpoint is 9, but every row is there only from 7 on" in str(refusal.value)


def test_an_emptied_changelog_is_refused() -> None:
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    store.take_checkpoint(partition)()
    changelog.delete_before(0, len(changelog.kept[0]))
    with pytest.raises(Problem, match="emptied"):
        restored(changelog)


def test_claims_without_a_checkpoint_are_a_state_that_has_not_begun() -> None:
    changelog = Kept()
    owned(changelog, 0)
    assert restored(changelog).place.applied == -1


def test_nothing_is_trimmed_after_a_foreign_claim() -> None:
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    begin = sweep(store, changelog, partition)
    changelog.write(0, [claim(b"B" * 16, "w1")])
    with pytest.raises(Problem, match="slot w1"):
        store.trim(0, begin)
    assert None not in changelog.kept[0]


def test_a_memory_that_was_kept_begins_anew_where_its_changelog_was_trimmed() -> None:
    """Between its leaving and its return another owner has swept."""
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    for turn in range(4):
        step(partition, f"A{turn}")
        store.take_checkpoint(partition)()
    other, (taken,) = owned(changelog, 0, slot="w1")
    step(taken, "MORE")
    other.trim(0, sweep(other, changelog, taken))
    rebalance(store, 0)
    read_back(store, changelog, 0)
    back = store.take_over(0)
    assert back.memory.digest() == taken.memory.digest()
    assert back.place == taken.place
    step(back, "AFTER")
    store.take_checkpoint(back)()
    _, (after,) = owned(changelog, 0, slot="w2")
    assert after.memory.digest() == back.memory.digest()


def other_layout(value: bytes) -> bytes:
    return value[:5] + (LAYOUT_VERSION + 1).to_bytes(2, "little") + value[7:]


@pytest.mark.parametrize(
    ("spoil", "fact"),
    [
        (lambda _: b"{}", "neither claim nor checkpoint"),
        (lambda _: None, "neither claim nor checkpoint"),
        (lambda value: value[:60], "neither claim nor checkpoint"),
        (other_layout, "row layout"),
        (lambda value: value.replace(b'"applied":0', b'"applied":x'), "applied"),
    ],
)
def test_a_fault_found_while_restoring_refuses_every_partition(spoil: Any, fact: str) -> None:
    """Faust logs what a store raises, and goes on as if nothing had been."""
    changelog = Kept()
    store, (partition,) = owned(changelog, 0)
    step(partition)
    store.take_checkpoint(partition)()
    changelog.kept[0][1] = spoil(changelog.kept[0][1] or b"")
    after = new_store(changelog, "w1")
    rebalance(after, 0, 1)
    read_back(after, changelog, 0, 1)
    for number in (0, 1):
        with pytest.raises(Exception, match=fact):
            after.take_over(number)


def test_the_first_fault_is_the_one_that_is_told() -> None:
    store = new_store(Kept())
    feed(store, 0, [b"first", b"second"])
    assert "b'first'" in str(store.fault)


def test_rows_are_not_reached_through_the_mapping() -> None:
    store, _ = owned(Kept(), 0)
    with pytest.raises(KeyError):
        store["A"]
    with pytest.raises(NotImplementedError):
        store["A"] = 1
    with pytest.raises(NotImplementedError):
        del store["A"]
    assert list(store) == []


def test_nothing_happens_before_a_changelog_is_attached() -> None:
    store = SlabStore("slab://local", app=SimpleNamespace(), table=SimpleNamespace(name="accounts"))
    with pytest.raises(RuntimeError, match="attach"):
        rebalance(store, 0)
