import asyncio
import time

import pytest

from sluicegate.streaming.later import Later


def test_many_asks_are_one_call() -> None:
    calls: list[float] = []
    later = Later(lambda: calls.append(time.monotonic()), lambda _: pytest.fail("failed"))

    async def ask() -> None:
        later.within(0.05)  # never called before: at once
        for _ in range(5):
            later.within(0.05)
        assert len(calls) == 1
        await asyncio.sleep(0.1)
        assert len(calls) == 2
        later.within(30.0)
        later.within(0.01)  # the sooner of two counts
        await asyncio.sleep(0.05)
        assert len(calls) == 3
        await asyncio.sleep(0.05)

    asyncio.run(ask())
    assert len(calls) == 3
    assert calls[1] - calls[0] >= 0.05


def test_a_call_that_fails_when_it_is_due_is_told() -> None:
    told: list[Exception] = []
    fails = False

    def call() -> None:
        if fails:
            raise ValueError("no")

    async def ask() -> None:
        nonlocal fails
        later = Later(call, told.append)
        later.within(0.0)
        fails = True
        later.within(0.01)
        await asyncio.sleep(0.05)

    asyncio.run(ask())
    assert [str(each) for each in told] == ["no"]
