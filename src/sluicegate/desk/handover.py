"""The shift: what is open now, and handing it over, signed by who goes and by who comes."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk import measures, queue
from sluicegate.desk.clocks import clock_of
from sluicegate.desk.queue import Filters, Whose
from sluicegate.desk.tables import HandoverRow, MeasureRow, NoteRow
from sluicegate.domain.alert import moment_text
from sluicegate.liaison.cases import CaseRow, CaseState, Queue
from sluicegate.settings import DeskSettings

MOST_CASES: Final = 200
MOST_MEASURES: Final = 200


def due_first(session: Session, rules: DeskSettings, limit: int) -> list[CaseRow]:
    """The cases for review whose clocks run out first, or ran out longest ago."""
    here = CaseRow.queue == Queue.REVIEW.value
    waiting = select(CaseRow).where(here, CaseRow.state == CaseState.WAITING.value)
    claimed = select(CaseRow).where(
        here, CaseRow.state == CaseState.CLAIMED.value, CaseRow.decided_at.is_(None)
    )
    found = [
        *session.scalars(waiting.order_by(CaseRow.queued_s).limit(limit)),
        *session.scalars(claimed.order_by(CaseRow.claimed_at).limit(limit)),
    ]
    due = [(clock.due_at, case) for case in found if (clock := clock_of(case, rules))]
    return [case for _, case in sorted(due, key=lambda each: each[0])[:limit]]


def open_items(session: Session, rules: DeskSettings, now: datetime) -> dict[str, Any]:
    """What is being worked on, what waits, and which measures want somebody: as it stands now."""
    claimed = session.scalars(
        select(CaseRow)
        .where(CaseRow.state == CaseState.CLAIMED.value)
        .order_by(CaseRow.claimed_at)
        .limit(MOST_CASES)
    )
    wanted = (measures.waiting(session), measures.expiring(session), measures.unanswered(session))
    by_id = {row.id: row for rows in wanted for row in rows}
    return {
        "waiting": queue.count(session, Filters(whose=Whose.WAITING), 0),
        "late": queue.count(session, Filters(whose=Whose.LATE), 0),
        "cases": [_case(session, case, rules, now) for case in claimed],
        "measures": [_measure(row) for row in list(by_id.values())[:MOST_MEASURES]],
    }


def give(  # noqa: PLR0917 - who signs what
    session: Session, content: dict[str, Any], note: str, began_at: datetime, by: int, now: datetime
) -> HandoverRow:  # fmt: skip
    """Hands over what is open, signed by who goes."""
    row = HandoverRow(
        id=uuid.uuid4().hex,
        shift_began_at=began_at,
        content=content,
        note=note,
        sha256=digest_of(content, note),
        given_by=by,
        given_at=now,
    )
    session.add(row)
    session.flush()
    return row


def take(session: Session, row: HandoverRow, person_id: int, now: datetime) -> list[str] | None:
    """Takes over, signed by who comes: ids of cases that go along; None: not this one, or taken.

    A case goes along if who went still works on it.
    """
    if row.taken_by is not None or row.given_by == person_id:
        return None
    row.taken_by, row.taken_at = person_id, now
    still = select(CaseRow.id).where(
        CaseRow.id.in_([each["id"] for each in row.content["cases"]]),
        CaseRow.assignee == row.given_by,
        CaseRow.state == CaseState.CLAIMED.value,
    )
    ids = list(session.scalars(still.order_by(CaseRow.claimed_at)))
    return [each for each in ids if queue.reassign(session, each, person_id, now)]


def handovers(session: Session, limit: int = 50) -> Sequence[HandoverRow]:
    """The latest, the newest first."""
    asked = select(HandoverRow).order_by(HandoverRow.given_at.desc(), HandoverRow.id)
    return list(session.scalars(asked.limit(limit)))


def digest_of(content: dict[str, Any], note: str) -> str:
    """SHA-256 of what is signed; it stands in the audit with both signatures."""
    text = json.dumps([content, note], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _case(session: Session, case: CaseRow, rules: DeskSettings, now: datetime) -> dict[str, Any]:
    clock = clock_of(case, rules)
    note = session.scalar(
        select(NoteRow.text).where(NoteRow.case_id == case.id).order_by(NoteRow.id.desc()).limit(1)
    )
    return {
        "id": case.id,
        "account": case.account,
        "assignee": case.assignee,
        "at_risk_minor": case.at_risk_minor,
        "level": clock.level.value if clock else None,
        "left_seconds": int(clock.left(now).total_seconds()) if clock else None,
        "note": note or "",
    }


def _measure(row: MeasureRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "case_id": row.case_id,
        "account": row.account,
        "measure": row.measure,
        "act": row.action,
        "state": row.state,
        "expires_at": moment_text(row.expires_at) if row.expires_at else None,
    }
