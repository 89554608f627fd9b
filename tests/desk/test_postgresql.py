"""The desk on a real PostgreSQL server, started here as a user without rights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from tests.desk.desk import RunningDesk
from tests.postgresql import postgresql_server

from sluicegate.desk import audit, queue
from sluicegate.desk.keeper import keep
from sluicegate.desk.queue import Filters
from sluicegate.desk.roles import Role
from sluicegate.desk.tables import MeasureRow
from sluicegate.liaison.database import Base
from sluicegate.liaison.schema import writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgresql import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql_server() as running:
        yield running


@pytest.fixture(scope="module")
def desk(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    with RunningDesk(tmp_path_factory.mktemp("desk"), server.url) as running:
        yield running


def test_migrations_make_the_tables_that_are_declared(desk: RunningDesk) -> None:
    with desk.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_database_refuses_changes_of_the_audit(desk: RunningDesk) -> None:
    for change in (
        "UPDATE desk_audit SET person = 'x'",
        "DELETE FROM desk_audit",
        "TRUNCATE desk_audit",
    ):
        with pytest.raises(DBAPIError, match="only ever added"), desk.engine.begin() as connection:
            connection.execute(text(change))


def test_of_many_who_claim_at_once_one_gets_each_case_and_the_chain_holds(
    desk: RunningDesk,
) -> None:
    cases = [desk.case(f"62220000000000070{n:02}") for n in range(6)]

    def claim_all(person: int) -> list[str]:
        won = []
        for case_id in cases:
            with writing(desk.engine) as session:
                if queue.claim(session, case_id, person, desk.now()):
                    act = audit.Act(desk.now(), str(person), "-", "claimed", case_id, {"说明": 1})
                    audit.append(session, act)
                    won.append(case_id)
        return won

    with ThreadPoolExecutor(8) as pool:
        won = [case_id for each in pool.map(claim_all, range(1, 9)) for case_id in each]
    assert sorted(won) == sorted(cases)
    with Session(desk.engine) as session:
        assert audit.verify(audit.entries(session), audit.head_of(session)) is None


def test_a_stop_payment_goes_its_way(desk: RunningDesk) -> None:
    case_id = desk.case("6222000000000007077", 90_000_000)
    with desk.signed_in(Role.BANK_OFFICER) as officer, desk.signed_in(Role.SUPERVISOR) as second:
        assert officer.post("/desk/next").headers["location"] == f"/desk/cases/{case_id}"
        officer.post(
            f"/desk/cases/{case_id}/measures", measure="stop_payment", basis="emergency",
            reason="资金正在转移", hours="48",
        )  # fmt: skip
        with Session(desk.engine) as session:
            (row,) = session.query(MeasureRow).filter_by(case_id=case_id)
        second.post(f"/desk/measures/{row.id}/decide", decision="approve")
        keep(desk.engine, desk.settings, desk.now() + timedelta(hours=48, minutes=1))
        assert "措施到期" in officer.get(f"/desk/cases/{case_id}").text
        for path in ("", "/rows", "/measures", "/lists"):
            assert officer.get(f"/desk{path}").status_code == 200
        assert second.get("/desk/audit").status_code == 200
    with Session(desk.engine) as session:
        filters = Filters(least="1.00", account="6222", pattern="pass-through")
        assert queue.count(session, filters, 0) == len(queue.worst(session, filters, 0, desk.now()))


def test_while_the_server_is_away_the_page_says_so_and_then_all_is_as_before(
    desk: RunningDesk, server: Server
) -> None:
    with desk.signed_in(Role.BANK_OFFICER) as officer:
        server.stop()
        away = officer.get("/desk")
        assert away.status_code == 503
        assert "不会丢失" in away.text
        server.start()
        assert officer.get("/desk").status_code == 200
