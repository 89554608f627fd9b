"""The page of one case, and what is done on it but for measures and lists."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from fastapi import Response
from sqlalchemy.orm import Session, undefer

from sluicegate.desk import casework, queue
from sluicegate.desk.clocks import allowed, clock_of
from sluicegate.desk.pages.forms import FILE_BYTES, Upload
from sluicegate.desk.pages.people import people_with
from sluicegate.desk.pages.queue import clocks_of
from sluicegate.desk.pages.shell import PREFIX, Asked, CasePart, Shell
from sluicegate.desk.pages.words import masked
from sluicegate.desk.queue import DISMISSALS, Outcome
from sluicegate.desk.roles import Right
from sluicegate.desk.tables import AttachmentRow
from sluicegate.liaison.cases import CaseRow, CaseState

NOTE_LENGTH: Final = 4_000
ATTACHMENT_KINDS: Final = ("01", "02", "03", "04", "05")
"""Codes of the police's messages: police id, freeze document, stop-payment application, identity
card, query document."""
_MAGIC: Final = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}
"""Files are told by their first bytes, never by their names."""


def add_cases(shell: Shell) -> None:
    """Adds these pages."""

    def show(asked: Asked, status: int, more: Mapping[str, object]) -> Response:
        return _case(asked, shell.case_parts, status, more)

    shell.show_case = show
    shell.get("/cases/{case_id}", lambda asked: show(asked, 200, {}), Right.SEE_CASES)
    shell.post("/cases/{case_id}/claim", _claim, Right.CLAIM)
    shell.post("/cases/{case_id}/unclaim", _unclaim, Right.CLAIM)
    shell.post("/cases/{case_id}/dismiss", _dismiss, Right.DISMISS)
    shell.post("/cases/{case_id}/reopen", _reopen, Right.CLAIM)
    shell.post("/cases/{case_id}/unmask", _unmask, Right.UNMASK)
    shell.post("/cases/{case_id}/notes", _note, Right.NOTE)
    shell.post("/cases/{case_id}/files", _attach, Right.NOTE)
    shell.get("/cases/{case_id}/files/{file_id}", _file, Right.UNMASK)


def case_of(asked: Asked, session: Session) -> CaseRow:
    """The case of the path."""
    case = session.get(CaseRow, asked.path("case_id"))
    if case is None:
        raise asked.refuse("no_such_case", 404)
    return case


def own_case(asked: Asked, session: Session) -> CaseRow:
    """The case of the path, which must be claimed by who asks: nobody works on another's case."""
    case = case_of(asked, session)
    if case.state != CaseState.CLAIMED or case.assignee != asked.person.id:
        raise asked.refuse("claim_first")
    return case


def back_to_case(asked: Asked, said: str = "") -> Response:
    """The page of the case again."""
    return asked.away(f"{PREFIX}/cases/{asked.path('case_id')}", said)


def upload_of(asked: Asked, name: str) -> Upload | None:
    """A file of the form, with the type that its content shows; None if there is none."""
    upload = asked.form.files.get(name)
    if upload is None:
        return None
    if len(upload.content) > FILE_BYTES:
        raise asked.refuse("file_too_large", 413)
    for magic, media_type in _MAGIC.items():
        if upload.content.startswith(magic):
            return Upload(
                upload.name.rpartition("/")[2][:128] or "file", media_type, upload.content
            )
    raise asked.refuse("file_wrong", 422)


def _case(
    asked: Asked, parts: Sequence[CasePart], status: int, more: Mapping[str, object]
) -> Response:
    with asked.reading() as session:
        file = casework.case_file(session, asked.path("case_id"))
        if file is None:
            raise asked.refuse("no_such_case", 404)
        shown = {"typed": {}, "error": "", **_shown(asked, session, file, parts), **more}
        return asked.show("case.html", status, shown=shown)


