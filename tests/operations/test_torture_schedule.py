"""The schedule of the torture: the same for the same seed, and each kind is in it."""

from __future__ import annotations

from collections import Counter

import pytest

from sluicegate.operations.torture_schedule import (
    BROKER,
    LIAISON,
    LONG_AWAY_SECONDS,
    ROUTERS,
    SESSION_SECONDS,
    WORKERS,
    Deed,
    Kind,
    Schedule,
    make_schedule,
    quota_of,
)

SEEDS = range(40)
GOING = {Deed.KILL, Deed.STOP}
FREEZING = {Deed.FREEZE, Deed.FREEZE_IN_CHECKPOINT}


def part_of(target: str) -> str:
    return {"w": "worker", "r": "router"}.get(target[0], target) if len(target) == 2 else target


def test_the_same_seed_gives_the_same_schedule_and_another_another() -> None:
    assert make_schedule(1, 100) == make_schedule(1, 100)
    assert make_schedule(1, 100) != make_schedule(2, 100)


@pytest.mark.parametrize("kills", [1, 6, 18, 100])
def test_each_kind_occurs_however_few_the_kills(kills: int) -> None:
    kinds = {step.kind for step in make_schedule(1, kills).steps}
    assert kinds == set(Kind)


def test_the_kills_are_as_many_as_asked_for_and_fairly_shared() -> None:
    steps = make_schedule(1, 100).steps
    kills = Counter(
        part_of(step.target) for step in steps if step.kind is Kind.KILL and step.deed is Deed.KILL
    )
    assert kills == {"worker": 34, "router": 33, "liaison": 33}


def test_workers_leave_by_sigterm_and_by_kill() -> None:
    steps = make_schedule(1, 100).steps
    left = {step.deed for step in steps if step.kind is Kind.REBALANCE}
    assert {Deed.STOP, Deed.KILL, Deed.START} <= left


def test_every_second_zombie_is_frozen_in_the_middle_of_a_checkpoint() -> None:
    deeds = Counter(step.deed for step in make_schedule(1, 100).steps if step.kind is Kind.ZOMBIE)
    assert deeds[Deed.FREEZE_IN_CHECKPOINT] == 3
    assert deeds[Deed.FREEZE] == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_is_killed_who_does_not_run_and_at_the_end_someone_of_each_part_does(
    seed: int,
) -> None:
    up, frozen = {WORKERS[0], ROUTERS[0], LIAISON, BROKER}, set[str]()
    sizes = []
    for step in make_schedule(seed, 60).steps:
        if step.deed is Deed.START:
            assert step.target not in up
            up.add(step.target)
        elif step.deed in GOING:
            assert step.target in up - frozen
            up.remove(step.target)
        elif step.deed in FREEZING:
            assert step.target in up - frozen
            frozen.add(step.target)
        else:
            frozen.remove(step.target)
        if step.kind is Kind.REBALANCE:
            sizes.append(len(up & set(WORKERS)))
    assert not frozen
    assert {LIAISON, BROKER, ROUTERS[0]} <= up
    assert up & set(WORKERS)
    assert {2, 3} <= set(sizes)


def _frozen_seconds(schedule: Schedule, kind: Kind) -> list[float]:
    since: dict[str, float] = {}
    lasted = []
    for step in schedule.steps:
        if step.kind is kind and step.deed in FREEZING:
            since[step.target] = step.at
        elif step.kind is kind and step.deed is Deed.THAW:
            lasted.append(step.at - since[step.target])
    return lasted


@pytest.mark.parametrize("kind", [Kind.ZOMBIE, Kind.OVERLAP])
def test_the_frozen_stay_so_past_their_session(kind: Kind) -> None:
    lasted = _frozen_seconds(make_schedule(3, 100), kind)
    assert min(lasted) > SESSION_SECONDS + 1


def test_the_broker_is_away_for_a_minute_once_in_a_long_run_only() -> None:
    long = _frozen_seconds(make_schedule(1, 100), Kind.BROKER_AWAY)
    short = _frozen_seconds(make_schedule(1, 18), Kind.BROKER_AWAY)
    assert sum(each == pytest.approx(LONG_AWAY_SECONDS) for each in long) == 1
    assert max(short) < 10


def test_the_tracks_end_together() -> None:
    schedule = make_schedule(1, 60)
    for name in ("worker", "router", "liaison", "broker"):
        last = max(step.at for step in schedule.steps if part_of(step.target) == name)
        assert last == pytest.approx(schedule.seconds, abs=0.1)


def test_more_kills_bring_more_of_everything() -> None:
    few, many = quota_of(18), quota_of(200)
    assert few.zombies == few.rebalances == few.broker_restarts == 1
    assert many.zombies == many.rebalances == 10
