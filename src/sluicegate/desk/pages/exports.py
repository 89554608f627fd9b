"""A case to take along: as PDF and as JSON. Each is logged."""

from datetime import datetime

from fastapi import Response

from sluicegate.desk import casework
from sluicegate.desk.exports import CasePaper, Shown, as_json, case_told
from sluicegate.desk.pages.shell import Asked, Shell
from sluicegate.desk.pages.words import WORDS, local_time
from sluicegate.desk.roles import Right


def add_exports(shell: Shell) -> None:
    """Adds these files."""
    shell.get("/cases/{case_id}/export.json", _json, Right.EXPORT)
    shell.get("/cases/{case_id}/export.pdf", _pdf, Right.EXPORT)


def _json(asked: Asked) -> Response:
    file, shown = _taken(asked, "json")
    told = case_told(file, shown, asked.person.name, asked.now)
    return _download(as_json(told), "application/json", f"case-{file.case.id}.json")


def _pdf(asked: Asked) -> Response:
    file, shown = _taken(asked, "pdf")

    def moment(at: datetime | None) -> str:
        return local_time(at, asked.desk.zone)

    paper = CasePaper(file, shown, WORDS[asked.language], asked.titled, moment)
    content = paper.pdf(asked.person.full_name, asked.now)
    return _download(content, "application/pdf", f"case-{file.case.id}.pdf")


def _taken(asked: Asked, form: str) -> tuple[casework.CaseFile, Shown]:
    """The case, and how its numbers are told: as on its page, masked until asked for."""
    with asked.writing() as write:
        file = casework.case_file(write.session, asked.path("case_id"))
        if file is None:
            raise asked.refuse("no_such_case", 404)
        sees_numbers = asked.sees_numbers(write.session, file.case.id)
        write.note("exported", file.case.id, form=form, masked=not sees_numbers)
    return file, asked.shown_account(sees_numbers=sees_numbers)


def _download(content: bytes, media_type: str, name: str) -> Response:
    told = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=told)
