"""A case as PDF and JSON: complete, masked as on its page, and logged."""

from __future__ import annotations

import base64
import re
import zlib
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.roles import Role
from sluicegate.desk.tables import AuditRow

if TYPE_CHECKING:
    from tests.desk.desk import RunningDesk

ACCOUNT = "6217000000000031415"


_ESCAPED = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)


def _unescaped(found: re.Match[bytes]) -> bytes:
    """A byte of a string as PDF writes it: in octal, or behind a backslash."""
    named = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
    written = found[1]
    return bytes([int(written, 8)]) if len(written) == 3 else named.get(written, written)


def printed(pdf: bytes) -> str:
    """What is written on the pages: strings shown in the built-in Chinese font are UTF-16."""
    text = ""
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        page = zlib.decompress(base64.a85decode(b"<~" + stream.strip(), adobe=True))
        for string in re.findall(rb"\(((?:\\.|[^\\()])*)\) Tj", page, re.DOTALL):
            text += _ESCAPED.sub(_unescaped, string).decode("utf-16-be")
    return text


def test_a_case_is_exported_whole_and_masked_until_asked_for(desk: RunningDesk) -> None:
    case_id = desk.case(ACCOUNT, 1_234_500, pass_through=0.8, convergence=0.6)
    with desk.signed_in(Role.BANK_OFFICER) as officer:
        officer.post(f"/desk/cases/{case_id}/claim")
        officer.post(f"/desk/cases/{case_id}/notes", text="已联系客户 <b>&")
        officer.post(
            f"/desk/cases/{case_id}/measures",
            measure="delay", basis="bank", reason="先核实再放行", hours="24",
        )  # fmt: skip
        masked = officer.get(f"/desk/cases/{case_id}/export.json").json()
        assert masked["case"]["account"] == "6217…1415"
        assert ACCOUNT not in str(masked)
        paper = officer.get(f"/desk/cases/{case_id}/export.pdf")
        assert paper.headers["content-type"] == "application/pdf"
        page = printed(paper.content)
        for each in ("6217…1415", "12,345.00", "已联系客户 <b>&", "延迟到账", "银行甲"):
            assert each.replace(" ", "") in page.replace(" ", ""), (each, page)

        officer.post(f"/desk/cases/{case_id}/unmask")
        told = officer.get(f"/desk/cases/{case_id}/export.json").json()
        assert ACCOUNT in printed(officer.get(f"/desk/cases/{case_id}/export.pdf").content)
    assert told["case"]["account"] == ACCOUNT
    assert told["case"]["id"] == case_id
    assert told["exported_by"] == "bank.officer"
    assert [each["pattern"] for each in told["reasons"]] == ["pass-through", "convergence"]
    assert told["alerts"][0]["amount_minor"] == 1_234_500
    assert told["notes"][0]["text"] == "已联系客户 <b>&"
    assert (told["measures"][0]["measure"], told["measures"][0]["state"]) == ("delay", "ordered")
    kinds = [each["kind"] for each in told["timeline"]]
    done = ["claimed", "measure_proposed", "measure_decided", "unmasked"]
    assert [each for each in kinds if each in done] == done

    with Session(desk.engine) as session:
        acts = session.scalars(
            select(AuditRow).where(AuditRow.action == "exported").order_by(AuditRow.seq)
        )
        logged = [(each.subject, each.details["form"], each.details["masked"]) for each in acts]
    assert logged == [
        (case_id, "json", True), (case_id, "pdf", True),
        (case_id, "json", False), (case_id, "pdf", False),
    ]  # fmt: skip


def test_an_english_export_is_english_and_long_notes_break_over_pages(desk: RunningDesk) -> None:
    case_id = desk.case("6217000000000031416")
    with desk.signed_in(Role.SUPERVISOR) as supervisor:
        supervisor.post("/desk/language", language="en", back="/desk")
        supervisor.post(f"/desk/cases/{case_id}/notes", text="a long note\n" * 300)
        pdf = supervisor.get(f"/desk/cases/{case_id}/export.pdf").content
    assert pdf.count(b"/Type /Page\n") > 3
    assert "Ataglance" in printed(pdf).replace(" ", "")
