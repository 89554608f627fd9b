"""The pages of identity queries: asked by the police, answered at once, with a receipt to print."""

from typing import Final

from fastapi import Response
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from sluicegate.desk import identity
from sluicegate.desk.identity import CODES, Query, QueryKind
from sluicegate.desk.pages.cases import upload_of
from sluicegate.desk.pages.queue import names_of
from sluicegate.desk.pages.shell import PREFIX, Asked, Shell
from sluicegate.desk.pages.words import masked
from sluicegate.desk.roles import Right
from sluicegate.desk.tables import IdentityQueryRow
from sluicegate.domain.law import Document, reply_code

MOST_SHOWN: Final = 100
DOCUMENTS: Final = (Document.QUERY, Document.POLICE_ID)


def add_identity(shell: Shell) -> None:
    """Adds these pages."""
    shell.get("/identity", lambda asked: _queries(asked, 200, ""), Right.SEE_QUERIES)
    shell.post("/identity", _ask, Right.QUERY_IDENTITY)
    shell.get("/identity/{query_id}", _receipt, Right.SEE_QUERIES)
    shell.get("/identity/{query_id}/file", _file, Right.SEE_QUERIES)


def _queries(asked: Asked, status: int, error: str) -> Response:
    """The form, and the latest queries: one's own, or all for who only reads them."""
    may_ask = asked.person.may(Right.QUERY_IDENTITY)
    wanted = select(IdentityQueryRow).order_by(IdentityQueryRow.at.desc()).limit(MOST_SHOWN)
    if may_ask:
        wanted = wanted.where(IdentityQueryRow.person_id == asked.person.id)
    with asked.reading() as session:
        rows = list(session.scalars(wanted))
        return asked.show(
            "identity.html",
            status,
            rows=rows,
            names=names_of(session, [row.person_id for row in rows]),
            kinds=list(QueryKind),
            codes={kind.value: code for kind, code in CODES.items()},
            documents=DOCUMENTS,
            left=_left(asked, session) if may_ask else 0,
            typed=asked.form.fields,
            error=error,
            is_own=lambda row: row.person_id == asked.person.id,
        )


def _left(asked: Asked, session: Session) -> int:
    made = identity.asked_lately(session, asked.person.id, asked.now)
    return asked.desk.settings.desk.identity_queries_an_hour - made


def _ask(asked: Asked) -> Response:
    query = _query(asked)
    if query is None:
        return _queries(asked, 422, "identity_incomplete")
    with asked.writing() as write:
        details = {"kind": query.kind.value, "about": masked(query.subject),
                   "case_number": query.case_number, "document": query.document_number}  # fmt: skip
        row = None
        if _left(asked, write.session) > 0:
            row = identity.answer(write.session, query, asked.person.id, asked.now)
            write.note("identity-asked", row.id, **details, accounts=len(row.answer))
        else:
            write.note("identity-refused", asked.person.name, **details)
    if row is None:
        return _queries(asked, 429, "identity_too_many")
    return asked.away(f"{PREFIX}/identity/{row.id}")


def _query(asked: Asked) -> Query | None:
    """What the form asks; None where something is missing."""
    form, upload = asked.form, upload_of(asked, "document_file")
    subject, case_number = form["subject"], form["case_number"]
    number = form["document_number"]
    is_known = form["kind"] in set(QueryKind) and form["document"] in DOCUMENTS
    is_short = all(0 < len(each) <= 64 for each in (subject, case_number, number))
    if upload is None or not is_known or not is_short:
        return None
    return Query(
        kind=QueryKind(form["kind"]),
        subject=subject,
        case_number=case_number,
        document=Document(form["document"]),
        document_number=number,
        file_name=upload.name,
        file_type=upload.media_type,
        file=upload.content,
    )


def _of(asked: Asked, session: Session, *, with_file: bool = False) -> IdentityQueryRow:
    """The query of the path; who asks the bank reads their own, as if others' did not exist."""
    options = [undefer(IdentityQueryRow.file_content)] if with_file else []
    row = session.get(IdentityQueryRow, asked.path("query_id"), options=options)
    is_hidden = row is not None and row.person_id != asked.person.id
    if row is None or (is_hidden and asked.person.may(Right.QUERY_IDENTITY)):
        raise asked.refuse("no_such_thing", 404)
    return row


def _receipt(asked: Asked) -> Response:
    """What was asked and answered; numbers are whole for who asked, and masked for others."""
    with asked.reading() as session:
        row = _of(asked, session)
        is_own = row.person_id == asked.person.id
        shown = asked.shown_account(sees_numbers=is_own)
        return asked.show(
            "receipt.html",
            row=row,
            names=names_of(session, [row.person_id]),
            code=CODES[QueryKind(row.kind)],
            reply=reply_code(CODES[QueryKind(row.kind)]),
            told=[
                {**each, "account": shown(each["account"]), "holder_id": shown(each["holder_id"])}
                for each in row.answer
            ],
            subject=shown(row.subject),
        )


def _file(asked: Asked) -> Response:
    """The document of a query; opening it is logged."""
    with asked.writing() as write:
        row = _of(asked, write.session, with_file=True)
        write.note("file-opened", row.id, name=row.file_name, sha256=row.file_sha256)
    kind = {"application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg"}[row.file_type]
    told = {"Content-Disposition": f'attachment; filename="query-{row.id}.{kind}"'}
    return Response(row.file_content, media_type=row.file_type, headers=told)
