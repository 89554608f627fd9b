"""The wall-board and handing over a shift: what is open, signed twice, unchanged."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from tests.desk.desk import PASSWORD, RunningDesk

from sluicegate.desk.attempts import LOCKED_FOR, MOST_FROM_AN_ADDRESS
from sluicegate.desk.people import Doorway, signs
from sluicegate.desk.roles import Role
from sluicegate.desk.tables import AuditRow, HandoverRow, PersonRow
from sluicegate.liaison.schema import writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.desk.desk import Browser

ACCOUNT = "6217000000000040001"
WRONG = "not it"


@pytest.fixture
def officer(desk: RunningDesk) -> Iterator[Browser]:
    with desk.signed_in(Role.BANK_OFFICER) as browser:
        yield browser


def given(officer: Browser, note: str = "请继续联系客户") -> str:
    """Hands over; the path of the handover."""
    answer = officer.post("/desk/handover", note=note, password=PASSWORD)
    assert answer.status_code == 303
    return str(answer.headers["location"])


def test_a_shift_is_handed_over_with_two_signatures_and_its_cases_go_along(
    desk: RunningDesk, officer: Browser
) -> None:
    mine, done = desk.case(ACCOUNT, 9_000_000), desk.case("6217000000000040002")
    for each in (mine, done):
        officer.post(f"/desk/cases/{each}/claim")
    officer.post(f"/desk/cases/{mine}/notes", text="客户电话无人接听")
    path = given(officer)
    page = officer.get(path).text
    assert "6217…0001" in page
    assert "客户电话无人接听" in page
    assert "请继续联系客户" in page
    assert officer.post(f"{path}/take", password=PASSWORD).status_code == 409  # one's own
    officer.post(f"/desk/cases/{done}/dismiss", outcome="false_alarm")

    with desk.signed_in(Role.SUPERVISOR) as second:
        assert path in second.get("/desk/handover").text
        assert second.post(f"{path}/take", password=WRONG).status_code == 422
        assert second.post(f"{path}/take", password=PASSWORD).status_code == 303
        assert second.post(f"{path}/take", password=PASSWORD).status_code == 409  # once
        assert "主管丙" in second.get(path).text
    taker = desk.person_id("supervisor")
    assert desk.case_row(mine).assignee == taker
    assert (desk.case_row(done).state, desk.case_row(done).assignee) != ("claimed", taker)
    with Session(desk.engine) as session:
        asked = select(AuditRow).where(AuditRow.subject == path[-32:]).order_by(AuditRow.seq)
        acts = list(session.scalars(asked))
        digest = session.get_one(HandoverRow, path[-32:]).sha256
    assert [(each.action, each.person) for each in acts] == [
        ("handover-given", "bank.officer"),
        ("handover-taken", "supervisor"),
    ]
    assert {each.details["sha256"] for each in acts} == {digest}


def test_what_was_changed_after_the_signature_shows(desk: RunningDesk, officer: Browser) -> None:
    path = given(officer)
    assert "内容与签字时不一致" not in officer.get(path).text
    with Session(desk.engine) as session, session.begin():
        session.execute(update(HandoverRow).values(note="别的"))
    assert "内容与签字时不一致" in officer.get(path).text


def test_nothing_is_signed_with_a_wrong_password_and_guessing_locks(desk: RunningDesk) -> None:
    name = desk.person(Role.BANK_OFFICER, "bank.guesser")
    with desk.signed_in(Role.BANK_OFFICER, name) as guesser:
        before = guesser.get("/desk/handover").text.count("/desk/handover/")
        wrong = guesser.post("/desk/handover", note="typed", password=WRONG)
        assert wrong.status_code == 422
        assert "typed" in wrong.text
        assert guesser.get("/desk/handover").text.count("/desk/handover/") == before
    now = desk.now()
    with writing(desk.engine) as session:
        row = session.scalars(select(PersonRow).where(PersonRow.name == name)).one()
        door = Doorway("127.0.0.1", now)
        for _ in range(MOST_FROM_AN_ADDRESS - 1):
            assert not signs(session, row, WRONG, door)
        assert not signs(session, row, PASSWORD, door)
        later = Doorway("127.0.0.1", now + LOCKED_FOR + timedelta(seconds=1))
        assert signs(session, row, PASSWORD, later)


def test_the_wall_shows_the_shift_renews_itself_and_tells_no_numbers(desk: RunningDesk) -> None:
    desk.case("6217000000000040003")
    for role, shown in ((Role.ADMINISTRATOR, None), (Role.ANALYST, "••••")):
        with desk.signed_in(role) as browser:
            wall = browser.get("/desk/wall")
            assert wall.headers["refresh"] == "15"
            assert "等待接办" in wall.text
            assert "4000" not in wall.text
            assert shown is None or shown in wall.text
            assert ("/desk/cases/" in wall.text) is (shown is not None)


def test_whose_clock_runs_out_first_is_on_top_of_the_wall(desk: RunningDesk) -> None:
    late = desk.case("6217000000000040010")
    desk.ahead = timedelta(minutes=20)
    fresh = desk.case("6217000000000040011")
    with desk.signed_in(Role.SUPERVISOR) as supervisor:
        page = supervisor.get("/desk/wall").text
    desk.ahead = timedelta()
    assert page.index(late) < page.index(fresh)
    assert "clock out" in page
