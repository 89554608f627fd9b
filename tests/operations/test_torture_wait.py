"""What the deeds of the torture wait for."""

from __future__ import annotations

from sluicegate.operations.torture_parts import Life
from sluicegate.operations.torture_schedule import Deed, Kind, Step
from sluicegate.operations.torture_wait import (
    awaits_members,
    awaits_successor,
    have_joined,
    have_taken_over,
)
from sluicegate.streaming.progress import Progress


def said(slot: str, at_ms: int, *partitions: int) -> Progress:
    return Progress(slot, at_ms, dict.fromkeys(partitions, 1))


def step(kind: Kind, deed: Deed, target: str) -> Step:
    return Step(1.0, deed, target, kind)


def test_a_worker_leaves_a_group_that_all_have_joined_but_is_killed_at_any_moment() -> None:
    assert awaits_members(step(Kind.REBALANCE, Deed.STOP, "w1"))
    assert awaits_members(step(Kind.ZOMBIE, Deed.FREEZE_IN_CHECKPOINT, "w1"))
    assert not awaits_members(step(Kind.REBALANCE, Deed.START, "w1"))
    assert not awaits_members(step(Kind.KILL, Deed.KILL, "w1"))


def test_zombies_come_back_to_a_successor_and_a_broker_to_nobody() -> None:
    assert awaits_successor(step(Kind.ZOMBIE, Deed.THAW, "w0"))
    assert awaits_successor(step(Kind.OVERLAP, Deed.THAW, "r0"))
    assert not awaits_successor(step(Kind.BROKER_AWAY, Deed.THAW, "broker"))


def test_a_worker_has_joined_when_it_holds_something_since_its_last_start() -> None:
    lives = [Life("w0", 100), Life("w1", 100), Life("w1", 500)]
    before = [said("w0", 200, 0), said("w1", 200, 1)]
    assert not have_joined(["w0", "w1"], lives, before)
    assert not have_joined(["w0", "w1"], lives, [*before, said("w1", 600)])
    assert have_joined(["w0", "w1"], lives, [*before, said("w1", 600, 1)])


def test_a_zombie_is_replaced_when_others_hold_all_partitions() -> None:
    words = [said("w0", 100, 0, 1), said("w1", 400, 1), said("w0", 410, 0)]
    assert not have_taken_over(["w1"], 2, 300, words)
    assert have_taken_over(["w1"], 2, 300, [*words, said("w1", 500, 0, 1)])
