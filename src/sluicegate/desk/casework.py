"""What is known of one case: its alerts, what was done, who wrote what."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.tables import (
    AttachmentRow,
    AuditRow,
    ListingRow,
    MeasureRow,
    NoteRow,
    PersonRow,
    UnmaskingRow,
)
from sluicegate.liaison.cases import CaseAlertRow, CaseRow
from sluicegate.liaison.database import AlertRow

MOST_ALERTS = 200
MOST_EARLIER = 20
UNMASKED_FOR = timedelta(minutes=30)


@dataclass(frozen=True)
class Event:
    """Something on the timeline; `text` is a key of the catalogue, `details` go with it."""

    at: datetime
    kind: str
    text: str
    who: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReasonSeen:
    """A pattern of a case: its strongest sentence, how often it fired, with the facts behind it."""

    pattern: str
    strength: float
    zh: str
    en: str
    times: int


@dataclass(frozen=True)
class CaseFile:
    """All that is known of a case."""

    case: CaseRow
    alerts: Sequence[AlertRow]
    """The newest first."""
    reasons: Sequence[ReasonSeen]
    """The strongest first."""
    measures: Sequence[MeasureRow]
    notes: Sequence[NoteRow]
    attachments: Sequence[AttachmentRow]
    listings: Sequence[ListingRow]
    earlier: Sequence[CaseRow]
    """Other cases of the account, the newest first."""
    timeline: Sequence[Event]
    """The newest first."""
    names: Mapping[int, str]


def case_file(session: Session, case_id: str) -> CaseFile | None:
    """All that is known of a case; None if there is none of this id."""
    case = session.get(CaseRow, case_id)
    if case is None:
        return None
    alerts = list(
        session.scalars(
            select(AlertRow)
            .join(CaseAlertRow, CaseAlertRow.alert_id == AlertRow.id)
            .where(CaseAlertRow.case_id == case_id)
            .order_by(AlertRow.occurred_at.desc(), AlertRow.id)
            .limit(MOST_ALERTS)
        )
    )
    people = list(session.scalars(select(PersonRow)))
    names = {row.id: row.full_name for row in people}
    measures = _of_account(session, MeasureRow, case.account, MeasureRow.proposed_at)
    notes = _of_case(session, NoteRow, case_id)
    attachments = _of_case(session, AttachmentRow, case_id)
    earlier = session.scalars(
        select(CaseRow)
        .where(CaseRow.account == case.account, CaseRow.id != case_id)
        .order_by(CaseRow.last_at.desc())
        .limit(MOST_EARLIER)
    )
    return CaseFile(
        case=case,
        alerts=alerts,
        reasons=reasons_of(alerts),
        measures=measures,
        notes=notes,
        attachments=attachments,
        listings=_of_account(session, ListingRow, case.account, ListingRow.proposed_at),
        earlier=list(earlier),
        timeline=_timeline(session, case, alerts, notes, people),
        names=names,
    )


def reasons_of(alerts: Sequence[AlertRow]) -> list[ReasonSeen]:
    """Each pattern once, in the words of its strongest alert."""
    seen: dict[str, ReasonSeen] = {}
    for alert in alerts:
        for each in alert.reasons:
            name, before = each["pattern"], seen.get(each["pattern"])
            times = before.times + 1 if before else 1
            if before is None or each["strength"] > before.strength:
                seen[name] = ReasonSeen(name, each["strength"], each["zh"], each["en"], times)
            else:
                seen[name] = ReasonSeen(name, before.strength, before.zh, before.en, times)
    return sorted(seen.values(), key=lambda each: (-each.strength, each.pattern))


def add_note(session: Session, case_id: str, person_id: int, text: str, now: datetime) -> None:
    """Writes on a case."""
    session.add(NoteRow(case_id=case_id, person_id=person_id, at=now, text=text))


def add_attachment(  # noqa: PLR0917 - a file's facts
    session: Session,
    case_id: str,
    person_id: int,
    kind: str,
    name: str,
    media_type: str,
    content: bytes,
    now: datetime,
) -> AttachmentRow:
    """Puts a file on a case."""
    row = AttachmentRow(
        case_id=case_id,
        person_id=person_id,
        at=now,
        kind=kind,
        name=name[:128],
        media_type=media_type[:64],
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        content=content,
    )
    session.add(row)
    session.flush()
    return row


def is_unmasked(session: Session, session_id: str, case_id: str, now: datetime) -> bool:
    """Whether somebody asked, in this session and not long ago, to see the numbers of a case."""
    row = session.get(UnmaskingRow, (session_id, case_id))
    return row is not None and now - row.at < UNMASKED_FOR


def unmask(session: Session, session_id: str, case_id: str, now: datetime) -> None:
    """Lets a session see the numbers of a case for a while."""
    session.merge(UnmaskingRow(session_id=session_id, case_id=case_id, at=now))


def _of_case(session: Session, table: Any, case_id: str) -> list[Any]:  # noqa: ANN401 - of three tables
    return list(session.scalars(select(table).where(table.case_id == case_id).order_by(table.id)))


def _of_account(session: Session, table: Any, account: str, by: Any) -> list[Any]:  # noqa: ANN401 - of two tables
    asked = select(table).where(table.account == account).order_by(by.desc(), table.id)
    return list(session.scalars(asked))


def _timeline(
    session: Session,
    case: CaseRow,
    alerts: Sequence[AlertRow],
    notes: Sequence[NoteRow],
    people: Sequence[PersonRow],
) -> list[Event]:
    names = {row.id: row.full_name for row in people}
    events = [
        Event(
            alert.detected_at,
            "alert",
            f"event_alert_{alert.side}",
            details={"alert": alert},
        )
        for alert in alerts
    ]
    events += [
        Event(each.at, "note", "event_note", names.get(each.person_id, ""), {"text": each.text})
        for each in notes
    ]
    by_name = {row.name: row.full_name for row in people}
    acts = session.scalars(
        select(AuditRow).where(AuditRow.subject == case.id).order_by(AuditRow.seq)
    )
    events += [
        Event(
            act.at,
            "act",
            f"act_{act.action.replace('-', '_')}",
            by_name.get(act.person, act.person),
            act.details,
        )
        for act in acts
        if act.action != "noted"
    ]
    return sorted(events, key=lambda each: each.at, reverse=True)
