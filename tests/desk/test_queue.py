"""The queue: worst first, one person a case, filters; and what becomes of closed cases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.orm import Session
from tests.desk.desk import RunningDesk, an_alert

from sluicegate.desk import queue
from sluicegate.desk.clocks import Level
from sluicegate.desk.keeper import clocks
from sluicegate.desk.queue import Filters, Outcome, Whose
from sluicegate.desk.roles import Role
from sluicegate.domain.measure import Measure
from sluicegate.liaison.schema import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

YUAN = 100


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RunningDesk]:
    """A desk without anybody else's cases; it does not serve."""
    made = RunningDesk(tmp_path)
    yield made
    made._loop.close()
    made.engine.dispose()


def order(desk: RunningDesk, filters: Filters = Filters(), person: int = 0) -> list[str]:  # noqa: B008 - frozen
    with Session(desk.engine) as session:
        return [each.account for each in queue.worst(session, filters, person, desk.now())]


def test_worst_is_score_times_money_at_risk_times_age(own: RunningDesk) -> None:
    old = own.now() - timedelta(minutes=100)
    own.alerts(an_alert(1, "OLD", old, 1_000 * YUAN, through=0.8), at=old)
    own.case("LARGE", 50_000 * YUAN, through=0.8)
    own.case("SURE", 50_000 * YUAN, through=0.95)
    own.case("SMALL", 100 * YUAN, through=0.99)
    assert order(own)[:1] == ["OLD"]  # its hour weighs more than a fresh fifty-fold
    own.ahead = timedelta(hours=10)
    assert order(own) == ["SURE", "LARGE", "OLD", "SMALL"]


def test_money_that_has_left_the_account_is_not_at_risk_any_more(own: RunningDesk) -> None:
    at = own.now()
    own.alerts(an_alert(1, "KEPT", at, 900 * YUAN), an_alert(2, "PASSED", at, 50_000 * YUAN))
    own.alerts(
        an_alert(3, "PASSED", at + timedelta(minutes=1), 49_900 * YUAN, side="outflow"),
        at=at,
    )
    own.ahead = timedelta(minutes=5)
    assert order(own) == ["KEPT", "PASSED"]


def test_of_many_who_claim_at_once_one_gets_each_case(own: RunningDesk) -> None:
    cases = [own.case(f"ACCOUNT{n}") for n in range(6)]

    def claim_all(person: int) -> list[str]:
        won = []
        for case_id in cases:
            with writing(own.engine) as session:
                if queue.claim(session, case_id, person, own.now()):
                    won.append(case_id)
        return won

    with ThreadPoolExecutor(8) as pool:
        won = [case_id for each in pool.map(claim_all, range(1, 9)) for case_id in each]
    assert sorted(won) == sorted(cases)


def test_clocks_are_counted_by_what_they_are_for_and_whether_they_ran_out(own: RunningDesk) -> None:
    rules, began = own.settings.desk, own.now()
    cases = [own.case(f"A{n}") for n in range(3)]
    with writing(own.engine) as session:
        queue.claim(session, cases[0], 7, began)

    def after(minutes: float) -> list[int]:
        with Session(own.engine) as session:
            found = clocks(session, rules, own.now() + timedelta(minutes=minutes))
        return [found[key] for key in product((Level.CLAIM, Level.DECIDE), ("running", "out"))]

    assert after(0) == [2, 0, 1, 0]
    assert after(rules.claim_minutes + 1) == [0, 2, 1, 0]
    assert after(rules.decide_minutes + 1) == [0, 2, 0, 1]


def test_filters_show_what_they_say(own: RunningDesk) -> None:
    mine, other = own.case("A1", 100 * YUAN, wakes=0.9), own.case("A2", 900 * YUAN, through=0.8)
    own.case("B3", 5_000 * YUAN, through=0.8)
    with writing(own.engine) as session:
        queue.claim(session, mine, 7, own.now())
        queue.claim(session, other, 8, own.now())
    assert order(own, Filters(whose=Whose.MINE), 7) == ["A1"]
    assert order(own, Filters(whose=Whose.WAITING)) == ["B3"]
    assert set(order(own, Filters(whose=Whose.CLAIMED))) == {"A1", "A2"}
    assert order(own, Filters(pattern="wakes")) == ["A1"]
    assert set(order(own, Filters(least="900.00"))) == {"A2", "B3"}
    assert order(own, Filters(account="B")) == ["B3"]
    assert order(own, Filters(account="%")) == []
    assert order(own, Filters(measure=Measure.FREEZE.value)) == []
    assert order(own, Filters(page=1)) == []


@pytest.mark.parametrize(
    "query",
    [
        {"whose": "mine", "pattern": "wakes", "least": "1,000.50", "page": "2"},
        {"queue": "watch", "measure": "delay", "account": "62&x=1"},
    ],
)
def test_filters_go_into_an_address_and_come_back(query: dict[str, str]) -> None:
    from urllib.parse import parse_qsl  # noqa: PLC0415 - for this test alone

    filters = Filters.of(query)
    assert Filters.of(dict(parse_qsl(filters.query()))) == filters
    assert Filters().query() == ""


def test_what_makes_no_sense_in_an_address_is_left_out() -> None:
    assert Filters.of({"whose": "x", "queue": "y", "measure": "z", "page": "-1"}) == Filters()


def test_a_closed_case_takes_echoes_and_news_opens_another(own: RunningDesk) -> None:
    first = own.case("A1", through=0.8)
    with writing(own.engine) as session:
        assert queue.close(session, first, 1, Outcome.FALSE_ALARM, own.now())
        assert not queue.close(session, first, 1, Outcome.FALSE_ALARM, own.now())
    assert own.case("A1", through=0.8) == first
    assert own.case("A1", through=0.8, wakes=0.5) != first
    assert order(own) == ["A1"]


