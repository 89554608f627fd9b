"""The audit's chain: whatever is done to it shows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from sluicegate.cli import app
from sluicegate.desk import audit
from sluicegate.errors import Problem
from sluicegate.liaison.database import open_database
from sluicegate.liaison.schema import prepare_tables, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/desk.db"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    prepare_tables(engine)
    for number in range(5):
        with writing(engine) as session:
            act = audit.Act(
                NOW + timedelta(seconds=number), "li.wei", "supervisor", "claimed", f"case{number}",
                {"说明": "一", "n": number},
            )  # fmt: skip
            audit.append(session, act)
    yield engine
    engine.dispose()


def fault_of(engine: Engine) -> audit.Fault | None:
    with Session(engine) as session:
        return audit.verify(audit.entries(session), audit.head_of(session))


def tamper(engine: Engine, *statements: str) -> None:
    """As somebody would who has the database's own password."""
    with engine.begin() as connection:
        for change in ("update", "delete"):
            connection.execute(text(f"DROP TRIGGER IF EXISTS desk_audit_no_{change}"))
        for each in statements:
            connection.execute(text(each))


def test_an_untouched_chain_has_no_fault(engine: Engine) -> None:
    assert fault_of(engine) is None


@pytest.mark.parametrize(
    ("statements", "seq"),
    [
        (["UPDATE desk_audit SET person = 'somebody' WHERE seq = 3"], 3),
        (["UPDATE desk_audit SET details = '{\"n\": 7}' WHERE seq = 2"], 2),
        (["UPDATE desk_audit SET at = '2026-03-01 01:31:00' WHERE seq = 1"], 1),
        (["DELETE FROM desk_audit WHERE seq = 3"], 3),
        (["DELETE FROM desk_audit WHERE seq = 1"], 1),
        (["DELETE FROM desk_audit WHERE seq = 5"], 5),
        (["DELETE FROM desk_audit"], 1),
        (
            [
                "UPDATE desk_audit SET seq = 9 WHERE seq = 2",
                "UPDATE desk_audit SET seq = 2 WHERE seq = 3",
                "UPDATE desk_audit SET seq = 3 WHERE seq = 9",
            ],
            2,
        ),
        (
            [
                """INSERT INTO desk_audit SELECT 6, at, person, role, action, subject,
                details, hash, hash FROM desk_audit WHERE seq = 5"""
            ],
            6,
        ),
    ],
)
def test_an_edit_a_deletion_and_a_change_of_order_show(
    engine: Engine, statements: list[str], seq: int
) -> None:
    tamper(engine, *statements)
    fault = fault_of(engine)
    assert fault is not None
    assert fault.seq == seq


@pytest.mark.parametrize("change", ["UPDATE desk_audit SET person = 'x'", "DELETE FROM desk_audit"])
def test_the_database_refuses_changes(engine: Engine, change: str) -> None:
    with pytest.raises(DBAPIError, match="only ever added"), engine.begin() as connection:
        connection.execute(text(change))


def test_a_chain_written_anew_differs_from_a_head_noted_elsewhere(
    engine: Engine, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEGATE_LIAISON__DATABASE_URL", url)
    run = CliRunner()
    told = run.invoke(app, ["desk", "audit", "verify"])
    assert told.exit_code == 0
    head = told.output.strip().rpartition(" ")[2]
    assert head.startswith("5:")
    out = tmp_path / "audit.ndjson"
    assert run.invoke(app, ["desk", "audit", "export", str(out)]).exit_code == 0
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[0]["details"] == {"说明": "一", "n": 0}

    tamper(
        engine,
        "DELETE FROM desk_audit",
        f"UPDATE desk_audit_head SET seq = 0, hash = '{audit.FIRST}'",  # noqa: S608 - a constant
    )
    for number in range(5):
        with writing(engine) as session:
            audit.append(session, audit.Act(NOW, "x", "x", "claimed", f"case{number}"))
    assert run.invoke(app, ["desk", "audit", "verify"]).exit_code == 0
    anew = run.invoke(app, ["desk", "audit", "verify", "--head", head])
    assert isinstance(anew.exception, Problem)
