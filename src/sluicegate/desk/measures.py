"""Measures in the database: asked for, decided, answered, expired. What may be is `domain/law.py`.

Each change belongs to a transaction of `writing`, so that what the law counts stays true.
"""

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sluicegate.desk import outbox
from sluicegate.desk.queue import note_change, note_decided
from sluicegate.desk.tables import MeasureRow, PersonRow
from sluicegate.domain import law
from sluicegate.domain.decision import Answer, DecidedMeasure, MeasureAnswer
from sluicegate.domain.law import Act, Basis, Document, Ground, Held, Proposal
from sluicegate.domain.measure import Measure
from sluicegate.liaison.cases import CaseRow


class State(StrEnum):
    """Where a measure stands."""

    PROPOSED = "proposed"
    """Waits for a second person."""
    REJECTED = "rejected"
    ORDERED = "ordered"
    """Decided; core banking has not answered yet."""
    IN_FORCE = "in_force"
    DONE = "done"
    """Of a release or an extension: core banking did it."""
    FAILED = "failed"
    ENDED = "ended"
    """Released, or expired."""


HOLDING: Final = (State.ORDERED.value, State.IN_FORCE.value)
VOID: Final = (State.REJECTED.value, State.FAILED.value)
"""What never took effect."""
A_DAY: Final = timedelta(days=1)
PATIENCE: Final = timedelta(minutes=1)
"""So long core banking may take before it is said that it has not answered."""
DESK_ITSELF: Final = "-"


@dataclass(frozen=True, slots=True)
class Asked:
    """A proposal with what belongs to it and not to the law."""

    proposal: Proposal
    attachment_id: int | None = None
    called_at: datetime | None = None


def held_of(session: Session, account: str, but: str = "") -> list[Held]:
    """The measures of an account as the law sees them; `but` is left out as if it were not there.

    One that is being released is not in force any more for what is asked next.
    """
    asked = select(MeasureRow).where(MeasureRow.account == account, MeasureRow.id != but)
    alive = [row for row in session.scalars(asked) if row.state not in VOID]
    extended = Counter(row.of_id for row in alive if row.action == Act.EXTEND)
    releasing = {row.of_id for row in alive if row.action == Act.RELEASE}
    return [
        Held(
            id=row.id,
            measure=Measure(row.measure),
            is_in_force=row.state in HOLDING and row.id not in releasing,
            is_proposed=row.state == State.PROPOSED,
            expires_at=row.expires_at,
            stops=1 + extended[row.id],
        )
        for row in alive
        if row.action == Act.IMPOSE
    ]


def propose(  # noqa: PLR0917 - who asks for what
    session: Session, case: CaseRow, asked: Asked, person_id: int, currency: str, now: datetime
) -> MeasureRow | list[law.Breach]:
    """Asks for a measure; a light one is decided at once. Or: what the law has against it."""
    proposal, held = asked.proposal, held_of(session, case.account)
    found = law.breaches(proposal, held)
    if found:
        return found
    row = MeasureRow(
        id=uuid.uuid4().hex,
        case_id=case.id,
        account=case.account,
        action=proposal.act.value,
        measure=proposal.measure.value,
        of_id=proposal.of_id,
        amount_minor=proposal.amount_minor,
        basis=proposal.basis.value,
        ground=proposal.ground.value if proposal.ground else None,
        whole_because=proposal.whole_because,
        reason=proposal.reason,
        document_kind=proposal.document.value if proposal.document else None,
        document_number=proposal.document_number or None,
        attachment_id=asked.attachment_id,
        police_code=law.police_code(proposal.measure, proposal.act, proposal.basis),
        hours=proposal.hours,
        state=State.PROPOSED.value,
        proposed_by=person_id,
        proposed_at=now,
        called_at=asked.called_at,
    )
    session.add(row)
    session.flush()
    if not law.needs_two(proposal.measure):
        _order(session, row, None, currency, now)
    note_change(session, case.id, now)
    return row


