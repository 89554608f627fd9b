"""Lock-out: how often a password may be tried, for one person, from one address.

Five failures from one address lock that address alone: nobody can lock a colleague out from
elsewhere. A hundred failures in an hour, from wherever, leave only the addresses from which that
person signed in of late (ASVS 4.0.3, 2.2.1).
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from sluicegate.desk.tables import AttemptRow

MOST_FROM_AN_ADDRESS: Final = 5
LOCKED_FOR: Final = timedelta(minutes=15)
"""Failures count for so long."""
MOST_OF_A_PERSON: Final = 100
AN_HOUR: Final = timedelta(hours=1)
KNOWN_FOR: Final = timedelta(days=30)
"""So long an address counts as the person's own."""


def is_locked(session: Session, person_id: int, address: str, now: datetime) -> bool:
    """Whether a password is not even looked at now."""
    here = AttemptRow.address == address
    if _failures(session, person_id, now - LOCKED_FOR, here) >= MOST_FROM_AN_ADDRESS:
        return True
    if _failures(session, person_id, now - AN_HOUR) < MOST_OF_A_PERSON:
        return False
    known = select(AttemptRow.id).where(
        AttemptRow.person_id == person_id,
        AttemptRow.is_good,
        here,
        AttemptRow.at > now - KNOWN_FOR,
    )
    return session.scalar(known.limit(1)) is None


def note_failure(session: Session, person_id: int, address: str, now: datetime) -> None:
    """Counts a failure; those that do not count any more are forgotten."""
    _forget(session, person_id, ~AttemptRow.is_good & (AttemptRow.at < now - AN_HOUR))
    session.add(AttemptRow(person_id=person_id, address=address, at=now, is_good=False))


def note_success(session: Session, person_id: int, address: str, now: datetime) -> None:
    """Notes the address as the person's own; its failures are forgotten."""
    _forget(session, person_id, AttemptRow.address == address)
    _forget(session, person_id, AttemptRow.at < now - KNOWN_FOR)
    session.add(AttemptRow(person_id=person_id, address=address, at=now, is_good=True))


def lift_locks(session: Session, person_id: int) -> None:
    """Forgets all failures of a person."""
    _forget(session, person_id, ~AttemptRow.is_good)


def locked_addresses(session: Session, person_id: int, now: datetime) -> list[str]:
    """From where a person may not try now."""
    tried = select(AttemptRow.address).where(AttemptRow.person_id == person_id).distinct()
    return [each for each in session.scalars(tried) if is_locked(session, person_id, each, now)]


def _failures(
    session: Session, person_id: int, since: datetime, *where: ColumnElement[bool]
) -> int:
    asked = select(func.count(AttemptRow.id)).where(
        AttemptRow.person_id == person_id, ~AttemptRow.is_good, AttemptRow.at > since, *where
    )
    return session.scalar(asked) or 0


def _forget(session: Session, person_id: int, which: ColumnElement[bool]) -> None:
    session.execute(delete(AttemptRow).where(AttemptRow.person_id == person_id, which))
