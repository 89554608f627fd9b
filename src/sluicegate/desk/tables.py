"""The desk's tables beside those of the consumer: people, sessions, audit, work, measures.

Each has its Alembic migration in liaison/migrations; a test holds the two together.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from sluicegate.liaison.database import Base, UtcTime


class PersonRow(Base):
    """Somebody who may sign in; the password is known here only as an Argon2id hash."""

    __tablename__ = "desk_people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    """By which one signs in."""
    full_name: Mapped[str] = mapped_column(String(128))
    role: Mapped[str] = mapped_column(String(32))
    password_hash: Mapped[str] = mapped_column(String(255))
    is_password_temporary: Mapped[bool]
    totp_secret: Mapped[str | None] = mapped_column(String(255))
    """As `sealing.py` keeps it."""
    totp_step: Mapped[int] = mapped_column(BigInteger)
    """The last step of 30 s whose code was used: no code works twice."""
    oidc_subject: Mapped[str | None] = mapped_column(String(64))
    """Of the provider's person who signed in first under this name: SHA-256 of issuer and `sub`."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcTime)


class AttemptRow(Base):
    """A password that was tried: what lock-out counts."""

    __tablename__ = "desk_attempts"
    __table_args__ = (Index("desk_attempts_by_person", "person_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("desk_people.id"))
    address: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcTime)
    is_good: Mapped[bool]


class SessionRow(Base):
    """A browser that is signed in; its cookie is known here only as a SHA-256."""

    __tablename__ = "desk_sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("desk_people.id"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    began_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)


class UnmaskingRow(Base):
    """A session that sees the full numbers of a case, because somebody asked for them."""

    __tablename__ = "desk_unmaskings"

    session_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    case_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)


class AuditRow(Base):
    """What somebody did. Rows are only ever added, each with the hash of the one before."""

    __tablename__ = "desk_audit"

    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcTime)
    person: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(32))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(64), index=True)
    """Id of a case, or name of what it was done to."""
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Base):
    """Where the chain ends, so that entries missing at the end are noticed."""

    __tablename__ = "desk_audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    seq: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))


class NoteRow(Base):
    """What somebody wrote on a case."""

    __tablename__ = "desk_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("desk_people.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    text: Mapped[str] = mapped_column(Text)


class AttachmentRow(Base):
    """A file on a case: a document of the police, a photograph."""

    __tablename__ = "desk_attachments"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("desk_people.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    kind: Mapped[str] = mapped_column(String(2))
    """Attachment code of the police's messages: 01 to 05."""
    name: Mapped[str] = mapped_column(String(128))
    media_type: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)


class MeasureRow(Base):
    """A measure: asked for, approved or rejected, sent, acknowledged, ended."""

    __tablename__ = "desk_measures"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id"), index=True)
    account: Mapped[str] = mapped_column(String(34), index=True)
    action: Mapped[str] = mapped_column(String(16))
    measure: Mapped[str] = mapped_column(String(32))
    of_id: Mapped[str | None] = mapped_column(String(32), index=True)
    """Of a release or an extension: the measure that it changes."""
    amount_minor: Mapped[int | None] = mapped_column(BigInteger)
    """Of an amount freeze; None: the whole account."""
    basis: Mapped[str] = mapped_column(String(16))
    ground: Mapped[str | None] = mapped_column(String(16))
    whole_because: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    document_kind: Mapped[str | None] = mapped_column(String(2))
    document_number: Mapped[str | None] = mapped_column(String(64))
    attachment_id: Mapped[int | None] = mapped_column(ForeignKey("desk_attachments.id"))
    police_code: Mapped[str | None] = mapped_column(String(4))
    hours: Mapped[int | None]
    """How long it is to last; None: until it is released."""
    state: Mapped[str] = mapped_column(String(16), index=True)
    proposed_by: Mapped[int | None] = mapped_column(ForeignKey("desk_people.id"))
    """None: the desk itself, as when a measure expires."""
    proposed_at: Mapped[datetime] = mapped_column(UtcTime)
    called_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the police called, where they did."""
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("desk_people.id"))
    decided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    begins_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    warned_at: Mapped[datetime | None] = mapped_column(UtcTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcTime)
    answer: Mapped[str | None] = mapped_column(String(16))
    answer_detail: Mapped[str | None] = mapped_column(Text)
    answer_code: Mapped[str | None] = mapped_column(String(4))
    held_minor: Mapped[int | None] = mapped_column(BigInteger)
    """What core banking says that it holds."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)

    __table_args__ = (Index("desk_measures_by_expiry", "state", "expires_at"),)


