"""People: who may sign in, as what; and the audit, which is read but never written here."""

import re
from typing import Final

from fastapi import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.pages.shell import PREFIX, Asked, Shell
from sluicegate.desk.people import add_person, end_sessions, reset_password
from sluicegate.desk.roles import Right, Role, may
from sluicegate.desk.tables import AuditRow, PersonRow

NAME: Final = re.compile(r"[a-z][a-z0-9._-]{1,63}")
AUDIT_ENTRIES: Final = 200


def add_people(shell: Shell) -> None:
    """Adds these pages."""
    shell.get("/people", _people, Right.MANAGE_PEOPLE)
    shell.post("/people", _add, Right.MANAGE_PEOPLE)
    shell.post("/people/{person_id}/role", _role, Right.MANAGE_PEOPLE)
    shell.post("/people/{person_id}/reset", _reset, Right.MANAGE_PEOPLE)
    shell.post("/people/{person_id}/disable", _disable, Right.MANAGE_PEOPLE)
    shell.post("/people/{person_id}/enable", _enable, Right.MANAGE_PEOPLE)
    shell.get("/audit", _audit, Right.SEE_AUDIT)


def people_with(session: Session, right: Right) -> list[PersonRow]:
    """Who may do this, by name."""
    rows = session.scalars(
        select(PersonRow).where(PersonRow.disabled_at.is_(None)).order_by(PersonRow.name)
    )
    return [row for row in rows if may(Role(row.role), right)]


def _people(asked: Asked) -> Response:
    return _shown(asked)


def _shown(
    asked: Asked, status: int = 200, *, error: str = "", name: str = "", password: str = ""
) -> Response:
    with asked.reading() as session:
        rows = list(session.scalars(select(PersonRow).order_by(PersonRow.name)))
        return asked.show(
            "people.html", status, people=rows, roles=list(Role),
            error=error, name=name, password=password,
        )  # fmt: skip


def _add(asked: Asked) -> Response:
    name, full_name, role = asked.form["name"], asked.form["full_name"], asked.form["role"]
    if not NAME.fullmatch(name) or not 0 < len(full_name) <= 128 or role not in set(Role):
        return _shown(asked, 422, error="person_wrong")
    with asked.writing() as write:
        known = write.session.scalar(select(PersonRow.id).where(PersonRow.name == name))
        if known is None:
            _, password = add_person(write.session, name, full_name, Role(role), asked.now)
            write.note("person-added", name, role=role)
    if known is not None:
        return _shown(asked, 422, error="person_known")
    return _shown(asked, name=name, password=password)


def _of(asked: Asked, session: Session) -> PersonRow:
    number = asked.path("person_id")
    row = session.get(PersonRow, int(number)) if number.isdigit() else None
    if row is None:
        raise asked.refuse("no_such_thing", 404)
    return row


def _other(asked: Asked, session: Session) -> PersonRow:
    """Somebody else: nobody locks themselves out."""
    row = _of(asked, session)
    if row.id == asked.person.id:
        raise asked.refuse("not_yourself")
    return row


def _role(asked: Asked) -> Response:
    role = asked.form["role"]
    if role not in set(Role):
        raise asked.refuse("person_wrong", 422)
    with asked.writing() as write:
        row = _other(asked, write.session)
        write.note("role-changed", row.name, before=row.role, after=role)
        row.role = role
        end_sessions(write.session, row.id)
    return asked.away(f"{PREFIX}/people", "changed")


def _reset(asked: Asked) -> Response:
    with asked.writing() as write:
        row = _other(asked, write.session)
        password = reset_password(write.session, row)
        write.note("password-reset", row.name)
        name = row.name
    return _shown(asked, name=name, password=password)


def _disable(asked: Asked) -> Response:
    with asked.writing() as write:
        row = _other(asked, write.session)
        row.disabled_at = asked.now
        end_sessions(write.session, row.id)
        write.note("person-disabled", row.name)
    return asked.away(f"{PREFIX}/people", "changed")


def _enable(asked: Asked) -> Response:
    with asked.writing() as write:
        row = _other(asked, write.session)
        row.disabled_at = None
        write.note("person-enabled", row.name)
    return asked.away(f"{PREFIX}/people", "changed")


def _audit(asked: Asked) -> Response:
    before = asked.query.get("before", "")
    chosen = select(AuditRow).order_by(AuditRow.seq.desc()).limit(AUDIT_ENTRIES)
    if before.isascii() and before.isdigit() and len(before) < 10:
        chosen = chosen.where(AuditRow.seq < int(before))
    for name in ("person", "subject"):
        if value := asked.query.get(name, "")[:64]:
            chosen = chosen.where(getattr(AuditRow, name) == value)
    with asked.reading() as session:
        return asked.show("audit.html", entries=list(session.scalars(chosen)))
