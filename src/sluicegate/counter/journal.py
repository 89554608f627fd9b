"""Writes checks to the database, many in one commit, and tells each asker when it is there.

No verdict leaves before its audit record is safe.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.counter.database import store_checks
from sluicegate.liaison.database import reason_of

log = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 500
COMPLAIN_SECONDS: Final = 5.0

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    check: Row
    alerts: Sequence[Row]
    loop: asyncio.AbstractEventLoop
    stored: "asyncio.Future[bool]"


class Journal:
    """One thread that commits; `referred` is told of alerts that are now in the database."""

    def __init__(self, engine: Engine, referred: Callable[[Sequence[Row]], None]) -> None:
        self._engine = engine
        self._referred = referred
        self._waiting: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._complained_at = 0.0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Commits what waits, and ends the thread."""
        self._waiting.put(None)
        self._thread.join()

    async def store(self, check: Row, alerts: Sequence[Row]) -> bool:
        """Waits until a check is stored; False if its idempotency key was used before.

        Raises:
            SQLAlchemyError: the database did not take it.
        """
        loop = asyncio.get_running_loop()
        entry = _Entry(check, alerts, loop, loop.create_future())
        self._waiting.put(entry)
        return await entry.stored

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            entries: list[_Entry] = []
            entry = self._waiting.get()
            while entry is not None:
                entries.append(entry)
                if len(entries) == MOST_AT_ONCE or self._waiting.empty():
                    break
                entry = self._waiting.get()
            goes_on = entry is not None
            if entries:
                self._commit(entries)

    def _commit(self, entries: Sequence[_Entry]) -> None:
        try:
            stored = store_checks(self._engine, [(each.check, each.alerts) for each in entries])
        except Exception as error:  # noqa: BLE001 - told to who asked; the thread goes on
            if time.monotonic() - self._complained_at > COMPLAIN_SECONDS:
                self._complained_at = time.monotonic()
                log.error("checks cannot be stored: %s", _words(error))  # noqa: TRY400 - its own words say it
            for each in entries:
                each.loop.call_soon_threadsafe(_fail, each.stored, error)
            return
        for each, is_stored in zip(entries, stored, strict=True):
            each.loop.call_soon_threadsafe(_resolve, each.stored, is_stored)
            if is_stored and each.alerts:
                self._referred(each.alerts)


def _words(error: Exception) -> str:
    return reason_of(error) if isinstance(error, SQLAlchemyError) else type(error).__name__


def _resolve(stored: "asyncio.Future[bool]", value: bool) -> None:  # noqa: FBT001 - the future's
    if not stored.done():  # who asked may have gone
        stored.set_result(value)


def _fail(stored: "asyncio.Future[bool]", error: Exception) -> None:
    if not stored.done():
        stored.set_exception(error)
