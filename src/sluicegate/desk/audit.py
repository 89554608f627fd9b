"""The desk's audit: a chain of entries, each with the hash of the one before.

An edit, a deletion or a change of order anywhere breaks the chain; entries that are missing at the
end differ from the head, which is kept apart. Whoever can write the database can write a new chain:
against that, note the head elsewhere (`sluicegate desk audit verify` prints it).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from sluicegate.desk.tables import AuditHeadRow, AuditRow
from sluicegate.domain.alert import moment_text

FIRST: Final = "0" * 64
"""What the first entry has in place of the hash of one before."""
HEAD: Final = 1


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did; `person` is "-" where the desk did it by itself."""

    at: datetime
    person: str
    role: str
    action: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """Number and hash of the last entry; 0 where there is none."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the chain is broken, and how."""

    seq: int
    what: str


def hash_of(seq: int, act: Act, previous: str) -> str:
    """SHA-256 over the whole entry and the hash before it."""
    text = json.dumps(
        [seq, moment_text(act.at), act.person, act.role, act.action, act.subject, act.details],
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def append(session: Session, act: Act) -> Head:
    """Adds an entry; the transaction must be the only one that writes (`writing`)."""
    head = session.get_one(AuditHeadRow, HEAD)
    seq, previous = head.seq + 1, head.hash
    digest = hash_of(seq, act, previous)
    session.execute(
        insert(AuditRow).values(
            seq=seq,
            at=act.at,
            person=act.person,
            role=act.role,
            action=act.action,
            subject=act.subject,
            details=dict(act.details),
            previous=previous,
            hash=digest,
        )
    )
    session.execute(
        update(AuditHeadRow).where(AuditHeadRow.id == HEAD).values(seq=seq, hash=digest)
    )
    session.expire(head)
    return Head(seq, digest)


def entries(session: Session, after: int = 0) -> Iterator[AuditRow]:
    """All entries in order of their numbers, some at a time."""
    asked = select(AuditRow).where(AuditRow.seq > after).order_by(AuditRow.seq)
    yield from session.scalars(asked.execution_options(yield_per=1_000))


def head_of(session: Session) -> Head:
    """Where the chain ends, as it was noted."""
    row = session.get_one(AuditHeadRow, HEAD)
    return Head(row.seq, row.hash)


def verify(rows: Iterable[AuditRow], head: Head) -> Fault | None:
    """The first fault of the chain; None if there is none."""
    expected, previous = 1, FIRST
    for row in rows:
        if row.seq != expected:
            return Fault(expected, f"is missing: the next entry is {row.seq}")
        if row.previous != previous:
            return Fault(row.seq, "does not follow the entry before it")
        act = Act(row.at, row.person, row.role, row.action, row.subject, row.details)
        if hash_of(row.seq, act, previous) != row.hash:
            return Fault(row.seq, "is not what was written")
        expected, previous = expected + 1, row.hash
    if (expected - 1, previous) != (head.seq, head.hash):
        return Fault(expected, f"the chain ends here, and {head.seq} entries were written")
    return None


def as_json(row: AuditRow) -> str:
    """An entry as one line of JSON."""
    told = {
        "seq": row.seq,
        "at": moment_text(row.at),
        "person": row.person,
        "role": row.role,
        "action": row.action,
        "subject": row.subject,
        "details": row.details,
        "previous": row.previous,
        "hash": row.hash,
    }
    return json.dumps(told, ensure_ascii=False)
