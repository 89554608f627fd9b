"""The queue: which cases wait, worst first, and who works on which.

Worst is the largest product of score, money still at risk and age. The order changes by the second,
so it is computed when it is asked for, from one index that holds all that it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.orm import Session

from sluicegate.domain.measure import Measure
from sluicegate.domain.money import amount_of_text
from sluicegate.liaison.cases import CaseRow, CaseState, Queue

PAGE_CASES: Final = 50
OPEN: Final = (CaseState.WAITING.value, CaseState.CLAIMED.value)


class Whose(StrEnum):
    """Which cases are shown, by who works on them."""

    ALL = "all"
    WAITING = "waiting"
    MINE = "mine"
    CLAIMED = "claimed"
    LATE = "late"
    """Those whose clock ran out."""


class Outcome(StrEnum):
    """How a case was closed."""

    FALSE_ALARM = "false_alarm"
    KNOWN_CUSTOMER = "known_customer"
    DUPLICATE = "duplicate"
    MEASURES_TAKEN = "measures_taken"
    HANDED_TO_POLICE = "handed_to_police"
    OTHER = "other"


DISMISSALS: Final = (
    *(Outcome.FALSE_ALARM, Outcome.KNOWN_CUSTOMER, Outcome.DUPLICATE),
    *(Outcome.HANDED_TO_POLICE, Outcome.OTHER),
)
"""Reasons that people may give; the rest follow from what was done."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the queue is shown; `least` is an amount in major units as it was typed."""

    whose: Whose = Whose.ALL
    queue: Queue = Queue.REVIEW
    pattern: str = ""
    measure: str = ""
    least: str = ""
    account: str = ""
    page: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filters":
        """The filters in an address; what makes no sense is left out."""
        page = query.get("page", "")
        return cls(
            whose=Whose(query["whose"]) if query.get("whose") in set(Whose) else Whose.ALL,
            queue=Queue(query["queue"]) if query.get("queue") in set(Queue) else Queue.REVIEW,
            pattern=query.get("pattern", "")[:64],
            measure=query["measure"] if query.get("measure") in set(Measure) else "",
            least=query.get("least", "").strip().replace(",", "")[:20],
            account=query.get("account", "").strip()[:34],
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 5 else 0,
        )

    @property
    def least_minor(self) -> int | None:
        """The smallest amount at risk; None where none was given that is one."""
        amount = amount_of_text(self.least)
        return amount if isinstance(amount, int) else None

    def query(self, **changed: object) -> str:
        """The address of these filters, with changes; what is usual is left out."""
        values = {each.name: getattr(self, each.name) for each in fields(self)} | changed
        usual = {each.name: each.default for each in fields(self)}
        return urlencode({name: v for name, v in values.items() if v != usual[name]})


def worst(
    session: Session, filters: Filters, person_id: int, now: datetime, limit: int = PAGE_CASES
) -> Sequence[CaseRow]:
    """One page of the cases, worst first."""
    found = worst_ids(session, filters, person_id, now, limit)
    rows = {row.id: row for row in session.scalars(select(CaseRow).where(CaseRow.id.in_(found)))}
    return [rows[each] for each in found if each in rows]


def worst_ids(
    session: Session, filters: Filters, person_id: int, now: datetime, limit: int = PAGE_CASES
) -> Sequence[str]:
    """Ids of the same, from the index alone."""
    urgency = CaseRow.weight * (int(now.timestamp()) - CaseRow.queued_s + 1)
    asked = (
        _where(select(CaseRow.id), filters, person_id)
        .order_by(urgency.desc(), CaseRow.id)
        .limit(limit)
        .offset(filters.page * limit)
    )
    return list(session.scalars(asked))


def count(session: Session, filters: Filters, person_id: int) -> int:
    """How many cases the filters show."""
    return (
        session.scalar(_where(select(func.count()).select_from(CaseRow), filters, person_id)) or 0
    )


def next_waiting(session: Session, now: datetime) -> CaseRow | None:
    """The worst case that nobody works on."""
    found = worst(session, Filters(whose=Whose.WAITING), 0, now, limit=1)
    return found[0] if found else None


