"""Who is signed in: random cookies, known to the database only by their hash."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from sluicegate.desk.people import Person, person_of
from sluicegate.desk.tables import PersonRow, SessionRow, UnmaskingRow

IDLE: Final = timedelta(minutes=30)
"""After so long without a request one signs in again."""
SHIFT: Final = timedelta(hours=12)
"""After so long one signs in again in any case."""
NOTE_EVERY: Final = timedelta(minutes=1)
"""So often at most it is noted that a session is used."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A session with its person."""

    id: str
    person: Person
    csrf: str
    seen_at: datetime


def begin_session(session: Session, person: Person, now: datetime) -> str:
    """A new cookie; sessions that are over are forgotten."""
    session.execute(
        delete(SessionRow).where(
            (SessionRow.began_at < now - SHIFT) | (SessionRow.seen_at < now - IDLE)
        )
    )
    session.execute(delete(UnmaskingRow).where(UnmaskingRow.at < now - SHIFT))
    cookie = secrets.token_urlsafe(32)
    session.add(
        SessionRow(
            id=_id(cookie),
            person_id=person.id,
            csrf=secrets.token_urlsafe(24),
            began_at=now,
            seen_at=now,
        )
    )
    return cookie


def visit_of(session: Session, cookie: str, now: datetime) -> Visit | None:
    """Who shows the cookie; None if nobody, or not any more."""
    found = session.execute(
        select(SessionRow, PersonRow)
        .join(PersonRow, PersonRow.id == SessionRow.person_id)
        .where(SessionRow.id == _id(cookie))
    ).one_or_none()
    if found is None:
        return None
    row, person = found
    is_over = now - row.seen_at > IDLE or now - row.began_at > SHIFT
    if is_over or person.disabled_at is not None:
        return None
    return Visit(row.id, person_of(person), row.csrf, row.seen_at)


def note_use(session: Session, visit: Visit, now: datetime) -> None:
    """Notes that a session is in use."""
    session.execute(update(SessionRow).where(SessionRow.id == visit.id).values(seen_at=now))


def end_session(session: Session, session_id: str) -> None:
    """Signs out."""
    session.execute(delete(UnmaskingRow).where(UnmaskingRow.session_id == session_id))
    session.execute(delete(SessionRow).where(SessionRow.id == session_id))


def _id(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
