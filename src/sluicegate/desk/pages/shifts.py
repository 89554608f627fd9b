"""The wall-board of the shift, and the shift's handover."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from fastapi import Response
from sqlalchemy.orm import Session

from sluicegate.desk import handover, measures, queue
from sluicegate.desk.figures import percentile, report
from sluicegate.desk.handover import digest_of, due_first, open_items
from sluicegate.desk.pages.queue import clocks_of, names_of
from sluicegate.desk.pages.shell import PREFIX, Asked, Shell
from sluicegate.desk.people import signs
from sluicegate.desk.queue import Filters, Whose
from sluicegate.desk.roles import Right
from sluicegate.desk.shifts import Shift, shift_of
from sluicegate.desk.tables import HandoverRow, PersonRow

REFRESH_SECONDS: Final = 15
WALL_CASES: Final = 12
NOTE_LENGTH: Final = 4_000


def add_shifts(shell: Shell) -> None:
    """Adds these pages."""
    shell.get("/wall", _wall, Right.SEE_WALL)
    shell.get("/handover", lambda asked: _handovers(asked, 200, ""), Right.SEE_CASES)
    shell.post("/handover", _give, Right.HAND_OVER)
    shell.get("/handover/{handover_id}", lambda asked: _handover(asked, 200, ""), Right.SEE_CASES)
    shell.post("/handover/{handover_id}/take", _take, Right.HAND_OVER)


def _shift(asked: Asked) -> Shift:
    return shift_of(asked.now, asked.desk.settings.desk.shift_hours, asked.desk.zone)


def _wall(asked: Asked) -> Response:
    """Renews itself, with a header: neither a script nor a hand is needed."""
    shift = _shift(asked)
    with asked.reading() as session:
        cases = due_first(session, asked.desk.settings.desk, WALL_CASES)
        answer = asked.show(
            "wall.html",
            shift=shift,
            counts={
                each.value: queue.count(session, Filters(whose=each), 0)
                for each in (Whose.WAITING, Whose.CLAIMED, Whose.LATE)
            },
            news=measures.news(session, asked.now),
            figures=report(session, [shift]).total,
            p50=lambda lengths: percentile(lengths, 0.5),
            cases=cases,
            clocks=clocks_of(asked, cases),
            names=names_of(session, [case.assignee for case in cases]),
        )
    answer.headers["Refresh"] = str(REFRESH_SECONDS)
    return answer


def _handovers(asked: Asked, status: int, error: str) -> Response:
    """What is open now, to be handed over; and what was."""
    with asked.reading() as session:
        content = open_items(session, asked.desk.settings.desk, asked.now)
        rows = handover.handovers(session)
        return asked.show(
            "handover.html",
            status,
            shift=_shift(asked),
            rows=rows,
            typed=asked.form.fields,
            error=error,
            shown=_items(session, content, rows),
        )


def _items(
    session: Session, content: Mapping[str, Any], rows: Sequence[HandoverRow]
) -> dict[str, object]:
    people = [each["assignee"] for each in content["cases"]]
    people += [number for row in rows for number in (row.given_by, row.taken_by)]
    return {
        "content": content,
        "names": names_of(session, people),
        "left": lambda seconds: ("-" if seconds < 0 else "") + _length(abs(seconds)),
    }


def _length(seconds: int) -> str:
    return str(timedelta(seconds=seconds))


def _give(asked: Asked) -> Response:
    note = asked.form["note"][:NOTE_LENGTH]
    with asked.writing() as write:
        row = None
        person = write.session.get_one(PersonRow, asked.person.id)
        if signs(write.session, person, asked.form["password"], asked.door):
            content = open_items(write.session, asked.desk.settings.desk, asked.now)
            row = handover.give(
                write.session, content, note, _shift(asked).begins_at, person.id, asked.now
            )
            write.note("handover-given", row.id, sha256=row.sha256)
        else:
            write.note("signature-refused", person.name)
    if row is None:
        return _handovers(asked, 422, "signature_wrong")
    return asked.away(f"{PREFIX}/handover/{row.id}", "handover_given")


def _of(asked: Asked, session: Session) -> HandoverRow:
    row = session.get(HandoverRow, asked.path("handover_id"))
    if row is None:
        raise asked.refuse("no_such_thing", 404)
    return row


def _handover(asked: Asked, status: int, error: str) -> Response:
    with asked.reading() as session:
        row = _of(asked, session)
        return asked.show(
            "handover_one.html",
            status,
            row=row,
            is_whole=digest_of(row.content, row.note) == row.sha256,
            error=error,
            shown=_items(session, row.content, [row]),
        )


def _take(asked: Asked) -> Response:
    with asked.writing() as write:
        row = _of(asked, write.session)
        person = write.session.get_one(PersonRow, asked.person.id)
        if row.given_by == person.id:
            raise asked.refuse("handover_own")
        if row.taken_by is not None:
            raise asked.refuse("handover_taken_already")
        is_signed = signs(write.session, person, asked.form["password"], asked.door)
        if is_signed:
            moved = handover.take(write.session, row, person.id, asked.now) or []
            write.note("handover-taken", row.id, sha256=row.sha256, cases=len(moved))
            for each in moved:
                write.note("reassigned", each, to=person.name, handover=row.id)
        else:
            write.note("signature-refused", person.name)
    if not is_signed:
        return _handover(asked, 422, "signature_wrong")
    return asked.away(f"{PREFIX}/handover/{row.id}", "handover_taken")
