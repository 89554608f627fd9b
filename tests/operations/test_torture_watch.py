"""How fast workers recover, from what they say, and what counts as exact."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from sluicegate.operations.torture_balance import NOTHING_OF, is_exact, spread_of
from sluicegate.operations.torture_parts import FOUND_REPLACED, ZOMBIE_SECONDS, Life, Part
from sluicegate.operations.torture_watch import ProgressLog, recoveries
from sluicegate.streaming.progress import Progress

EXACT: dict[str, Any] = {
    **dict.fromkeys(NOTHING_OF, 0),
    "state_equal": True,
    "transactions": 10,
    "sent": 10,
    "faults": [],
}


def said(slot: str, at_ms: int, **applied: int) -> Progress:
    return Progress(slot, at_ms, {int(name[1:]): at for name, at in applied.items()})


def test_a_worker_has_recovered_when_it_is_further_than_where_it_began() -> None:
    lives = [Life("w0", 1_000)]
    words = [said("w0", 3_000, p0=5, p1=7), said("w0", 3_500, p0=5, p1=8), said("w0", 9_000, p0=9)]
    assert recoveries(lives, words) == [2.5]


def test_each_life_is_measured_by_its_own_words() -> None:
    lives = [Life("w0", 1_000), Life("w0", 10_000), Life("w1", 1_000)]
    words = [
        said("w0", 2_000, p0=5),
        said("w1", 2_500, p1=9),
        said("w0", 3_000, p0=6),
        said("w0", 12_000, p0=6),
        said("w0", 14_000, p0=7),
    ]
    assert recoveries(lives, words) == [2.0, 4.0]


def test_a_life_that_ended_before_its_first_leg_is_left_out() -> None:
    lives = [Life("w0", 1_000), Life("w0", 5_000)]
    words = [said("w0", 4_000, p0=5), said("w0", 6_000, p0=6), said("w0", 7_000, p0=8)]
    assert recoveries(lives, words) == [2.0]


def test_the_furthest_place_is_kept_whatever_a_zombie_says() -> None:
    log = ProgressLog()
    for applied in (5, 9, 6):
        log.add(json.dumps({"worker": "w0", "at_ms": 1, "applied": {"2": applied}}).encode())
    assert log.applied == {2: 9}
    assert [each.applied for each in log.said] == [{2: 5}, {2: 9}, {2: 6}]


def test_median_and_worst_are_told_and_none_of_nothing() -> None:
    assert spread_of([1.0, 4.0, 2.0]) == {"p50": 2.0, "max": 4.0, "count": 3}
    assert spread_of([]) == {"p50": None, "max": None, "count": 0}


def test_a_run_without_any_fault_is_exact() -> None:
    assert is_exact(EXACT)


@pytest.mark.parametrize("name", NOTHING_OF)
def test_a_single_one_of_anything_is_not_exact(name: str) -> None:
    assert not is_exact(EXACT | {name: 1})


@pytest.mark.parametrize(
    "change", [{"state_equal": False}, {"transactions": 9}, {"faults": [{"what": "w0 ended"}]}]
)
def test_another_state_a_loss_before_the_topic_and_a_failed_part_are_not_exact(
    change: dict[str, Any],
) -> None:
    assert not is_exact(EXACT | change)


def part(**state: Any) -> Part:
    return Part("w0", (), {}, Path("w0.log"), **state)


@pytest.mark.parametrize("code", [0, 1, 70, -signal.SIGSEGV, -signal.SIGKILL])
def test_a_part_that_nobody_touched_must_not_end(code: int) -> None:
    assert not part().may_end_with(code, now=0.0)


def test_a_part_that_was_asked_to_end_ends_with_zero() -> None:
    assert part(asked_at=0.0).may_end_with(0, now=1.0)
    assert not part(asked_at=0.0).may_end_with(1, now=1.0)
    assert not part(asked_at=0.0).may_end_with(-signal.SIGSEGV, now=1.0)


def test_a_zombie_may_find_itself_replaced_for_a_while_after_it_was_thawed() -> None:
    zombie = part(thawed_at=100.0)
    assert zombie.may_end_with(FOUND_REPLACED, now=101.0)
    assert not zombie.may_end_with(-signal.SIGSEGV, now=101.0)
    assert not zombie.may_end_with(FOUND_REPLACED, now=100.0 + ZOMBIE_SECONDS + 1)
