"""Measures at the desk: two people, the outbox, answers, expiry, escalation; without Kafka."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from sluicegate.desk.answers import take_answers
from sluicegate.desk.keeper import keep
from sluicegate.desk.roles import Role
from sluicegate.desk.tables import AuditRow, ListingRow, MeasureRow, OutgoingRow
from sluicegate.domain.decision import Answer, DecidedMeasure, MeasureAnswer
from sluicegate.domain.directive import Directive, parse_directive
from sluicegate.domain.fields import Rules
from sluicegate.domain.law import Act
from sluicegate.domain.measure import Measure
from sluicegate.liaison.dead_letters import DeadLetter, Unreadable
from sluicegate.streaming.records import SourceRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.desk.desk import Browser, RunningDesk

PDF = {"document_file": ("止付.pdf", b"%PDF-1.7 ...", "application/pdf")}
STOP = {
    "measure": "stop_payment",
    "basis": "police",
    "reason": "受害人报警，资金正在转移",  # noqa: RUF001 - Chinese
    "hours": "48",
    "document": "03",
    "document_number": "苏公止118",
}


class DeadLettersKept(list[DeadLetter]):
    def send(self, letters: Sequence[DeadLetter]) -> None:
        self.extend(letters)


@pytest.fixture
def officer(desk: RunningDesk) -> Iterator[Browser]:
    with desk.signed_in(Role.BANK_OFFICER) as browser:
        yield browser
    desk.ahead = timedelta()


@pytest.fixture
def second(desk: RunningDesk) -> Iterator[Browser]:
    with desk.signed_in(Role.POLICE_OFFICER) as browser:
        yield browser


_numbers = iter(range(100))


@pytest.fixture
def case_id(desk: RunningDesk, officer: Browser) -> str:
    """A case that the officer has claimed."""
    made = desk.case(f"62220000000000055{next(_numbers):02}")
    officer.post(f"/desk/cases/{made}/claim")
    return made


def rows(desk: RunningDesk, case_id: str) -> list[MeasureRow]:
    with Session(desk.engine) as session:
        found = session.scalars(
            select(MeasureRow).where(MeasureRow.case_id == case_id).order_by(MeasureRow.proposed_at)
        )
        return list(found)


def messages(desk: RunningDesk, account: str) -> list[dict[str, Any]]:
    with Session(desk.engine) as session:
        found = session.scalars(
            select(OutgoingRow).where(OutgoingRow.account == account).order_by(OutgoingRow.seq)
        )
        return [json.loads(row.value) for row in found]


def propose(browser: Browser, case_id: str, files: Any = None, **fields: str) -> Any:
    return browser.post(f"/desk/cases/{case_id}/measures", files=files, **fields)


def answer(
    desk: RunningDesk, id_: str, said: Answer = Answer.DONE, **more: Any
) -> list[DeadLetter]:
    letters = DeadLettersKept()
    told = MeasureAnswer(id=id_, answer=said, answered_at=desk.now(), **more)
    record = SourceRecord("measures-acknowledged", 0, 0, None, told.model_dump_json().encode())
    take_answers([record, record], desk.engine, letters, desk.now())
    return letters


def test_a_light_measure_is_decided_by_one_and_leaves_at_once(
    desk: RunningDesk, officer: Browser, case_id: str
) -> None:
    fields = {"measure": "delay", "basis": "bank", "reason": "先核实再放行", "hours": "24"}
    assert propose(officer, case_id, **fields).status_code == 303
    (row,) = rows(desk, case_id)
    assert row.state == "ordered"
    (message,) = messages(desk, row.account)
    decided = DecidedMeasure.model_validate(message)
    assert (decided.id, decided.measure, decided.act) == (row.id, Measure.DELAY, Act.IMPOSE)
    assert decided.proposed_by == "bank.officer"
    assert decided.approved_by is None
    assert row.begins_at is not None
    assert decided.expires_at == row.expires_at == row.begins_at + timedelta(hours=24)
    assert desk.case_row(case_id).decided_at is not None


def test_a_heavy_one_waits_for_somebody_else(
    desk: RunningDesk, officer: Browser, second: Browser, case_id: str
) -> None:
    propose(officer, case_id, PDF, **STOP)
    (row,) = rows(desk, case_id)
    assert row.state == "proposed"
    assert messages(desk, row.account) == []
    assert "项措施等待审批" in second.get("/desk/rows").text
    decide = f"/desk/measures/{row.id}/decide"
    own = officer.post(decide, decision="approve")
    assert own.status_code == 403
    assert "不能审批自己提出的措施" in own.text
    assert second.post(decide, decision="approve").status_code == 303
    assert second.post(decide, decision="approve").status_code == 409
    (message,) = messages(desk, row.account)
    assert message["police_code"] == "0101"
    assert (message["proposed_by"], message["approved_by"]) == ("bank.officer", "police.officer")
    assert message["document_number"] == "苏公止118"

    answer(desk, row.id, held_minor=4_990_000, detail="已止付")
    page = officer.get(f"/desk/cases/{case_id}").text
    assert all(text in page for text in ("生效中", "0101 → 0102", "49,900.00", "已止付"))


def test_what_is_rejected_never_leaves_and_does_not_count(
    desk: RunningDesk, officer: Browser, second: Browser, case_id: str
) -> None:
    for _ in range(3):
        propose(officer, case_id, PDF, **STOP)
        row = rows(desk, case_id)[-1]
        second.post(f"/desk/measures/{row.id}/decide", decision="reject", note="材料不全")
    assert [row.state for row in rows(desk, case_id)] == ["rejected"] * 3
    assert messages(desk, row.account) == []
    assert "材料不全" in officer.get(f"/desk/cases/{case_id}").text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hours": "49"}, "时长超过规定"),
        ({"basis": "bank"}, "依据不对"),
        ({"document": ""}, "须写明文书"),
        ({"reason": "无"}, "请写明理由"),
        ({"hours": "x"}, "整数小时"),
        ({"amount": "1.234"}, "两位小数"),
        ({"called_at": "2999-01-01T00:00"}, "来电时间不对"),
    ],
)
def test_what_the_law_forbids_is_refused_in_words(
    desk: RunningDesk, officer: Browser, case_id: str, changes: dict[str, str], said: str
) -> None:
    refused = propose(officer, case_id, PDF, **{**STOP, **changes})
    assert refused.status_code == 422
    assert said in refused.text
    assert rows(desk, case_id) == []


def test_a_colleagues_case_is_left_alone(desk: RunningDesk, second: Browser, case_id: str) -> None:
    refused = propose(second, case_id, PDF, **STOP)
    assert "请先接办" in refused.text
    assert rows(desk, case_id) == []


def test_a_stop_payment_is_warned_of_extended_once_and_then_expires_by_itself(
    desk: RunningDesk, officer: Browser, second: Browser, case_id: str
) -> None:
    began = desk.now()
    propose(officer, case_id, PDF, **STOP)
    (stop,) = rows(desk, case_id)
    second.post(f"/desk/measures/{stop.id}/decide", decision="approve")
    answer(desk, stop.id)
    keep(desk.engine, desk.settings, began + timedelta(hours=45))
    assert rows(desk, case_id)[0].warned_at is None
    keep(desk.engine, desk.settings, began + timedelta(hours=46, minutes=5))
    assert rows(desk, case_id)[0].warned_at is not None
    assert "即将到期" in officer.get("/desk/measures").text

    extend = {**STOP, "act": "extend", "of_id": stop.id}
    propose(officer, case_id, PDF, **extend)
    extension = rows(desk, case_id)[1]
    second.post(f"/desk/measures/{extension.id}/decide", decision="approve")
    assert messages(desk, stop.account)[1]["police_code"] == "0105"
    third = propose(officer, case_id, PDF, **extend)
    assert "最多止付两次" in third.text

    keep(desk.engine, desk.settings, began + timedelta(hours=95))
    assert rows(desk, case_id)[0].state == "in_force"
    for _ in range(2):
        keep(desk.engine, desk.settings, began + timedelta(hours=96, minutes=1))
    assert rows(desk, case_id)[0].state == "ended"
    (release,) = (each for each in messages(desk, stop.account) if each["act"] == "release")
    assert (release["of_id"], release["police_code"]) == (stop.id, "0103")
    assert (release["proposed_by"], release["ground"]) == ("-", "expired")
    answer(desk, release["id"], code="0104")
    assert rows(desk, case_id)[-1].state == "done"
    fresh = propose(officer, case_id, PDF, **STOP)
    assert "最多止付两次" in fresh.text


def test_an_extension_that_core_banking_refuses_does_not_count(
    desk: RunningDesk, officer: Browser, second: Browser, case_id: str
) -> None:
    propose(officer, case_id, PDF, **STOP)
    (stop,) = rows(desk, case_id)
    second.post(f"/desk/measures/{stop.id}/decide", decision="approve")
    ends = rows(desk, case_id)[0].expires_at
    propose(officer, case_id, PDF, **STOP, act="extend", of_id=stop.id)
    extension = rows(desk, case_id)[1]
    second.post(f"/desk/measures/{extension.id}/decide", decision="approve")
    answer(desk, extension.id, Answer.FAILED, detail="账户已销户")
    assert rows(desk, case_id)[0].expires_at == ends
    assert "账户已销户" in officer.get("/desk/measures").text


def test_a_limit_in_error_is_released_with_its_ground(
    desk: RunningDesk, officer: Browser, case_id: str
) -> None:
    limit = {"measure": "limit", "basis": "bank", "reason": "先限额再核实", "amount": "5,000.00"}
    propose(officer, case_id, **limit)
    (row,) = rows(desk, case_id)
    answer(desk, row.id)
    release = {"act": "release", "measure": "limit", "basis": "bank", "of_id": row.id}
    for none in ({}, {"ground": "expired"}):  # that one only time gives
        text = propose(officer, case_id, **release, reason="客户申诉属实", **none).text
        assert "请选择解除原因" in text
    propose(officer, case_id, **release, reason="客户申诉属实", ground="appeal")
    assert rows(desk, case_id)[0].state == "in_force"  # until core banking has done it
    answer(desk, rows(desk, case_id)[1].id)
    assert [each.state for each in rows(desk, case_id)] == ["ended", "done"]
    assert messages(desk, row.account)[1]["ground"] == "appeal"
    officer.post(f"/desk/cases/{case_id}/finish")
    assert desk.case_row(case_id).outcome == "measures_taken"


def test_an_answer_counts_once_and_what_is_none_goes_to_dead_letter(
    desk: RunningDesk, officer: Browser, case_id: str
) -> None:
    propose(officer, case_id, measure="watch", basis="police", reason="公安要求关注")
    (row,) = rows(desk, case_id)
    assert answer(desk, row.id) == []
    assert answer(desk, row.id, Answer.FAILED) == []
    assert rows(desk, case_id)[0].state == "in_force"
    with Session(desk.engine) as session:
        asked = select(AuditRow).where(AuditRow.subject == case_id, AuditRow.action == "answered")
        assert len(list(session.scalars(asked))) == 1
    (letter, _) = answer(desk, "0" * 32)
    assert letter.reason is Unreadable.UNKNOWN_MEASURE
    letters = DeadLettersKept()
    bad = [SourceRecord("t", 0, n, None, value) for n, value in enumerate((None, b"{}", b"[]"))]
    take_answers(bad, desk.engine, letters, datetime.now(UTC))
    assert [each.reason for each in letters] == [
        Unreadable.NULL_MESSAGE,
        Unreadable.NOT_AN_ANSWER,
        Unreadable.NOT_AN_ANSWER,
    ]


def test_a_case_whose_clock_runs_out_is_told_to_the_supervisor(desk: RunningDesk) -> None:
    waits, claimed = desk.case("6222000000000005601"), desk.case("6222000000000005602")
    with desk.signed_in(Role.SUPERVISOR) as boss:
        boss.post(f"/desk/cases/{claimed}/claim")
        began = desk.now()
        keep(desk.engine, desk.settings, began + timedelta(minutes=4))
        assert desk.case_row(waits).escalated_at is None
        keep(desk.engine, desk.settings, began + timedelta(minutes=6))
        assert desk.case_row(waits).escalated_at is not None
        assert desk.case_row(claimed).escalated_at is None
        keep(desk.engine, desk.settings, began + timedelta(minutes=16))
        assert desk.case_row(claimed).escalated_at is not None
        assert "超时，升级至主管" in boss.get(f"/desk/cases/{waits}").text  # noqa: RUF001


def directives(desk: RunningDesk, account: str) -> list[Directive]:
    found = [
        parse_directive(json.dumps(each).encode(), 0, Rules()) for each in messages(desk, account)
    ]
    assert all(isinstance(each, Directive) for each in found)
    return [each for each in found if isinstance(each, Directive)]


def test_lists_leave_as_directives_and_a_whitelist_needs_two(
    desk: RunningDesk, officer: Browser, second: Browser, case_id: str
) -> None:
    account = desk.case_row(case_id).account
    officer.post(f"/desk/cases/{case_id}/lists", kind="involved", reason="118 案")
    (first,) = directives(desk, account)
    assert (first.kind, first.action, first.issued_by) == ("involved", "add", "bank.officer")

    lists = f"/desk/cases/{case_id}/lists"
    white = {"kind": "whitelisted", "reason": "买房", "pattern": "pass-through"}
    assert officer.post(lists, **white).status_code == 422  # without an end
    assert officer.post(lists, **white, days="90").status_code == 303
    assert len(directives(desk, account)) == 1
    with Session(desk.engine) as session:
        listing = session.scalars(
            select(ListingRow).where(
                ListingRow.account == account, ListingRow.kind == "whitelisted"
            )
        ).one()
    decide = f"/desk/lists/{listing.id}/decide"
    assert officer.post(decide, decision="approve").status_code == 403
    assert second.post(decide, decision="approve").status_code == 303
    assert directives(desk, account)[1].patterns == ("pass-through",)
    officer.post(f"/desk/lists/{listing.id}/end")
    assert directives(desk, account)[2].action == "end"
    assert "移出名单" in officer.get(f"/desk/cases/{case_id}").text


def test_the_desk_tells_of_an_account_of_no_case(desk: RunningDesk, officer: Browser) -> None:
    officer.post("/desk/lists", account="6217000000000000999", kind="punished", reason="出售账户")
    assert directives(desk, "6217000000000000999")[0].kind == "punished"
    assert (
        officer.post("/desk/lists", account="x" * 40, kind="watched", reason="r").status_code == 422
    )
