"""The pages of measures: asked for on a case, decided by a second person, watched together."""

import re
from datetime import datetime
from typing import Final

from fastapi import Response
from sqlalchemy.orm import Session

from sluicegate.desk import casework, measures
from sluicegate.desk.clocks import Level, allowed
from sluicegate.desk.pages.cases import back_to_case, own_case, upload_of
from sluicegate.desk.pages.queue import names_of
from sluicegate.desk.pages.shell import PREFIX, Asked, Shell, Writing
from sluicegate.desk.queue import Outcome, close
from sluicegate.desk.roles import Right
from sluicegate.desk.tables import MeasureRow
from sluicegate.domain import law
from sluicegate.domain.law import Act, Basis, Breach, Document, Ground, Proposal
from sluicegate.domain.measure import Measure
from sluicegate.domain.money import amount_of_text
from sluicegate.liaison.cases import CaseRow

REASON_LENGTH: Final = 500
GIVEN: Final = tuple(each for each in Ground if each is not Ground.EXPIRED)
"""Grounds that a person may give for a release."""
_WHOLE: Final = re.compile(r"[0-9]{1,6}")


def add_measures(shell: Shell) -> None:
    """Adds these pages."""
    shell.case_parts.append(_shown)
    shell.get("/measures", _measures, Right.SEE_CASES)
    shell.post("/cases/{case_id}/measures", lambda asked: _propose(asked, shell), Right.PROPOSE)
    shell.post("/cases/{case_id}/finish", _finish, Right.PROPOSE)
    shell.post("/measures/{measure_id}/decide", _decide, Right.APPROVE)


def _measures(asked: Asked) -> Response:
    with asked.reading() as session:
        lists = {
            "waiting": measures.waiting(session),
            "expiring": measures.expiring(session),
            "unanswered": measures.unanswered(session),
        }
        people = [row.proposed_by for rows in lists.values() for row in rows]
        stop = allowed(Level.STOP, asked.desk.settings.desk)
        return asked.show(
            "measures.html",
            shown=lists,
            names=names_of(session, people),
            stop_allowed=stop,
            may_decide_on=lambda proposed_by, decided_by: law.may_decide(
                proposed_by or 0, decided_by
            ),
        )


