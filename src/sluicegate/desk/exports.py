"""A case as a file: all that its page says, as JSON for machines and as PDF for paper.

Account numbers are told as the caller shows them, so that nothing leaves unmasked that was not
unmasked before.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from sluicegate.desk.casework import CaseFile, Event
from sluicegate.desk.tables import ListingRow, MeasureRow
from sluicegate.domain.alert import moment_text
from sluicegate.domain.money import amount_display
from sluicegate.liaison.database import AlertRow

Shown = Callable[[str | None], str]
"""How an account number is told to who asks."""
Told = dict[str, Any]
FORMAT: Final = "sluicegate-case-1"
FONT: Final = "STSong-Light"
"""Built into readers of PDF and not into the file: docs/decisions/0027."""
MARGIN: Final = 16 * mm
WIDTH: Final = A4[0] - 2 * MARGIN

registerFont(UnicodeCIDFont(FONT))
_BODY: Final = ParagraphStyle("body", fontName=FONT, fontSize=9, leading=12.5, wordWrap="CJK")
_CELL: Final = ParagraphStyle("cell", _BODY, fontSize=8, leading=10.5)
_TITLE: Final = ParagraphStyle("title", _BODY, fontSize=16, leading=22)
_HEAD: Final = ParagraphStyle("head", _BODY, fontSize=11, leading=16, spaceBefore=8, spaceAfter=3)
_GRID: Final = TableStyle(
    [
        ("GRID", (0, 0), (-1, -1), 0.4, colors.HexColor("#c3cad2")),
        ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#e8edf2")),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ]
)


def case_told(file: CaseFile, shown: Shown, by: str, now: datetime) -> Told:
    """All that is known of a case, as JSON has it; amounts in minor units, times in UTC."""
    case = file.case
    return {
        "format": FORMAT,
        "exported_at": moment_text(now),
        "exported_by": by,
        "case": {
            "id": case.id,
            "account": shown(case.account),
            "state": case.state,
            "outcome": case.outcome,
            "assignee": file.names.get(case.assignee or 0),
            "score": round(case.rank, 4),
            "recommended": case.measure,
            "at_risk_minor": case.at_risk_minor,
            "came_in_minor": case.came_in_minor,
            "went_out_minor": case.went_out_minor,
            "first_at": moment_text(case.first_at),
            "last_at": moment_text(case.last_at),
            "received_at": moment_text(case.received_at),
            "claimed_at": _moment(case.claimed_at),
            "decided_at": _moment(case.decided_at),
            "closed_at": _moment(case.closed_at),
        },
        "reasons": [
            {"pattern": each.pattern, "strength": each.strength, "zh": each.zh, "en": each.en,
             "times": each.times}
            for each in file.reasons
        ],
        "alerts": [_alert(each, shown) for each in file.alerts],
        "measures": [_measure(each, file.names) for each in file.measures],
        "lists": [_listing(each, file.names, shown) for each in file.listings],
        "notes": [
            {"at": moment_text(each.at), "by": file.names.get(each.person_id), "text": each.text}
            for each in file.notes
        ],
        "attachments": [
            {"at": moment_text(each.at), "by": file.names.get(each.person_id), "kind": each.kind,
             "name": each.name, "size": each.size, "sha256": each.sha256}
            for each in file.attachments
        ],
        "earlier_cases": [
            {"id": each.id, "first_at": moment_text(each.first_at), "state": each.state,
             "outcome": each.outcome}
            for each in file.earlier
        ],
        "timeline": [_event(each) for each in _oldest_first(file.timeline)],
    }  # fmt: skip


def as_json(told: Told) -> bytes:
    """The file of JSON."""
    return (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment_text(moment)


def _alert(row: AlertRow, shown: Shown) -> Told:
    return {
        "id": row.id,
        "transaction_id": row.transaction_id,
        "side": row.side,
        "counterparty": shown(row.counterparty) or None,
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "score": row.score,
        "measure": row.measure,
        "occurred_at": moment_text(row.occurred_at),
        "detected_at": moment_text(row.detected_at),
        "pattern_set_version": row.pattern_set_version,
        "model_version": row.model_version,
        "reasons": row.reasons,
        "facts": row.facts,
    }


def _measure(row: MeasureRow, names: Mapping[int, str]) -> Told:
    return {
        "id": row.id,
        "act": row.action,
        "measure": row.measure,
        "of_id": row.of_id,
        "state": row.state,
        "amount_minor": row.amount_minor,
        "held_minor": row.held_minor,
        "basis": row.basis,
        "ground": row.ground,
        "reason": row.reason,
        "whole_because": row.whole_because,
        "document_kind": row.document_kind,
        "document_number": row.document_number,
        "police_code": row.police_code,
        "answer_code": row.answer_code,
        "answer": row.answer,
        "answer_detail": row.answer_detail,
        "proposed_by": names.get(row.proposed_by or 0),
        "proposed_at": moment_text(row.proposed_at),
        "called_at": _moment(row.called_at),
        "decided_by": names.get(row.decided_by or 0),
        "decided_at": _moment(row.decided_at),
        "expires_at": _moment(row.expires_at),
        "answered_at": _moment(row.answered_at),
        "ended_at": _moment(row.ended_at),
    }


def _listing(row: ListingRow, names: Mapping[int, str], shown: Shown) -> Told:
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "counterparty": shown(row.counterparty) or None,
        "patterns": row.patterns,
        "reason": row.reason,
        "proposed_by": names.get(row.proposed_by),
        "proposed_at": moment_text(row.proposed_at),
        "expires_at": _moment(row.expires_at),
        "ended_at": _moment(row.ended_at),
    }


def _oldest_first(timeline: Sequence[Event]) -> list[Event]:
    """What happened at one moment stays in the order of the audit."""
    return sorted(timeline, key=lambda each: each.at)


def _event(event: Event) -> Told:
    if event.kind == "alert":
        return {"at": moment_text(event.at), "kind": event.kind, "alert": event.details["alert"].id}
    return {
        "at": moment_text(event.at),
        "kind": event.text.removeprefix("act_").removeprefix("event_"),
        "by": event.who,
        "details": dict(event.details),
    }


class CasePaper:
    """A case on paper, in one language; `moment` tells a time as the desk's clocks show it."""

    def __init__(
        self,
        file: CaseFile,
        shown: Shown,
        text: Mapping[str, str],
        titled: Callable[[str], str],
        moment: Callable[[datetime | None], str],
    ) -> None:
        self._file = file
        self._shown = shown
        self._text = text
        self._titled = titled
        self._moment = moment

    def pdf(self, by: str, now: datetime) -> bytes:
        """The pages, each with the number of the case, who printed it and when."""
        out, case = BytesIO(), self._file.case
        foot = f"{case.id} · {self._text['export_by']} {by} {self._moment(now)}"

        def sign(canvas: Canvas, document: SimpleDocTemplate) -> None:
            canvas.setFont(FONT, 7.5)
            canvas.drawString(MARGIN, 9 * mm, foot)
            canvas.drawRightString(A4[0] - MARGIN, 9 * mm, str(document.page))

        document = SimpleDocTemplate(
            out, pagesize=A4, leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN,
            bottomMargin=MARGIN, title=f"{self._text['case']} {case.id}", author=by,
            lang=self._text["lang"],
        )  # fmt: skip
        document.build(self._story(), onFirstPage=sign, onLaterPages=sign)
        return out.getvalue()

    def _story(self) -> list[Flowable]:
        t, file = self._text, self._file
        title = f"{t['case']} {self._shown(file.case.account)}"
        story: list[Flowable] = [Paragraph(escape(title), _TITLE), self._facts(), Spacer(1, 4)]
        parts: tuple[tuple[str, Sequence[str], list[Sequence[str]]], ...] = (
            ("reasons", ("pattern", "score", "why"), self._reasons()),
            ("alerts", ("when", "side", "amount", "counterparty", "score"), self._alerts()),
            ("measures", ("measure", "state", "reason", "document", "people_of", "core_bank"),
             self._measures()),
            ("notes", ("when", "who", "note"), self._notes()),
            ("timeline", ("when", "who", "what", "details"), self._timeline()),
        )  # fmt: skip
        for name, heads, rows in parts:
            if rows:
                story += [
                    Paragraph(escape(t[name]), _HEAD),
                    _table([[t[each] for each in heads], *rows], _SHARES[name]),
                ]
        return story

    def _facts(self) -> Flowable:
        t, case = self._text, self._file.case
        state = t[f"state_{case.state}"]
        if case.outcome:
            state += f" · {t[f'outcome_{case.outcome}']}"
        facts = {
            "state": state,
            "who": self._file.names.get(case.assignee or 0, "—"),
            "score": f"{case.rank:.2f}",
            "at_risk": amount_display(case.at_risk_minor),
            "came_in": amount_display(case.came_in_minor),
            "went_out": amount_display(case.went_out_minor),
            "recommended": t[f"measure_{case.measure}"],
            "first_last": f"{self._moment(case.first_at)} – {self._moment(case.last_at)}",  # noqa: RUF001 - a range
        }
        cells = [(t[name], value) for name, value in facts.items()]
        rows = [[*left, *right] for left, right in zip(cells[::2], cells[1::2], strict=True)]
        return _table([[t["at_a_glance"], "", "", ""], *rows], (2, 3, 2, 3))

    def _reasons(self) -> list[Sequence[str]]:
        return [
            (self._titled(each.pattern), f"{each.strength:.2f}",
             each.zh if self._text["lang"].startswith("zh") else each.en)
            for each in self._file.reasons
        ]  # fmt: skip

    def _alerts(self) -> list[Sequence[str]]:
        t = self._text
        return [
            (self._moment(each.occurred_at), t[f"side_{each.side}"],
             amount_display(each.amount_minor), self._shown(each.counterparty) or t["cash"],
             f"{each.score:.2f}")
            for each in self._file.alerts
        ]  # fmt: skip

    def _measures(self) -> list[Sequence[str]]:
        t, names = self._text, self._file.names
        found: list[Sequence[str]] = []
        for row in self._file.measures:
            document = f"{row.document_kind} {row.document_number}" if row.document_number else "—"
            code = f"{row.police_code or ''} {row.answer_code or ''}".strip()
            people = [names.get(row.proposed_by or 0, t["desk_itself"])]
            if row.decided_by and row.decided_by != row.proposed_by:
                people.append(names.get(row.decided_by, ""))
            held = "" if row.held_minor is None else f"{t['held']} {amount_display(row.held_minor)}"
            answer = f"{t[f'answer_{row.answer}']} {held}" if row.answer else "—"
            found.append((
                f"{t[f'measure_{row.measure}']} · {t[f'act_of_{row.action}']}",
                t[f"measure_state_{row.state}"], row.reason, f"{document} {code}".strip(),
                f"{' / '.join(people)} {self._moment(row.decided_at or row.proposed_at)}", answer,
            ))  # fmt: skip
        return found

    def _notes(self) -> list[Sequence[str]]:
        names = self._file.names
        return [
            (self._moment(each.at), names.get(each.person_id, ""), each.text)
            for each in self._file.notes
        ]

    def _timeline(self) -> list[Sequence[str]]:
        """What was done, the oldest first; alerts and notes have tables of their own."""
        t = self._text
        return [
            (self._moment(each.at), each.who, t.get(each.text, each.text),
             str(each.details.get("note") or each.details.get("name") or ""))
            for each in _oldest_first(self._file.timeline)
            if each.kind == "act"
        ]  # fmt: skip


_SHARES: Final[Mapping[str, Sequence[int]]] = {
    "reasons": (4, 1, 8),
    "alerts": (4, 2, 3, 5, 1),
    "measures": (4, 3, 5, 4, 5, 4),
    "notes": (3, 2, 8),
    "timeline": (4, 2, 4, 6),
}


def _table(rows: Sequence[Sequence[str]], shares: Sequence[int]) -> Flowable:
    """A table that breaks over pages; the first row is repeated on each."""
    widths = [WIDTH * each / sum(shares) for each in shares]
    cells = [
        [Paragraph(escape(cell).replace("\n", "<br/>"), _CELL) for cell in row] for row in rows
    ]
    return Table(cells, colWidths=widths, repeatRows=1, splitInRow=1, style=_GRID)
