"""The pages of lists: which accounts are judged otherwise, and why."""

from datetime import datetime, timedelta
from typing import Final

from fastapi import Response
from sqlalchemy.orm import Session

from sluicegate.desk import listings
from sluicegate.desk.listings import ListState
from sluicegate.desk.pages.cases import case_of
from sluicegate.desk.pages.queue import names_of
from sluicegate.desk.pages.shell import PREFIX, Asked, Shell
from sluicegate.desk.pages.words import masked
from sluicegate.desk.queue import note_change
from sluicegate.desk.roles import Right
from sluicegate.desk.tables import ListingRow, PersonRow
from sluicegate.domain import law
from sluicegate.domain.directive import MOST_PATTERNS, DirectiveKind
from sluicegate.liaison.cases import CaseRow

MOST_DAYS: Final = 3_650
"""Five years and more: who sold accounts is punished for five."""


def add_lists(shell: Shell) -> None:
    """Adds these pages."""
    shell.case_parts.append(_choices)
    shell.get("/lists", _lists, Right.SEE_CASES)
    shell.post("/lists", _add, Right.LIST)
    shell.post("/cases/{case_id}/lists", _add_from_case, Right.LIST)
    shell.post("/lists/{listing_id}/decide", _decide, Right.APPROVE)
    shell.post("/lists/{listing_id}/end", _end, Right.LIST)


def _lists(asked: Asked) -> Response:
    with asked.reading() as session:
        waiting = listings.listed(session, [ListState.PROPOSED])
        rows = listings.listed(session, [ListState.IN_FORCE, ListState.ENDED, ListState.REJECTED])
        people = [row.proposed_by for row in (*waiting, *rows)]
        return asked.show(
            "lists.html",
            waiting=waiting,
            rows=rows,
            names=names_of(session, people),
            may_decide=lambda row: law.may_decide(row.proposed_by, asked.person.id),
            shown=_choices(asked),
        )


def _choices(asked: Asked, *_: Session | CaseRow) -> dict[str, object]:
    """What the form offers."""
    return {
        "list_kinds": list(DirectiveKind),
        "list_patterns": sorted(asked.desk.patterns, key=asked.titled),
    }


def _add(asked: Asked) -> Response:
    _put(asked, asked.form["account"], None)
    return asked.away(f"{PREFIX}/lists", "listed")


def _add_from_case(asked: Asked) -> Response:
    with asked.reading() as session:
        case = case_of(asked, session)
    _put(asked, case.account, case.id)
    return asked.away(f"{PREFIX}/cases/{case.id}", "listed")


def _put(asked: Asked, account: str, case_id: str | None) -> None:
    kind = asked.form["kind"]
    patterns = [each for each in asked.form.lists.get("pattern", ()) if each in asked.desk.patterns]
    if kind not in set(DirectiveKind) or len(patterns) > MOST_PATTERNS:
        raise asked.refuse("list_incomplete", 422)
    is_white = kind == DirectiveKind.WHITELISTED
    row = ListingRow(
        id=listings.new_id(),
        account=account[:64],
        case_id=case_id,
        kind=kind,
        counterparty=(asked.form["counterparty"] or None) if is_white else None,
        patterns=patterns if is_white else [],
        reason=asked.form["reason"][:200],
        expires_at=_expires(asked),
        state=ListState.PROPOSED.value,
        proposed_by=asked.person.id,
        proposed_at=asked.now,
    )
    with asked.writing() as write:
        refused = listings.propose(write.session, row, asked.person.name, asked.now)
        if refused is not None:
            raise asked.refuse("list_incomplete", 422)
        if case_id is not None:
            note_change(write.session, case_id, asked.now)
        waits = row.state == ListState.PROPOSED
        action = "list-proposed" if waits else "listed"
        write.note(action, case_id or row.id, id=row.id, kind=kind, account=masked(account),
                   note=row.reason)  # fmt: skip
    asked.desk.wake()


def _expires(asked: Asked) -> datetime | None:
    days = asked.form["days"]
    if not days:
        return None
    if not days.isascii() or not days.isdigit() or not 0 < int(days) <= MOST_DAYS:
        raise asked.refuse("list_incomplete", 422)
    return asked.now + timedelta(days=int(days))


def _of(asked: Asked, session: Session) -> ListingRow:
    row = session.get(ListingRow, asked.path("listing_id"))
    if row is None:
        raise asked.refuse("no_such_thing", 404)
    return row


def _decide(asked: Asked) -> Response:
    with asked.writing() as write:
        row = _of(asked, write.session)
        if row.state != ListState.PROPOSED:
            raise asked.refuse("measure_decided")
        if not law.may_decide(row.proposed_by, asked.person.id):
            raise asked.refuse("measure_own", 403)
        if asked.form["decision"] == "approve":
            person = write.session.get_one(PersonRow, asked.person.id)
            listings.approve(write.session, row, person, asked.now)
        else:
            listings.reject(row, asked.person.id, asked.now)
        action = "listed" if row.state == ListState.IN_FORCE else "list-rejected"
        write.note(action, row.case_id or row.id, id=row.id, kind=row.kind,
                   account=masked(row.account))  # fmt: skip
    asked.desk.wake()
    return asked.away(f"{PREFIX}/lists", "changed")


def _end(asked: Asked) -> Response:
    with asked.writing() as write:
        row = _of(asked, write.session)
        if listings.end(write.session, row, asked.person.name, asked.now):
            write.note("list-ended", row.case_id or row.id, id=row.id, kind=row.kind,
                       account=masked(row.account))  # fmt: skip
    asked.desk.wake()
    return asked.away(f"{PREFIX}/lists", "changed")