class _Wrong(Exception):  # noqa: N818 - an answer, not a programming error
    """Something in the form is not as it must be; `message` is a key of the catalogue."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _propose(asked: Asked, shell: Shell) -> Response:
    """Asks for a measure; what is wrong is said on the page, and nothing typed is lost."""
    try:
        return _proposed(asked)
    except _Wrong as wrong:
        more = {"typed": asked.form.fields, "error": wrong.message}
        return shell.show_case(asked, 422, more)


def _proposed(asked: Asked) -> Response:
    upload = upload_of(asked, "document_file")
    with asked.writing() as write:
        case = own_case(asked, write.session)
        proposal = _proposal(asked, has_file=upload is not None)
        attachment_id = None
        if upload is not None:
            attachment_id = casework.add_attachment(
                write.session, case.id, asked.person.id,
                (proposal.document or Document.POLICE_ID).value,
                upload.name, upload.media_type, upload.content, asked.now,
            ).id  # fmt: skip
        wanted = measures.Asked(proposal, attachment_id, _called_at(asked))
        done = measures.propose(
            write.session, case, wanted, asked.person.id, _currency(asked), asked.now
        )
        if not isinstance(done, MeasureRow):
            raise _Wrong(f"breach_{done[0].value}")
        _note(write, "measure-proposed", done)
        if done.state == measures.State.ORDERED:
            _note(write, "measure-decided", done)
        state = done.state
    asked.desk.wake()
    is_ordered = state == measures.State.ORDERED
    return back_to_case(asked, "measure_ordered" if is_ordered else "measure_waits")


def _decide(asked: Asked) -> Response:
    with asked.writing() as write:
        row = write.session.get(MeasureRow, asked.path("measure_id"))
        if row is None:
            raise asked.refuse("no_such_thing", 404)
        if row.state != measures.State.PROPOSED:
            raise asked.refuse("measure_decided")
        if not law.may_decide(row.proposed_by or 0, asked.person.id):
            raise asked.refuse("measure_own", 403)
        if asked.form["decision"] == "approve":
            found = measures.approve(
                write.session, row, asked.person.id, _currency(asked), asked.now
            )
            if found is not None:
                raise _refused(asked, found)
            _note(write, "measure-decided", row)
        elif asked.form["decision"] == "reject":
            measures.reject(write.session, row, asked.person.id, asked.now)
            note = asked.form["note"][:REASON_LENGTH]
            write.note("measure-rejected", row.case_id, measure=row.measure, id=row.id, note=note)
        else:
            raise asked.refuse("no_such_thing", 422)
        case_id, approved = row.case_id, row.state == measures.State.ORDERED
    asked.desk.wake()
    said = "measure_ordered" if approved else "measure_rejected"
    back = asked.form["back"]
    return asked.away(f"{PREFIX}/measures" if back == "measures" else
                      f"{PREFIX}/cases/{case_id}", said)  # fmt: skip


def _finish(asked: Asked) -> Response:
    """Closes a case on which measures were taken."""
    with asked.writing() as write:
        case = own_case(asked, write.session)
        if case.decided_at is None:
            raise asked.refuse("finish_undecided")
        close(write.session, case.id, asked.person.id, Outcome.MEASURES_TAKEN, asked.now)
        write.note("finished", case.id, outcome=Outcome.MEASURES_TAKEN.value)
    return asked.away(PREFIX, "finished")


def _shown(asked: Asked, session: Session, case: CaseRow) -> dict[str, object]:
    """What the form of measures on a case needs."""
    held = measures.held_of(session, case.account)
    return {
        "choices": [each for each in Measure if each is not Measure.NONE],
        "bases": list(Basis),
        "grounds": GIVEN,
        "documents": list(Document),
        "in_force": {each.id for each in held if each.is_in_force},
        "needs_two": law.needs_two,
        "Measure": Measure,
        "may_decide": lambda row: law.may_decide(row.proposed_by or 0, asked.person.id),
        "stops": sum(each.stops for each in held if each.measure is Measure.STOP_PAYMENT),
        "most_stops": law.MOST_STOPS,
    }


def _proposal(asked: Asked, *, has_file: bool) -> Proposal:
    form = asked.form
    act = Act(form["act"]) if form["act"] in set(Act) else Act.IMPOSE
    hours = form["hours"]
    amount = amount_of_text(form["amount"].replace(",", "")) if form["amount"] else None
    if form["measure"] not in set(Measure) or form["basis"] not in set(Basis):
        raise _Wrong("measure_incomplete")
    if hours and not _WHOLE.fullmatch(hours):
        raise _Wrong("hours_wrong")
    if amount is not None and not isinstance(amount, int):
        raise _Wrong("amount_wrong")
    return Proposal(
        act=act,
        measure=Measure(form["measure"]),
        basis=Basis(form["basis"]),
        reason=form["reason"][:REASON_LENGTH],
        hours=int(hours) if hours else None,
        amount_minor=amount,
        whole_because=form["whole_because"][:REASON_LENGTH],
        document=Document(form["document"]) if form["document"] in set(Document) else None,
        document_number=form["document_number"][:64],
        has_file=has_file,
        of_id=form["of_id"] or None,
        ground=Ground(form["ground"]) if form["ground"] in set(GIVEN) else None,
    )


def _called_at(asked: Asked) -> datetime | None:
    """When the police called, as typed in the desk's time zone."""
    text = asked.form["called_at"]
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _Wrong("time_wrong") from None
    moment = moment.replace(tzinfo=asked.desk.zone) if moment.tzinfo is None else moment
    if moment > asked.now:
        raise _Wrong("time_wrong")
    return moment


def _refused(asked: Asked, found: list[Breach]) -> Exception:
    return asked.refuse(f"breach_{found[0].value}" if found else "measure_decided", 422)


def _currency(asked: Asked) -> str:
    return asked.desk.settings.contract.base_currency


def _note(write: Writing, action: str, row: MeasureRow) -> None:
    write.note(
        action,
        row.case_id,
        id=row.id,
        act=row.action,
        measure=row.measure,
        amount_minor=row.amount_minor,
        hours=row.hours,
        basis=row.basis,
        code=row.police_code,
        document=row.document_number,
        note=row.reason,
    )
