"""The database's versions: migrated tables are the declared ones, old databases come along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from sluicegate.desk.tables import PersonRow
from sluicegate.liaison.cases import CaseRow
from sluicegate.liaison.database import AlertRow, Base, open_database
from sluicegate.liaison.schema import BEFORE_VERSIONS, _config, prepare_tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/desk.db")
    yield engine
    engine.dispose()


def test_migrations_make_the_tables_that_are_declared(engine: Engine) -> None:
    prepare_tables(engine)
    prepare_tables(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_of_before_there_were_versions_comes_along(engine: Engine) -> None:
    from alembic import command  # noqa: PLC0415 - for this test alone

    with engine.begin() as connection:
        command.upgrade(_config(connection), BEFORE_VERSIONS)
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(
            text(
                "INSERT INTO cases VALUES ('c1', 'A', '2026-03-01 01:30:00', "
                "'2026-03-01 01:30:00', 1, 0, '{\"pass-through\": 0.8}', 0.8, 'delay', 50000, "
                "'review', 0.0, '2026-03-01 01:30:00')"
            )
        )
    prepare_tables(engine)
    with Session(engine) as session:
        (case,) = session.scalars(select(CaseRow))
    assert (case.state, case.at_risk_minor, case.weight) == ("waiting", 50_000, 40_000.0)
    assert case.queued_s == int(case.received_at.timestamp())


def test_a_filled_database_of_the_version_before_comes_along(engine: Engine) -> None:
    from alembic import command  # noqa: PLC0415 - for this test alone

    at = {"at": "2026-03-01 01:30:00"}
    with engine.begin() as connection:
        command.upgrade(_config(connection), "0003")
        connection.execute(
            text(
                "INSERT INTO desk_people VALUES (7, 'li.wei', 'Li Wei', 'bank_officer', 'hash', "
                "false, 'JBSWY3DP', 3, 5, :at, :at, NULL)"
            ),
            at,
        )
        connection.execute(
            text(
                "INSERT INTO alerts VALUES ('a1', 'T1', 'A', 'outflow', NULL, 1, 'CNY', 0.9, "
                "'delay', '[]', '{}', :at, :at, :at, 'v', 'stream', :at)"
            ),
            at,
        )
    prepare_tables(engine)
    with Session(engine) as session:
        (person,) = session.scalars(select(PersonRow))
        (alert,) = session.scalars(select(AlertRow))
    assert (person.id, person.name, person.totp_secret) == (7, "li.wei", "JBSWY3DP")
    assert (alert.id, alert.model_version) == ("a1", None)
