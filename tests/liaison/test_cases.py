"""Alerts of one account are one case; as many of the worst are reviewed as there is time for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from sluicegate.domain.alert import Alert, Reason, alert_id
from sluicegate.domain.measure import Measure
from sluicegate.liaison.cases import (
    USUAL,
    CaseAlertRow,
    CaseRow,
    CaseRules,
    Queue,
    cases_of,
    counts,
    group_alerts,
)
from sluicegate.liaison.database import create_tables, open_database, store_alerts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/liaison.db")
    create_tables(engine)
    yield engine
    engine.dispose()


def alert(
    number: int,
    account: str = "A",
    at: datetime = NOW,
    measure: Measure = Measure.VERIFY,
    minor: int = 100,
    **patterns: float,
) -> Alert:
    rest = 1.0
    for strength in patterns.values():
        rest *= 1 - strength
    return Alert(
        id=alert_id(f"T{number}", account, "outflow"),
        transaction_id=f"T{number}",
        account=account,
        side="outflow",
        counterparty=None,
        amount_minor=minor,
        currency="CNY",
        score=1 - rest,
        measure=measure,
        reasons=tuple(
            Reason(pattern=name, strength=strength, zh="因", en="why")
            for name, strength in patterns.items()
        ),
        facts={},
        occurred_at=at,
        recorded_at=at,
        detected_at=at,
        pattern_set_version="0123456789abcdef",
        origin="stream",
    )


def store(engine: Engine, *alerts: Alert, at: datetime = NOW, rules: CaseRules = USUAL) -> None:
    def group(session: Session, new: Sequence[Alert]) -> None:
        group_alerts(session, new, at, rules)

    store_alerts(engine, alerts, at, group)


def cases(engine: Engine) -> list[CaseRow]:
    with Session(engine) as session:
        return list(session.scalars(select(CaseRow).order_by(CaseRow.account, CaseRow.first_at)))


def test_what_tells_nothing_new_raises_a_count(engine: Engine) -> None:
    store(engine, alert(1, through=0.6), alert(2, at=NOW + HOUR, through=0.5))
    store(engine, alert(3, at=NOW + 2 * HOUR, through=0.7))
    (case,) = cases(engine)
    assert (case.alerts, case.echoes) == (3, 2)
    assert (case.first_at, case.last_at) == (NOW, NOW + 2 * HOUR)
    assert case.patterns == {"through": 0.7}
    assert case.rank == pytest.approx(0.7)


def test_a_new_pattern_a_heavier_measure_or_a_larger_amount_is_news(engine: Engine) -> None:
    store(
        engine,
        alert(1, through=0.6),
        alert(2, through=0.6, wakes=0.5),
        alert(3, measure=Measure.LIMIT, through=0.6),
        alert(4, minor=200, through=0.6),
        alert(5, through=0.6),
    )
    (case,) = cases(engine)
    assert (case.alerts, case.echoes) == (5, 1)
    assert case.rank == pytest.approx(0.8)
    assert (case.measure, case.amount_minor) == ("limit", 200)


def test_after_a_day_of_silence_another_case_opens(engine: Engine) -> None:
    day = timedelta(days=1)
    store(engine, alert(1, through=0.6), alert(2, at=NOW + day, through=0.6))
    store(engine, alert(3, at=NOW + 2 * day + timedelta(seconds=1), through=0.6))
    store(engine, alert(4, account="B", through=0.6))
    assert [(case.account, case.alerts) for case in cases(engine)] == [("A", 2), ("A", 1), ("B", 1)]


def test_an_alert_that_comes_again_changes_no_case(engine: Engine) -> None:
    store(engine, alert(1, through=0.6), alert(1, through=0.6))
    store(engine, alert(1, through=0.6), alert(2, through=0.6))
    (case,) = cases(engine)
    assert case.alerts == 2
    with Session(engine) as session:
        links = list(session.scalars(select(CaseAlertRow.case_id)))
    assert links == [case.id] * 2


def test_only_so_many_are_for_review_as_there_is_time_for(engine: Engine) -> None:
    rules = CaseRules(capacity=2)
    for number, strength in enumerate([0.5, 0.6, 0.7, 0.55, 0.8]):
        store(engine, alert(number, f"A{number}", through=strength), rules=rules)
    placed = [(case.queue, round(case.cut_off, 2)) for case in cases(engine)]
    assert placed == [
        ("review", 0.0),
        ("review", 0.0),
        ("review", 0.5),
        ("watch", 0.6),
        ("review", 0.6),
    ]
    store(engine, alert(9, "A3", wakes=0.9), rules=rules)
    assert cases(engine)[3].queue == "review"  # it has become worse
    with Session(engine) as session:
        ranked = [case.account for case in cases_of(session, Queue.REVIEW, 3)]
        assert counts(session) == {"review": 5}
    assert ranked == ["A3", "A4", "A2"]


def test_the_cut_off_looks_a_day_back(engine: Engine) -> None:
    rules = CaseRules(capacity=1)
    store(engine, alert(1, "A1", through=0.9), rules=rules)
    store(engine, alert(2, "A2", through=0.5), at=NOW + 23 * HOUR, rules=rules)
    store(engine, alert(3, "A3", through=0.5), at=NOW + 49 * HOUR, rules=rules)
    assert [case.queue for case in cases(engine)] == ["review", "watch", "review"]


STREAMS = st.lists(
    st.tuples(
        st.sampled_from("ABC"),
        st.integers(0, 200),
        st.dictionaries(st.sampled_from(["p", "q", "r"]), st.floats(0.1, 0.9), min_size=1),
    ),
    max_size=25,
)


@given(STREAMS, st.lists(st.integers(1, 5), min_size=1, max_size=25))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_however_alerts_are_cut_into_batches_each_is_in_one_case(
    stream: list[tuple[str, int, dict[str, float]]], cuts: list[int]
) -> None:
    engine = create_engine("sqlite://")
    create_tables(engine)
    alerts = [
        alert(number, account, NOW + hours * HOUR, Measure.VERIFY, 100, **patterns)
        for number, (account, hours, patterns) in enumerate(stream)
    ]
    rest = list(alerts)
    for cut in [*cuts, len(alerts)]:
        store(engine, *rest[:cut])
        rest = rest[cut:]
    found = cases(engine)
    assert sum(case.alerts for case in found) == len(alerts)
    with Session(engine) as session:
        links = {row.alert_id: row.case_id for row in session.scalars(select(CaseAlertRow))}
    assert set(links) == {each.id for each in alerts}
    of = {case.id: case.account for case in found}
    assert all(of[links[each.id]] == each.account for each in alerts)
    for case in found:
        assert 0 <= case.echoes < case.alerts
    engine.dispose()
