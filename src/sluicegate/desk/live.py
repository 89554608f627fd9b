"""The live pulse: one look at the database for all browsers, which hear that something changed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from prometheus_client import Gauge
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from sluicegate.desk.tables import AuditHeadRow
from sluicegate.liaison.cases import CaseRow
from sluicegate.liaison.database import AlertRow, reason_of

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.5
"""At every change each browser asks for the queue again, so this bounds how often it does."""
REST_SECONDS: Final = 15.0
"""So often at least a browser hears something, and its session is looked at."""


class Pulse:
    """Looks at the database, and wakes those who listen."""

    def __init__(self, engine: Engine, clients: Gauge) -> None:
        self._engine = engine
        self._clients = clients
        self._changed = asyncio.Event()
        self._last: tuple[object, ...] = ()
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        self._tells: tuple[Callable[[], None], ...] = ()

    def start(self, tells: Iterable[Callable[[], None]] = ()) -> None:
        """Begins to look; call it in the event loop. `tells` are called before browsers hear."""
        self._tells = tuple(tells)
        self._task = asyncio.create_task(self._look())

    def close(self) -> None:
        """Lets all who listen end."""
        self._is_closed = True
        self._changed.set()
        if self._task is not None:
            self._task.cancel()

    async def beats(self) -> AsyncIterator[bool]:
        """True at first and whenever something changed, False when nothing did for a while.

        At first, because of what changed before one listened: after a lost connection, too.
        """
        self._clients.inc()
        changed = self._changed
        try:
            yield True
            while not self._is_closed:
                try:
                    await asyncio.wait_for(changed.wait(), REST_SECONDS)
                except TimeoutError:
                    yield False
                else:
                    changed = self._changed  # before it is told: nothing falls in between
                    yield True
        finally:
            self._clients.dec()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                last = await asyncio.to_thread(self._last_change)
            except SQLAlchemyError as error:
                log.warning("the database does not answer: %s", reason_of(error))
                continue
            if last != self._last:
                self._last = last
                for tell in self._tells:
                    tell()
                waiting, self._changed = self._changed, asyncio.Event()
                waiting.set()

    def _last_change(self) -> tuple[object, ...]:
        """Differs once the consumer, somebody at a desk, or a desk by itself changed anything."""
        newest = (func.max(AlertRow.received_at), func.max(CaseRow.changed_at))
        with self._engine.connect() as connection:
            head = connection.scalar(select(AuditHeadRow.seq))
            return (head, *(connection.scalar(select(each)) for each in newest))
