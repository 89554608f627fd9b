"""Figures: what counts when and once, shifts, the page and its CSV."""

from __future__ import annotations

import csv
import itertools
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from tests.desk.desk import RunningDesk, an_alert

from sluicegate.desk import figures, queue
from sluicegate.desk.figures import percentile
from sluicegate.desk.queue import Outcome
from sluicegate.desk.roles import Role
from sluicegate.desk.shifts import Shift, day_at, shift_of, shifts_on
from sluicegate.desk.tables import MeasureRow
from sluicegate.liaison.cases import CaseRow

if TYPE_CHECKING:
    from collections.abc import Iterator

BEIJING = timezone(timedelta(hours=8))
AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
"""09:00 in Beijing."""
A_DAY = day_at(date(2026, 3, 2), BEIJING)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    with RunningDesk(tmp_path_factory.mktemp("figures")) as running:
        _a_day_of_work(running)
        yield running


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def _a_day_of_work(desk: RunningDesk) -> None:
    """Five cases at 09:00: one stopped and then frozen, one wrongly, two dismissed, one open."""
    accounts = ["STOPPED", "WRONG", "FALSE1", "FALSE2", "OPEN"]
    for n, account in enumerate(accounts):
        desk.alerts(an_alert(n, account, AT, convergence=0.8), at=AT)
    desk.alerts(an_alert(9, "STOPPED", AT + minutes(3), convergence=0.9), at=AT + minutes(3))
    with Session(desk.engine) as session, session.begin():
        ids = {row.account: row.id for row in session.query(CaseRow)}
        for account, after in (("FALSE1", 2), ("FALSE2", 6)):
            queue.close(session, ids[account], 1, Outcome.FALSE_ALARM, AT + minutes(after))
        stop = _measure("STOPPED", ids, 4, held_minor=700_000)
        session.add_all([stop, _measure("STOPPED", ids, 30, measure="freeze", held_minor=650_000)])
        wrong = _measure("WRONG", ids, 10, held_minor=5_000)
        session.add(wrong)
        session.flush()
        released = AT + timedelta(hours=9)
        session.add(
            _measure("WRONG", ids, 0, action="release", of_id=wrong.id, ground="appeal",
                     decided_at=released, answered_at=released)
        )  # fmt: skip
        for account, after in (("STOPPED", 4), ("WRONG", 10)):
            session.execute(
                update(CaseRow)
                .where(CaseRow.id == ids[account])
                .values(decided_at=AT + minutes(after))
            )


def _measure(account: str, ids: dict[str, str], after: float, **changed: Any) -> MeasureRow:
    at = AT + minutes(after)
    usual = {
        "id": uuid.uuid4().hex, "case_id": ids[account], "account": account, "action": "impose",
        "measure": "stop_payment", "basis": "police", "whole_because": "", "reason": "r",
        "state": "in_force", "proposed_at": at, "decided_at": at, "begins_at": at,
        "answered_at": at + timedelta(seconds=2), "answer": "done",
    }  # fmt: skip
    return MeasureRow(**usual | changed)


def test_a_day_counts_what_happened_in_it_and_money_once_an_account(desk: RunningDesk) -> None:
    with Session(desk.engine) as session:
        made = figures.report(session, [A_DAY])
    total = made.total
    assert (total.alerts, total.cases, total.decisions, total.dismissed) == (6, 5, 4, 2)
    assert total.stopped_minor == 705_000
    assert percentile(total.took, 0.5) == minutes(4)
    assert percentile(total.took, 0.9) == minutes(10)
    assert total.wrong == [timedelta(hours=9) - minutes(10)]
    assert list(made.by_pattern) == ["convergence"]
    assert made.by_pattern["convergence"].stopped_minor == 705_000


def test_each_shift_has_its_own_and_together_they_are_the_day(desk: RunningDesk) -> None:
    shifts = shifts_on(date(2026, 3, 2), 8, BEIJING)
    with Session(desk.engine) as session:
        made = figures.report(session, shifts)
        after = figures.report(session, [day_at(date(2026, 3, 3), BEIJING)])
    assert [each.decisions for _, each in made.stretches] == [4, 0, 0]
    assert [len(each.wrong) for _, each in made.stretches] == [0, 1, 0]  # 18:00, the second
    assert made.total.decisions == 4
    assert (after.total.alerts, after.total.decisions, after.by_pattern) == (0, 0, {})


def test_shifts_fill_the_day_from_eight_to_eight() -> None:
    for hours in (1, 5, 8, 12, 24):
        shifts = shifts_on(date(2026, 3, 2), hours, BEIJING)
        assert shifts[0].begins_at == A_DAY.begins_at
        assert shifts[-1].ends_at == A_DAY.ends_at
        pairs = itertools.pairwise(shifts)
        assert all(before.ends_at == after.begins_at for before, after in pairs)
    night = shift_of(datetime(2026, 3, 2, 23, 30, tzinfo=UTC), 8, BEIJING)  # 07:30 in Beijing
    assert night == Shift(A_DAY.begins_at + timedelta(hours=16), A_DAY.ends_at)
    assert night.day == date(2026, 3, 2)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.9, 7), ([1, 2, 3, 4], 0.5, 2), (list(range(1, 11)), 0.9, 9)],
)
def test_percentiles_are_by_nearest_rank(
    values: list[int], share: float, expected: int | None
) -> None:
    found = percentile([minutes(each) for each in values], share)
    assert found == (None if expected is None else minutes(expected))


def test_the_page_draws_and_the_csv_tells_the_same(desk: RunningDesk) -> None:
    with desk.signed_in(Role.ANALYST) as analyst:
        page = analyst.get("/desk/figures?last=2026-03-02&days=2&by=shift").text
        file = analyst.get("/desk/figures.csv?last=2026-03-02&days=2&by=shift")
        for odd in ("last=x&days=x", "days=0", "days=999", "last=0001-01-01", "last=9999-12-31"):
            assert analyst.get(f"/desk/figures?{odd}").status_code == 200
    assert page.count('<svg class="chart"') == 4
    assert "7,050.00" in page
    assert page.count("<script") == 3  # those of every page: charts need none
    rows = list(csv.DictReader(StringIO(file.content.decode("utf-8-sig"))))
    assert len(rows) == 7
    first_shift = next(each for each in rows if each["begins_at"] == "2026-03-02T08:00:00+08:00")
    assert first_shift["stopped_yuan"] == "7050.00"
    assert first_shift["decided_p90_seconds"] == "600"
    assert (rows[-1]["pattern"], rows[-1]["alerts"], rows[-1]["wrong"]) == ("convergence", "", "1")
