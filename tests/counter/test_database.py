"""The counter's tables by themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from sluicegate.counter.database import CheckRow, all_keys, open_counter_database, store_checks
from sluicegate.counter.keys import Scope, create_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 3, 8, 4, 0, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_counter_database(f"sqlite:///{tmp_path / 'counter.db'}")
    create_key(made, "0101", frozenset({Scope.CHECK}), NOW)
    yield made
    made.dispose()


def check(engine: Engine, name: str, **changed: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    row = {
        "id": name,
        "at": NOW,
        "key_id": all_keys(engine)[0].id,
        "branch": "0101",
        "idempotency_key": None,
        "digest": "0" * 64,
        "payer_account": "A",
        "payee_account": "B",
        "amount_minor": 100,
        "verdict": "allow",
        "score": 0.0,
        "degraded": False,
        "transaction": {},
        "customer": {},
        "answer": {},
    }
    return row | changed, []


def stored(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return list(session.scalars(select(CheckRow.id).order_by(CheckRow.id)))


def test_a_used_key_stops_its_own_check_and_no_other(engine: Engine) -> None:
    assert store_checks(engine, [check(engine, "c1", idempotency_key="k")]) == [True]
    more = [check(engine, "c2", idempotency_key="k"), check(engine, "c3")]
    assert store_checks(engine, more) == [False, True]
    assert stored(engine) == ["c1", "c3"]


def test_a_check_that_can_never_be_stored_does_not_hold_up_the_others(engine: Engine) -> None:
    more = [check(engine, "c1", amount_minor=2**63), check(engine, "c2")]
    assert store_checks(engine, more) == [False, True]
    assert stored(engine) == ["c2"]
