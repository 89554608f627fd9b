"""What the workers remember of an account now: how much is still there, flows of the last days.

The same question that the counter asks. A worker that is away leaves what the alerts said.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sluicegate.counter.owners import Owners, Unjudged
from sluicegate.desk.clocks import utc_now
from sluicegate.desk.queue import Filters, worst
from sluicegate.liaison.cases import CaseRow, weight_of
from sluicegate.liaison.database import reason_of
from sluicegate.settings import Settings

log = logging.getLogger(__name__)

View = Mapping[str, Any]
"""A view of `streaming/state_view.py`, as JSON brings it."""
DEADLINE_SECONDS: Final = 0.5
SURVEY_SECONDS: Final = 5.0
SURVEYED: Final = 50
"""So many of the worst cases are looked at again and again."""
BEFORE: Final = timedelta(days=1)
"""Money that came in this long before the first alert counts to it."""


def still_there(view: View, since: datetime) -> int:
    """What came in since then and has not been passed on, in minor units.

    The ring holds the last 16 inflows: there may be more.
    """
    rests = (
        leg["rest_minor"]
        for leg in view["recent"]
        if leg["side"] == "in" and leg["at_s"] >= since.timestamp()
    )
    total: float = sum(rest for rest in rests if rest is not None)
    return round(total)


class Accounts:
    """Asks the owners, from the event loop; pages ask from their threads."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._owners = Owners(settings)
        self._engine = engine
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begins to follow the workers, and to survey the worst cases."""
        self._loop = asyncio.get_running_loop()
        await self._owners.open()
        self._tasks = [
            asyncio.create_task(self._owners.keep_asking()),
            asyncio.create_task(self._keep_surveying()),
        ]

    async def close(self) -> None:
        """Ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._owners.close()

    def view(self, account: str) -> View | None:
        """What is remembered of an account, from a thread; None if nobody can say now."""
        if self._loop is None:
            return None
        asked = asyncio.run_coroutine_threadsafe(self._view(account), self._loop)
        try:
            return asked.result(DEADLINE_SECONDS * 2)
        except TimeoutError:
            asked.cancel()
            return None

    async def _view(self, account: str) -> View | None:
        told = await self._owners.account(account, time.monotonic() + DEADLINE_SECONDS)
        return None if isinstance(told, Unjudged) else told

    async def _keep_surveying(self) -> None:
        while True:
            await asyncio.sleep(SURVEY_SECONDS)
            try:
                await self._survey()
            except SQLAlchemyError as error:
                log.warning("the database does not answer: %s", reason_of(error))

    async def _survey(self) -> None:
        """Brings the money at risk of the worst cases up to date."""
        cases = await asyncio.to_thread(self._worst)
        views = await asyncio.gather(*(self._view(case.account) for case in cases))
        found = {
            case.id: weighed
            for case, view in zip(cases, views, strict=True)
            if view is not None
            and (weighed := still_there(view, case.first_at - BEFORE)) != case.at_risk_minor
        }
        if found:
            await asyncio.to_thread(self._note, cases, found)

    def _worst(self) -> list[CaseRow]:
        with Session(self._engine, expire_on_commit=False) as session:
            return list(worst(session, Filters(), 0, utc_now(), SURVEYED))

    def _note(self, cases: list[CaseRow], found: Mapping[str, int]) -> None:
        with Session(self._engine) as session, session.begin():
            for case in cases:
                if case.id in found:
                    note_at_risk(session, case.id, found[case.id], utc_now())


def note_at_risk(session: Session, case_id: str, at_risk_minor: int, now: datetime) -> None:
    """Weighs a case anew."""
    rank = session.scalar(select(CaseRow.rank).where(CaseRow.id == case_id))
    if rank is None:
        return
    session.execute(
        update(CaseRow)
        .where(CaseRow.id == case_id)
        .values(at_risk_minor=at_risk_minor, weight=weight_of(rank, at_risk_minor), changed_at=now)
    )
