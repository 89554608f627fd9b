"""The desk's database keeps each alert once, exactly as it came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from sluicegate.errors import Problem
from sluicegate.liaison.database import (
    AlertRow,
    _insert_or_ignore,
    create_tables,
    open_database,
    reason_of,
    store_alerts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from sluicegate.domain.alert import Alert

    MakeAlert = Callable[..., Alert]

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/desk/liaison.db")
    create_tables(engine)
    yield engine
    engine.dispose()


def stored_ids(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return sorted(session.scalars(select(AlertRow.id)))


def test_an_alert_is_stored_as_it_came(engine: Engine, make_alert: MakeAlert) -> None:
    alert = make_alert()
    assert store_alerts(engine, [alert], NOW).new == {alert.id}
    with Session(engine) as session:
        row = session.scalars(select(AlertRow)).one()
    assert row.reasons == [each.model_dump() for each in alert.reasons]
    assert row.facts == alert.facts
    assert row.measure == "delay"
    assert row.counterparty is None
    assert (row.occurred_at, row.recorded_at, row.detected_at, row.received_at) == (
        alert.occurred_at,
        alert.recorded_at,
        alert.detected_at,
        NOW,
    )


def test_a_time_of_another_zone_is_the_same_moment_when_read(
    engine: Engine, make_alert: MakeAlert
) -> None:
    china = timezone(timedelta(hours=8))
    store_alerts(engine, [make_alert(occurred_at=NOW.astimezone(china))], NOW)
    with Session(engine) as session:
        row = session.scalars(select(AlertRow)).one()
    assert row.occurred_at == NOW
    assert row.occurred_at.tzinfo is UTC


def test_a_repeated_alert_changes_nothing(engine: Engine, make_alert: MakeAlert) -> None:
    first, second = make_alert("T1"), make_alert("T2")
    store_alerts(engine, [first], NOW)
    again = first.model_copy(update={"score": 0.1})
    stored = store_alerts(engine, [again, second, second], NOW + timedelta(hours=1))
    assert stored.new == {second.id}
    with Session(engine) as session:
        assert session.get_one(AlertRow, first.id).score == 0.82
    assert len(stored_ids(engine)) == 2


def test_an_alert_the_database_can_never_take_does_not_hold_up_the_others(
    engine: Engine, make_alert: MakeAlert
) -> None:
    good, bad = make_alert("T1"), make_alert("T2", amount_minor=2**63)
    stored = store_alerts(engine, [bad, good], NOW)
    assert stored.new == {good.id}
    assert list(stored.refused) == [bad.id]
    assert stored_ids(engine) == [good.id]


def test_a_database_without_insert_or_ignore_keeps_each_alert_once(
    engine: Engine, make_alert: MakeAlert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluicegate.liaison.database._insert_or_ignore", lambda _: None)
    first, second = make_alert("T1"), make_alert("T2")
    assert store_alerts(engine, [first, first], NOW).new == {first.id}
    assert store_alerts(engine, [first, second], NOW).new == {second.id}
    assert store_alerts(engine, [first, second], NOW).new == set()


def test_a_failure_stores_nothing_of_the_batch_and_names_no_account(
    engine: Engine, make_alert: MakeAlert
) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE alerts RENAME TO elsewhere"))
    with pytest.raises(OperationalError) as caught:
        store_alerts(engine, [make_alert()], NOW)
    assert reason_of(caught.value) == "no such table: alerts"


def test_a_commit_reaches_the_disk_before_it_returns(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"


def test_postgresql_is_told_to_pass_over_what_is_there() -> None:
    statement = _insert_or_ignore("postgresql")
    assert statement is not None
    sql = str(statement.returning(AlertRow.id).compile(dialect=PGDialect()))  # type: ignore[no-untyped-call]
    assert sql.endswith("ON CONFLICT (id) DO NOTHING RETURNING alerts.id")


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("liaison.db", "Could not parse SQLAlchemy URL"),
        ("nosuchdb://x/y", "nosuchdb"),
        ("postgresql+psycopg2cffi://db/x", "psycopg2cffi"),
        ("postgresql://db:port/x", "port"),
    ],
)
def test_a_url_that_opens_no_database_is_a_problem(url: str, part: str) -> None:
    with pytest.raises(Problem, match="database_url") as caught:
        open_database(url)
    assert part in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Problem, match="folder"):
        open_database(f"sqlite:///{tmp_path}/file/liaison.db")