class ListingRow(Base):
    """An account put on a list, or asked to be: a directive."""

    __tablename__ = "desk_listings"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(34), index=True)
    case_id: Mapped[str | None] = mapped_column(ForeignKey("cases.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    counterparty: Mapped[str | None] = mapped_column(String(34))
    patterns: Mapped[list[str]] = mapped_column(JSON)
    reason: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    state: Mapped[str] = mapped_column(String(16), index=True)
    proposed_by: Mapped[int] = mapped_column(ForeignKey("desk_people.id"))
    proposed_at: Mapped[datetime] = mapped_column(UtcTime)
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("desk_people.id"))
    decided_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)


class OutgoingRow(Base):
    """The outbox: a message written with what it tells, and when Kafka took it."""

    __tablename__ = "desk_outbox"

    seq: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    topic: Mapped[str] = mapped_column(String(16))
    """`measures` or `directives`, without the installation's prefix."""
    account: Mapped[str] = mapped_column(String(34))
    value: Mapped[str] = mapped_column(Text)
    written_at: Mapped[datetime] = mapped_column(UtcTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)


class ViewRow(Base):
    """Filters of the queue that somebody saved under a name."""

    __tablename__ = "desk_views"
    __table_args__ = (UniqueConstraint("person_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("desk_people.id"))
    name: Mapped[str] = mapped_column(String(64))
    query: Mapped[str] = mapped_column(String(512))


class HolderRow(Base):
    """What the bank tells last of an account's holder: what identity queries are answered from."""

    __tablename__ = "desk_holders"

    account: Mapped[str] = mapped_column(String(34), primary_key=True)
    holder_id: Mapped[str | None] = mapped_column(String(64), index=True)
    """As the bank tells it: a hash."""
    holder_kind: Mapped[str | None] = mapped_column(String(16))
    birth_year: Mapped[int | None]
    opened_at: Mapped[datetime | None] = mapped_column(UtcTime)
    branch: Mapped[str | None] = mapped_column(String(64))
    region: Mapped[str | None] = mapped_column(String(64))
    documents_expire_on: Mapped[date | None]
    enterprise_status: Mapped[str | None] = mapped_column(String(16))


class IdentityQueryRow(Base):
    """What the police asked about a holder, on what paper, and what was answered."""

    __tablename__ = "desk_identity_queries"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("desk_people.id"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(64))
    """The account or the holder's id that was asked about."""
    case_number: Mapped[str] = mapped_column(String(64))
    document_kind: Mapped[str] = mapped_column(String(2))
    document_number: Mapped[str] = mapped_column(String(64))
    file_name: Mapped[str] = mapped_column(String(128))
    file_type: Mapped[str] = mapped_column(String(64))
    file_sha256: Mapped[str] = mapped_column(String(64))
    file_content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    answer: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """One entry an account; empty: nothing is known."""

    __table_args__ = (Index("desk_identity_queries_by_person", "person_id", "at"),)


class HandoverRow(Base):
    """A shift handed over: what was open, written down, signed by who goes and by who comes."""

    __tablename__ = "desk_handovers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    shift_began_at: Mapped[datetime] = mapped_column(UtcTime)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Open cases and measures with their clocks, as they stood."""
    note: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    """Of content and note: what both signed."""
    given_by: Mapped[int] = mapped_column(ForeignKey("desk_people.id"))
    given_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    taken_by: Mapped[int | None] = mapped_column(ForeignKey("desk_people.id"))
    taken_at: Mapped[datetime | None] = mapped_column(UtcTime)
