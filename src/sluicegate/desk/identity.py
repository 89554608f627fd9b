"""Identity queries of the police (警银 7x24): who holds an account, which accounts a holder has.

Answered from what the bank tells of its accounts on the topic `accounts`; there is no name in it,
and the holder's id is the bank's hash. What was answered is kept with the query: the receipt says
for ever what was said.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sluicegate.desk.tables import HolderRow, IdentityQueryRow
from sluicegate.domain.alert import moment_text
from sluicegate.domain.law import Document

AN_HOUR: Final = timedelta(hours=1)
MOST_ACCOUNTS: Final = 500
"""Of one holder, told in one answer."""


class QueryKind(StrEnum):
    """What is asked."""

    HOLDER = "holder"
    """Who holds this account."""
    ACCOUNTS = "accounts"
    """Which accounts the holder of this account has."""
    ACCOUNTS_OF = "accounts_of"
    """Which accounts the holder with this id has."""


CODES: Final = {QueryKind.HOLDER: "0303", QueryKind.ACCOUNTS: "0309", QueryKind.ACCOUNTS_OF: "0309"}
"""Message codes of the police."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and on what paper."""

    kind: QueryKind
    subject: str
    case_number: str
    document: Document
    document_number: str
    file_name: str
    file_type: str
    file: bytes


def asked_lately(session: Session, person_id: int, now: datetime) -> int:
    """How many queries somebody made in the last hour."""
    made = (IdentityQueryRow.person_id == person_id) & (IdentityQueryRow.at > now - AN_HOUR)
    return session.scalar(select(func.count()).select_from(IdentityQueryRow).where(made)) or 0


def answer(session: Session, query: Query, person_id: int, now: datetime) -> IdentityQueryRow:
    """Answers a query, and keeps it with its answer."""
    row = IdentityQueryRow(
        id=uuid.uuid4().hex,
        person_id=person_id,
        at=now,
        kind=query.kind.value,
        subject=query.subject,
        case_number=query.case_number,
        document_kind=query.document.value,
        document_number=query.document_number,
        file_name=query.file_name,
        file_type=query.file_type,
        file_sha256=hashlib.sha256(query.file).hexdigest(),
        file_content=query.file,
        answer=[_told(each) for each in _found(session, query)],
    )
    session.add(row)
    session.flush()
    return row


def _found(session: Session, query: Query) -> list[HolderRow]:
    if query.kind is QueryKind.ACCOUNTS_OF:
        return _accounts_of(session, query.subject)
    row = session.get(HolderRow, query.subject)
    if row is None:
        return []
    if query.kind is QueryKind.HOLDER or row.holder_id is None:
        return [row]
    return _accounts_of(session, row.holder_id)


def _accounts_of(session: Session, holder_id: str) -> list[HolderRow]:
    asked = select(HolderRow).where(HolderRow.holder_id == holder_id).order_by(HolderRow.account)
    return list(session.scalars(asked.limit(MOST_ACCOUNTS)))


def _told(row: HolderRow) -> dict[str, Any]:
    expires = row.documents_expire_on
    return {
        "account": row.account,
        "holder_id": row.holder_id,
        "holder_kind": row.holder_kind,
        "birth_year": row.birth_year,
        "opened_at": moment_text(row.opened_at) if row.opened_at else None,
        "branch": row.branch,
        "region": row.region,
        "documents_expire_on": expires.isoformat() if expires else None,
        "enterprise_status": row.enterprise_status,
    }