def approve(
    session: Session, row: MeasureRow, person_id: int, currency: str, now: datetime
) -> list[law.Breach] | None:
    """The second person says yes; None if that stands, else what has come between."""
    if row.state != State.PROPOSED or not law.may_decide(row.proposed_by or 0, person_id):
        return []
    found = law.breaches(proposal_of(row), held_of(session, row.account, but=row.id))
    if found:
        return found
    _order(session, row, person_id, currency, now)
    note_change(session, row.case_id, now)
    return None


def reject(session: Session, row: MeasureRow, person_id: int, now: datetime) -> bool:
    """The second person says no."""
    if row.state != State.PROPOSED or not law.may_decide(row.proposed_by or 0, person_id):
        return False
    row.state, row.decided_by, row.decided_at = State.REJECTED.value, person_id, now
    note_change(session, row.case_id, now)
    return True


def order_of(session: Session, answer: MeasureAnswer) -> MeasureRow | None:
    """The order that an answer is about; None if there is no such order."""
    row = session.get(MeasureRow, answer.id)
    return row if row is not None and row.decided_at is not None else None


def take_answer(session: Session, row: MeasureRow, answer: MeasureAnswer, now: datetime) -> bool:
    """Notes what core banking did; False for a repeat, which changes nothing."""
    if row.answer is not None:
        return False
    is_done = answer.answer is Answer.DONE
    row.answer, row.answered_at = answer.answer.value, answer.answered_at
    usual = law.reply_code(row.police_code) if row.police_code else None
    row.answer_detail, row.answer_code = answer.detail, answer.code or usual
    row.held_minor = answer.held_minor
    before = session.get(MeasureRow, row.of_id) if row.of_id else None
    if row.action == Act.IMPOSE:
        if row.state == State.ORDERED:
            row.state = State.IN_FORCE.value if is_done else State.FAILED.value
    else:
        row.state = State.DONE.value if is_done else State.FAILED.value
        if before is not None:
            _change(before, row, is_done=is_done)
    note_change(session, row.case_id, now)
    return True


def expire(session: Session, currency: str, now: datetime) -> list[MeasureRow]:
    """Ends what has run out, and orders its release: core banking is told at any rate."""
    due = session.scalars(
        select(MeasureRow).where(
            MeasureRow.state.in_(HOLDING),
            MeasureRow.action == Act.IMPOSE.value,
            MeasureRow.expires_at <= now,
        )
    )
    ended = []
    for row in due:
        row.state, row.ended_at = State.ENDED.value, now
        release = MeasureRow(
            id=hashlib.blake2b(f"{row.id} expires".encode(), digest_size=16).hexdigest(),
            case_id=row.case_id,
            account=row.account,
            action=Act.RELEASE.value,
            measure=row.measure,
            of_id=row.id,
            basis=row.basis,
            ground=Ground.EXPIRED.value,
            whole_because="",
            reason="到期自动解除 · released as it ran out",
            police_code=law.police_code(Measure(row.measure), Act.RELEASE, Basis(row.basis)),
            state=State.PROPOSED.value,
            proposed_by=None,
            proposed_at=now,
        )
        session.add(release)
        session.flush()
        _order(session, release, None, currency, now)
        note_change(session, row.case_id, now)
        ended.append(row)
    return ended


def warn(session: Session, before: timedelta, now: datetime) -> list[MeasureRow]:
    """Marks what is about to expire, once."""
    soon = list(
        session.scalars(
            select(MeasureRow).where(
                MeasureRow.state.in_(HOLDING),
                MeasureRow.action == Act.IMPOSE.value,
                MeasureRow.expires_at <= now + before,
                MeasureRow.warned_at.is_(None),
            )
        )
    )
    for row in soon:
        row.warned_at = now
        note_change(session, row.case_id, now)
    return soon


def is_any_due(session: Session, before: timedelta, now: datetime) -> bool:
    """Whether anything has run out, or is to be warned of."""
    soon = (MeasureRow.expires_at <= now + before) & MeasureRow.warned_at.is_(None)
    asked = (
        select(MeasureRow.id)
        .where(MeasureRow.state.in_(HOLDING), MeasureRow.action == Act.IMPOSE.value)
        .where(soon | (MeasureRow.expires_at <= now))
    )
    return session.scalar(asked.limit(1)) is not None