def claim(session: Session, case_id: str, person_id: int, now: datetime) -> bool:
    """Takes a case that nobody works on; False if somebody was faster, or it is closed."""
    return _changed(
        session,
        [CaseRow.id == case_id, CaseRow.state == CaseState.WAITING.value],
        now,
        state=CaseState.CLAIMED.value,
        assignee=person_id,
        claimed_at=now,
        queue=Queue.REVIEW.value,
    )


def unclaim(session: Session, case_id: str, person_id: int, now: datetime) -> bool:
    """Puts one's own case back."""
    mine = [CaseRow.id == case_id, CaseRow.assignee == person_id]
    return _changed(
        session,
        [*mine, CaseRow.state == CaseState.CLAIMED.value],
        now,
        state=CaseState.WAITING.value,
        assignee=None,
        claimed_at=None,
    )


def reassign(session: Session, case_id: str, to_id: int, now: datetime) -> bool:
    """Gives an open case to somebody; the clock of its claim goes on if it was claimed."""
    return _changed(
        session,
        [CaseRow.id == case_id, CaseRow.state.in_(OPEN)],
        now,
        state=CaseState.CLAIMED.value,
        assignee=to_id,
        claimed_at=func.coalesce(CaseRow.claimed_at, now),
        queue=Queue.REVIEW.value,
    )


def close(session: Session, case_id: str, person_id: int, outcome: Outcome, now: datetime) -> bool:
    """Closes an open case that is one's own or nobody's."""
    return _changed(
        session,
        [
            CaseRow.id == case_id,
            CaseRow.state.in_(OPEN),
            or_(CaseRow.assignee.is_(None), CaseRow.assignee == person_id),
        ],
        now,
        state=CaseState.CLOSED.value,
        outcome=outcome.value,
        closed_at=now,
        decided_at=func.coalesce(CaseRow.decided_at, now),
    )


def reopen(session: Session, case_id: str, person_id: int, now: datetime) -> bool:
    """Opens a closed case again, as one's own."""
    return _changed(
        session,
        [CaseRow.id == case_id, CaseRow.state == CaseState.CLOSED.value],
        now,
        state=CaseState.CLAIMED.value,
        assignee=person_id,
        claimed_at=now,
        outcome=None,
        closed_at=None,
        decided_at=None,
    )


def note_decided(session: Session, case_id: str, now: datetime) -> None:
    """Stops the clock of the decision."""
    _changed(
        session,
        [CaseRow.id == case_id],
        now,
        decided_at=func.coalesce(CaseRow.decided_at, now),
    )


def note_change(session: Session, case_id: str, now: datetime) -> None:
    """Lets live pages know of something new."""
    _changed(session, [CaseRow.id == case_id], now)


def _changed(
    session: Session, where: Sequence[ColumnElement[bool]], now: datetime, **values: object
) -> bool:
    done: Any = session.execute(update(CaseRow).where(*where).values(changed_at=now, **values))
    return bool(done.rowcount == 1)


def _where(asked: Select[Any], filters: Filters, person_id: int) -> Select[Any]:
    states = {
        Whose.ALL: OPEN,
        Whose.WAITING: (CaseState.WAITING.value,),
        Whose.MINE: (CaseState.CLAIMED.value,),
        Whose.CLAIMED: (CaseState.CLAIMED.value,),
        Whose.LATE: OPEN,
    }[filters.whose]
    asked = asked.where(CaseRow.queue == filters.queue.value, CaseRow.state.in_(states))
    if filters.whose is Whose.MINE:
        asked = asked.where(CaseRow.assignee == person_id)
    if filters.whose is Whose.LATE:
        asked = asked.where(CaseRow.escalated_at.is_not(None))
    if filters.pattern:
        asked = asked.where(CaseRow.top_pattern == filters.pattern)
    if filters.measure:
        asked = asked.where(CaseRow.measure == filters.measure)
    if filters.least_minor is not None:
        asked = asked.where(CaseRow.at_risk_minor >= filters.least_minor)
    if filters.account:
        asked = asked.where(CaseRow.account.startswith(filters.account, autoescape=True))
    return asked
