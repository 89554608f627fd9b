"""Lists at the desk: an account is involved, punished, watched or whitelisted: a directive.

A whitelist needs two people, for what it hides; the others take effect at once.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk import outbox
from sluicegate.desk.tables import ListingRow, PersonRow
from sluicegate.domain import law
from sluicegate.domain.directive import Action, Directive, DirectiveKind, parse_directive
from sluicegate.domain.fields import Rules, time_text
from sluicegate.domain.refusal import Refused


class ListState(StrEnum):
    """Where a directive stands."""

    PROPOSED = "proposed"
    REJECTED = "rejected"
    IN_FORCE = "in_force"
    ENDED = "ended"


def directive_of(row: ListingRow, by: str, at: datetime) -> Directive | Refused:
    """The directive that a row is, as the contract reads it."""
    fields: dict[str, object] = {
        "id": row.id,
        "account": row.account,
        "kind": row.kind,
        "action": Action.ADD.value,
        "issued_at": time_text(_ms(at)),
        "expires_at": time_text(_ms(row.expires_at)) if row.expires_at else None,
        "counterparty": row.counterparty,
        "patterns": row.patterns or None,
        "reason": row.reason,
        "issued_by": by,
    }
    return parse_directive(json.dumps(fields).encode(), 0, Rules())


def propose(session: Session, row: ListingRow, by: str, now: datetime) -> Refused | None:
    """Puts an account on a list, or asks to; why not, if the contract refuses it."""
    directive = directive_of(row, by, now)
    if isinstance(directive, Refused):
        return directive
    session.add(row)
    session.flush()
    if row.kind != DirectiveKind.WHITELISTED:
        _send(session, row, directive, row.proposed_by, now)
    return None


def approve(session: Session, row: ListingRow, person: PersonRow, now: datetime) -> bool:
    """The second person says yes."""
    if row.state != ListState.PROPOSED or not law.may_decide(row.proposed_by, person.id):
        return False
    directive = directive_of(row, person.name, now)
    if isinstance(directive, Refused):
        return False
    _send(session, row, directive, person.id, now)
    return True


def reject(row: ListingRow, person_id: int, now: datetime) -> bool:
    """The second person says no."""
    if row.state != ListState.PROPOSED or not law.may_decide(row.proposed_by, person_id):
        return False
    row.state, row.decided_by, row.decided_at = ListState.REJECTED.value, person_id, now
    return True


def end(session: Session, row: ListingRow, by: str, now: datetime) -> bool:
    """Takes an account off a list."""
    if row.state != ListState.IN_FORCE:
        return False
    directive = directive_of(row, by, now)
    if isinstance(directive, Refused):
        return False
    row.state, row.ended_at = ListState.ENDED.value, now
    ended = directive.model_copy(update={"action": Action.END})
    _put(session, f"{row.id}-end", ended, now)
    return True


def listed(session: Session, states: Sequence[ListState], limit: int = 200) -> list[ListingRow]:
    """Directives in these states, the newest first."""
    asked = select(ListingRow).where(ListingRow.state.in_([each.value for each in states]))
    return list(session.scalars(asked.order_by(ListingRow.proposed_at.desc()).limit(limit)))


def new_id() -> str:
    """Id of a directive of the desk."""
    return f"desk-{uuid.uuid4().hex}"


def _send(
    session: Session, row: ListingRow, directive: Directive, person_id: int, now: datetime
) -> None:
    row.state, row.decided_by, row.decided_at = ListState.IN_FORCE.value, person_id, now
    _put(session, row.id, directive, now)


def _put(session: Session, id_: str, directive: Directive, now: datetime) -> None:
    text = directive.wire().decode()
    outbox.put(session, id_, outbox.DIRECTIVES, directive.account, text, now)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