def _shown(
    asked: Asked, session: Session, file: casework.CaseFile, parts: Sequence[CasePart]
) -> dict[str, object]:
    case, person = file.case, asked.person
    unmasked = asked.sees_numbers(session, case.id)
    clock = clock_of(case, asked.desk.settings.desk)
    more: dict[str, object] = {}
    for each in parts:
        more |= each(asked, session, case)
    return more | {
        "file": file,
        "case": case,
        "clocks": clocks_of(asked, [case]),
        "clock": clock,
        "allowed": allowed(clock.level, asked.desk.settings.desk) if clock else None,
        "unmasked": unmasked,
        "masked": asked.shown_account(sees_numbers=unmasked),
        "is_mine": case.state == CaseState.CLAIMED and case.assignee == person.id,
        "officers": people_with(session, Right.CLAIM),
        "dismissals": DISMISSALS,
        "attachment_kinds": ATTACHMENT_KINDS,
    }


def _claim(asked: Asked) -> Response:
    """Takes the case; if somebody was faster, says who."""
    with asked.writing() as write:
        case = case_of(asked, write.session)
        is_taken = queue.claim(write.session, case.id, asked.person.id, asked.now)
        if is_taken:
            write.note("claimed", case.id)
        is_mine = is_taken or case.assignee == asked.person.id
    return back_to_case(asked, "" if is_mine else "claimed_by_other")


def _unclaim(asked: Asked) -> Response:
    with asked.writing() as write:
        case = own_case(asked, write.session)
        queue.unclaim(write.session, case.id, asked.person.id, asked.now)
        write.note("unclaimed", case.id)
    return asked.away(PREFIX)


def _dismiss(asked: Asked) -> Response:
    reason, note = asked.form["outcome"], asked.form["note"][:NOTE_LENGTH]
    if reason not in DISMISSALS:
        raise asked.refuse("bulk_incomplete", 422)
    with asked.writing() as write:
        case = case_of(asked, write.session)
        if not queue.close(write.session, case.id, asked.person.id, Outcome(reason), asked.now):
            raise asked.refuse("claimed_by_other")
        write.note("dismissed", case.id, outcome=reason, note=note)
    return asked.away(PREFIX, "dismissed")


def _reopen(asked: Asked) -> Response:
    with asked.writing() as write:
        case = case_of(asked, write.session)
        if queue.reopen(write.session, case.id, asked.person.id, asked.now):
            write.note("reopened", case.id)
    return back_to_case(asked)


def _unmask(asked: Asked) -> Response:
    assert asked.visit is not None  # noqa: S101 - the shell saw to it
    with asked.writing() as write:
        case = case_of(asked, write.session)
        casework.unmask(write.session, asked.visit.id, case.id, asked.now)
        write.note("unmasked", case.id, account=masked(case.account))
    return back_to_case(asked)


def _note(asked: Asked) -> Response:
    text = asked.form["text"][:NOTE_LENGTH]
    if not text:
        raise asked.refuse("note_empty", 422)
    with asked.writing() as write:
        case = case_of(asked, write.session)
        casework.add_note(write.session, case.id, asked.person.id, text, asked.now)
        queue.note_change(write.session, case.id, asked.now)
        write.note("noted", case.id)
    return back_to_case(asked)


def _attach(asked: Asked) -> Response:
    upload, kind = upload_of(asked, "file"), asked.form["kind"]
    if upload is None or kind not in ATTACHMENT_KINDS:
        raise asked.refuse("file_missing", 422)
    with asked.writing() as write:
        case = case_of(asked, write.session)
        row = casework.add_attachment(
            write.session, case.id, asked.person.id, kind,
            upload.name, upload.media_type, upload.content, asked.now,
        )  # fmt: skip
        queue.note_change(write.session, case.id, asked.now)
        write.note("attached", case.id, name=row.name, kind=kind, sha256=row.sha256)
    return back_to_case(asked)


def _file(asked: Asked) -> Response:
    """A file, which may show names: opening it is logged."""
    number = asked.path("file_id")
    with asked.writing() as write:
        case = case_of(asked, write.session)
        row = write.session.get(
            AttachmentRow,
            int(number) if number.isdigit() else 0,
            options=[undefer(AttachmentRow.content)],
        )
        if row is None or row.case_id != case.id:
            raise asked.refuse("no_such_thing", 404)
        write.note("file-opened", case.id, name=row.name, sha256=row.sha256)
    told = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(row.name)}"}
    return Response(row.content, media_type=row.media_type, headers=told)