def test_nobody_closes_what_a_colleague_works_on(own: RunningDesk) -> None:
    case_id = own.case("A1")
    with writing(own.engine) as session:
        queue.claim(session, case_id, 7, own.now())
        assert not queue.close(session, case_id, 8, Outcome.OTHER, own.now())
        assert not queue.unclaim(session, case_id, 8, own.now())
        assert queue.close(session, case_id, 7, Outcome.OTHER, own.now())


# Over HTTP.


def test_the_next_case_is_the_worst_that_nobody_works_on(desk: RunningDesk) -> None:
    worst = desk.case("6222000000000000017", 90_000_000 * YUAN, through=0.99)
    with desk.signed_in(Role.BANK_OFFICER) as first, desk.signed_in(Role.POLICE_OFFICER) as second:
        assert first.post("/desk/next").headers["location"] == f"/desk/cases/{worst}"
        assert second.post("/desk/next").headers.get("location") != f"/desk/cases/{worst}"
        page = second.get(f"/desk/cases/{worst}")
        assert "银行甲" in page.text
        refused = second.post(f"/desk/cases/{worst}/dismiss", outcome="false_alarm")
        assert "已由其他同事接办" in refused.text


def test_many_are_dismissed_at_once_but_not_those_of_others(desk: RunningDesk) -> None:
    cases = [desk.case(f"62220000000000004{n:02}") for n in range(3)]
    with desk.signed_in(Role.BANK_OFFICER) as officer, desk.signed_in(Role.SUPERVISOR) as boss:
        boss.post(f"/desk/cases/{cases[0]}/claim")
        assert officer.post("/desk/bulk", case=cases).status_code == 422  # without a reason
        done = officer.post("/desk/bulk", case=cases, outcome="duplicate", note="同一批")
        assert done.status_code == 303
        assert [desk.case_row(each).state for each in cases] == ["claimed", "closed", "closed"]
        officer_id = desk.person_id("bank.officer")
        boss.post("/desk/reassign", case=cases, to=str(officer_id))
        assert desk.case_row(cases[0]).assignee == officer_id
        boss.post("/desk/reassign", case=cases, to=str(desk.person_id("supervisor")))
        assert desk.case_row(cases[0]).assignee == desk.person_id("supervisor")
        timeline = boss.get(f"/desk/cases/{cases[1]}").text
        assert "同一批" in timeline
    with desk.signed_in(Role.ADMINISTRATOR, "another.admin") as admin:
        assert admin.post("/desk/reassign", case=cases, to="1").status_code == 403


def test_a_view_is_kept_for_who_saved_it(desk: RunningDesk) -> None:
    with desk.signed_in(Role.BANK_OFFICER) as mine, desk.signed_in(Role.ANALYST) as other:
        mine.post("/desk/views", name="夜班专看", least="50000", whose="waiting", queue="review")
        page = mine.get("/desk").text
        assert "/desk?whose=waiting&amp;least=50000" in page
        assert "夜班专看" not in other.get("/desk").text


def test_numbers_are_masked_until_somebody_asks_and_that_is_logged(desk: RunningDesk) -> None:
    account = "6222000000000009917"
    case_id = desk.case(account)
    with desk.signed_in(Role.BANK_OFFICER) as officer, desk.signed_in(Role.ANALYST) as analyst:
        page = f"/desk/cases/{case_id}"
        assert account not in officer.get(page).text
        assert "6222…9917" in officer.get(page).text
        officer.post(f"{page}/unmask")
        assert account in officer.get(page).text
        assert "查看完整账号" in officer.get(page).text
        assert "9917" not in analyst.get(page).text
        assert "9917" not in analyst.get("/desk").text


def test_what_was_written_is_text_and_files_are_what_they_are(desk: RunningDesk) -> None:
    case_id = desk.case("6222000000000000777")
    evil = '"><script>alert(1)</script>'
    with desk.signed_in(Role.BANK_OFFICER) as officer:
        page = f"/desk/cases/{case_id}"
        officer.post(f"{page}/notes", text=evil)
        shown = officer.get(page).text
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown
        wrong = officer.post(
            f"{page}/files", files={"file": ("x.pdf", b"<html>", "application/pdf")}, kind="03"
        )
        assert wrong.status_code == 422
        right = {"file": ("止付.html", b"%PDF-1.7 ...", "text/html")}
        assert officer.post(f"{page}/files", files=right, kind="03").status_code == 303
        link = officer.get(page).text.split("/files/")[1].split('"')[0]
        answer = officer.get(f"{page}/files/{link}")
        assert answer.content == b"%PDF-1.7 ..."
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["content-disposition"].startswith("attachment")
        large = {"file": ("x.pdf", b"%PDF-" + b"x" * (5 * 2**20), "application/pdf")}
        assert officer.post(f"{page}/files", files=large, kind="03").status_code == 413


def test_both_languages_say_the_same_things() -> None:
    from sluicegate.desk.pages.words import WORDS  # noqa: PLC0415 - for this test alone

    assert list(WORDS["zh"]) == list(WORDS["en"])
    assert all(WORDS["zh"].values())


def test_while_the_database_is_away_the_page_says_so(tmp_path: Path) -> None:
    with RunningDesk(tmp_path) as running, running.signed_in(Role.BANK_OFFICER) as officer:
        (tmp_path / "desk.db").rename(tmp_path / "away.db")
        running.engine.dispose()
        (tmp_path / "desk.db").mkdir()
        away = officer.get("/desk")
        assert away.status_code == 503
        assert "不会丢失" in away.text
        (tmp_path / "desk.db").rmdir()
        (tmp_path / "away.db").rename(tmp_path / "desk.db")
        assert officer.get("/desk").status_code == 200