def news(session: Session, now: datetime) -> dict[str, int]:
    """How many measures wait, are about to expire, failed of late or are not answered."""
    state = MeasureRow.state
    which = {
        "waiting": state == State.PROPOSED.value,
        "expiring": state.in_(HOLDING) & MeasureRow.warned_at.is_not(None),
        "failed": ((state == State.FAILED.value) & (MeasureRow.answered_at > now - A_DAY))
        | ((state == State.ORDERED.value) & (MeasureRow.decided_at < now - PATIENCE)),
    }
    return {
        name: session.scalar(select(func.count()).select_from(MeasureRow).where(where)) or 0
        for name, where in which.items()
    }


def waiting(session: Session) -> Sequence[MeasureRow]:
    """What waits for a second person, the oldest first."""
    asked = select(MeasureRow).where(MeasureRow.state == State.PROPOSED.value)
    return list(session.scalars(asked.order_by(MeasureRow.proposed_at)))


def expiring(session: Session) -> Sequence[MeasureRow]:
    """What was warned of and still holds, the nearest first."""
    asked = select(MeasureRow).where(
        MeasureRow.state.in_(HOLDING), MeasureRow.warned_at.is_not(None)
    )
    return list(session.scalars(asked.order_by(MeasureRow.expires_at)))


def unanswered(session: Session, limit: int = 100) -> Sequence[MeasureRow]:
    """Orders that core banking has not answered, or could not carry out, the newest first."""
    asked = select(MeasureRow).where(
        MeasureRow.state.in_((State.ORDERED.value, State.FAILED.value))
    )
    return list(session.scalars(asked.order_by(MeasureRow.decided_at.desc()).limit(limit)))


def proposal_of(row: MeasureRow) -> Proposal:
    """A row as the law sees it."""
    return Proposal(
        act=Act(row.action),
        measure=Measure(row.measure),
        basis=Basis(row.basis),
        reason=row.reason,
        hours=row.hours,
        amount_minor=row.amount_minor,
        whole_because=row.whole_because,
        document=Document(row.document_kind) if row.document_kind else None,
        document_number=row.document_number or "",
        has_file=row.attachment_id is not None,
        of_id=row.of_id,
        ground=Ground(row.ground) if row.ground else None,
    )


def _order(
    session: Session, row: MeasureRow, person_id: int | None, currency: str, now: datetime
) -> None:
    """Decides: the order and its message are one transaction."""
    held = held_of(session, row.account, but=row.id)
    row.state = State.ORDERED.value
    row.decided_by = person_id if person_id is not None else row.proposed_by
    row.decided_at = row.begins_at = now
    row.expires_at = law.ends_at(proposal_of(row), held, now)
    if row.action == Act.EXTEND and row.of_id is not None:
        session.get_one(MeasureRow, row.of_id).expires_at = row.expires_at
    names = {each.id: each.name for each in session.scalars(select(PersonRow))}
    message = DecidedMeasure(
        id=row.id,
        account=row.account,
        act=Act(row.action),
        measure=Measure(row.measure),
        of_id=row.of_id,
        amount_minor=row.amount_minor,
        currency=currency,
        basis=Basis(row.basis),
        ground=Ground(row.ground) if row.ground else None,
        police_code=row.police_code,
        document_kind=Document(row.document_kind) if row.document_kind else None,
        document_number=row.document_number,
        reason=row.reason,
        case_id=row.case_id,
        proposed_by=names.get(row.proposed_by or 0, DESK_ITSELF),
        approved_by=names.get(person_id) if person_id is not None else None,
        decided_at=now,
        expires_at=row.expires_at,
    )
    outbox.put(session, row.id, outbox.MEASURES, row.account, message.model_dump_json(), now)
    if row.action == Act.IMPOSE:
        note_decided(session, row.case_id, now)


def _change(before: MeasureRow, row: MeasureRow, *, is_done: bool) -> None:
    """What an answered release or extension does to the measure that it is about."""
    if row.action == Act.RELEASE and is_done and before.ended_at is None:
        before.state, before.ended_at = State.ENDED.value, row.answered_at
    if row.action == Act.EXTEND and not is_done and before.expires_at == row.expires_at:
        hours = timedelta(hours=row.hours or 0)
        before.expires_at = before.expires_at - hours if before.expires_at else None
