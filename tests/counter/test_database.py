"""The counter's tables by themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from tests.postgresql import postgresql

from sluicegate.counter.contract import CheckTold, OutcomeKind, OutcomeTold
from sluicegate.counter.database import (
    Base,
    CheckRow,
    add_outcome,
    all_keys,
    answer_before,
    find_check,
    mark_sent,
    open_counter_database,
    revoke_key,
    store_checks,
    unsent_alerts,
)
from sluicegate.counter.keys import Scope, create_key

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 3, 8, 4, 0, tzinfo=UTC)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('counter') / 'counter.db'}"
    else:
        with postgresql() as made:
            yield made


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    made = open_counter_database(url)
    create_key(made, "0101", frozenset({Scope.CHECK}), NOW)
    yield made
    Base.metadata.drop_all(made)
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


def told(check_id: str) -> dict[str, Any]:
    return {
        "check_id": check_id,
        "transaction_id": check_id,
        "verdict": "verify",
        "score": 0.5,
        "measure": "verify",
        "sides": (),
        "questions": (),
        "say": (),
        "next_step": {"zh": "先核实", "en": "Verify"},
        "desk_phone": "",
        "degraded": True,
        "degraded_because": ("away",),
        "pattern_set_version": None,
        "took_ms": 1.5,
    }


def persuaded() -> OutcomeTold:
    return OutcomeTold(
        outcome=OutcomeKind.CUSTOMER_PERSUADED, note="女儿来电", answers={"?": "no"}, at=NOW
    )


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


@pytest.mark.parametrize(
    "change", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"]
)
def test_the_audit_can_only_be_added_to(engine: Engine, change: str) -> None:
    store_checks(engine, [check(engine, "c1", answer=told("c1"))])
    add_outcome(engine, "c1", all_keys(engine)[0].id, persuaded())
    if change.startswith("TRUNCATE") and engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no TRUNCATE: its DELETE is refused")
    for table in ("counter_checks", "counter_outcomes"):
        with (
            pytest.raises(IntegrityError, match="only ever added"),
            engine.begin() as connection,
        ):
            connection.execute(text(change.format(table)))
    assert stored(engine) == ["c1"]


def test_a_check_is_found_as_it_was_stored_with_its_outcomes(engine: Engine) -> None:
    row = check(engine, "c1", idempotency_key="k", answer=told("c1"), customer={"age": 71})
    assert store_checks(engine, [row]) == [True]
    add_outcome(engine, "c1", all_keys(engine)[0].id, persuaded())
    kept = find_check(engine, "c1", "0101")
    assert kept is not None
    assert (kept.at, kept.customer.age, kept.answer) == (NOW, 71, CheckTold(**told("c1")))
    assert kept.outcomes == (persuaded(),)
    assert find_check(engine, "c1", "0202") is None
    assert answer_before(engine, all_keys(engine)[0].id, "k") == ("0" * 64, kept.answer)


def test_an_alert_waits_until_it_is_marked(engine: Engine) -> None:
    alerts = [
        {"id": name, "check_id": "c1", "account": "A", "value": "{}", "sent_at": None}
        for name in ("a1", "a2")
    ]
    store_checks(engine, [(check(engine, "c1")[0], alerts)])
    mark_sent(engine, ["a1"], NOW)
    assert unsent_alerts(engine) == [("a2", "A", "{}")]


def test_a_key_is_revoked_once(engine: Engine) -> None:
    (key,) = all_keys(engine)
    assert (key.branch, key.scopes, key.created_at) == ("0101", ["check"], NOW)
    assert revoke_key(engine, key.id, NOW)
    assert not revoke_key(engine, key.id, NOW)
    assert all_keys(engine)[0].revoked_at == NOW


def test_tables_that_are_there_stay_as_they_are(engine: Engine, url: str) -> None:
    store_checks(engine, [check(engine, "c1")])
    again = open_counter_database(url)
    assert stored(again) == ["c1"]
    again.dispose()
