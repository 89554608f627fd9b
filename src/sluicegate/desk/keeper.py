"""What the desk does by itself: measures expire, clocks run out, supervisors are told."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Engine, case, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sluicegate.desk import audit, measures
from sluicegate.desk.clocks import Level, allowed
from sluicegate.desk.measures import DESK_ITSELF
from sluicegate.liaison.cases import CaseRow, CaseState, Queue
from sluicegate.liaison.database import reason_of
from sluicegate.liaison.schema import writing
from sluicegate.operations.background import Background
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import DeskSettings, Settings

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
COUNT_SECONDS: Final = 5.0
MOST_ESCALATED: Final = 500
"""At once: after a night without a desk there are more, and they follow."""

Condition = ColumnElement[bool]


def keep(engine: Engine, settings: Settings, now: datetime) -> bool:
    """Does all that is due; whether anything was ordered. Looks before it takes its turn."""
    rules, currency = settings.desk, settings.contract.base_currency
    before = timedelta(minutes=rules.warn_minutes)
    with Session(engine) as session:
        is_due = measures.is_any_due(session, before, now)
        late = _late(session, rules, now)
    if not is_due and not late:
        return False
    with writing(engine) as session:
        ended = measures.expire(session, currency, now)
        for row in ended:
            _note(session, "expired", row.case_id, now, measure=row.measure, id=row.id)
        for row in measures.warn(session, before, now):
            _note(session, "expiry-warned", row.case_id, now, measure=row.measure, id=row.id)
        for case_id in _late(session, rules, now):
            session.execute(
                update(CaseRow)
                .where(CaseRow.id == case_id)
                .values(escalated_at=now, changed_at=now)
            )
            _note(session, "escalated", case_id, now)
    return bool(ended)


def clocks(session: Session, rules: DeskSettings, now: datetime) -> dict[tuple[Level, str], int]:
    """How many cases for review have a clock that is `running` or `out`, by level."""
    found = {}
    for level, (runs, is_out) in _clocks(rules, now).items():
        counted = func.count(), func.coalesce(func.sum(case((is_out, 1), else_=0)), 0)
        asked = select(*counted).where(CaseRow.queue == Queue.REVIEW.value, runs)
        running, out = session.execute(asked).one()
        found[level, "running"], found[level, "out"] = running - out, out
    return found


def _late(session: Session, rules: DeskSettings, now: datetime) -> list[str]:
    """Cases for review whose clock has run out and that no supervisor was told of."""
    late = or_(*(runs & is_out for runs, is_out in _clocks(rules, now).values()))
    asked = (
        select(CaseRow.id)
        .where(CaseRow.queue == Queue.REVIEW.value, CaseRow.escalated_at.is_(None))
        .where(late)
        .limit(MOST_ESCALATED)
    )
    return list(session.scalars(asked))


def _clocks(rules: DeskSettings, now: datetime) -> dict[Level, tuple[Condition, Condition]]:
    """Of which cases a clock runs, and of which of them it has run out."""
    waiting = CaseRow.state == CaseState.WAITING.value
    claimed = (CaseRow.state == CaseState.CLAIMED.value) & CaseRow.decided_at.is_(None)
    unclaimed_since = int((now - allowed(Level.CLAIM, rules)).timestamp())
    return {
        Level.CLAIM: (waiting, CaseRow.queued_s <= unclaimed_since),
        Level.DECIDE: (claimed, CaseRow.claimed_at <= now - allowed(Level.DECIDE, rules)),
    }


def _note(session: Session, action: str, case_id: str, now: datetime, **details: object) -> None:
    audit.append(session, audit.Act(now, DESK_ITSELF, DESK_ITSELF, action, case_id, details))


class Keeper(Background):
    """Looks every second, from a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        metrics: Metrics,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        super().__init__("keeper")
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._wake = wake
        self._readiness = metrics.readiness
        self._failed = metrics.counter("sluicegate_desk_failures_total")
        self._clocks = {
            (level, state): metrics.gauge("sluicegate_desk_clocks", level=level.value, state=state)
            for level in (Level.CLAIM, Level.DECIDE)
            for state in ("running", "out")
        }
        self._counted_at = -COUNT_SECONDS

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                if keep(self._engine, self._settings, self._clock()):
                    self._wake()
                self._count_clocks()
                self._readiness.report()
            except SQLAlchemyError as error:
                self._failed.inc()
                self._readiness.report("the database does not answer")
                log.warning("the database does not answer: %s", reason_of(error))

    def _count_clocks(self) -> None:
        if time.monotonic() - self._counted_at < COUNT_SECONDS:
            return
        self._counted_at = time.monotonic()
        with Session(self._engine) as session:
            for key, cases in clocks(session, self._settings.desk, self._clock()).items():
                self._clocks[key].set(cases)
