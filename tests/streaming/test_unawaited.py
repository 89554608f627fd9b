"""What the worker tells of a task that failed and that nobody waits for."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING

import pytest
from faust.tables.recovery import ServiceStopped

from sluicegate.streaming.worker import tell_unless_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("error", "told"), [(ServiceStopped(), []), (ValueError(), [logging.ERROR])]
)
def test_all_is_told_but_that_faust_was_stopped(
    error: Exception, told: Sequence[int], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        raise error

    async def leave_behind() -> None:
        asyncio.get_running_loop().set_exception_handler(tell_unless_stopped)
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(leave_behind())
    assert [record.levelno for record in caplog.records] == told
