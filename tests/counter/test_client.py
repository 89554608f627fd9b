"""The Python client, over real HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from sluicegate.counter.client import (
    CounterClient,
    CounterError,
    CustomerFacts,
    OutcomeKind,
    Verdict,
    intended,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.counter.counter import RunningCounter

    from sluicegate.streaming.scoring import Scoring

PAYER, PAYEE = "6222021234567890123", "6217009876543210987"


@pytest.fixture
def client(counter: RunningCounter) -> Iterator[CounterClient]:
    key = counter.key()["Authorization"].removeprefix("Bearer ")
    with CounterClient(str(counter.client.base_url), key) as made:
        yield made


def test_a_check_its_outcome_and_its_record(client: CounterClient) -> None:
    told = client.check(
        amount=Decimal("98000.00"),
        payer_account=PAYER,
        payee_account=PAYEE,
        customer=CustomerFacts(age=67, purpose="investment"),
        kind="transfer",
    )
    assert told.verdict is Verdict.VERIFY
    client.add_outcome(told.check_id, OutcomeKind.REFUSED, "will come back", {"who": "a friend"})
    kept = client.kept(told.check_id)
    assert kept.answer == told
    assert kept.transaction["kind"] == "transfer"
    assert kept.outcomes[0].outcome is OutcomeKind.REFUSED
    assert kept.outcomes[0].answers == {"who": "a friend"}


def test_a_batch(client: CounterClient) -> None:
    asked = [intended(amount=n, payer_account=PAYER, payee_account=PAYEE) for n in (1, 2, 3)]
    assert [each.verdict for each in client.check_all(asked)] == [Verdict.ALLOW] * 3


def test_an_account(client: CounterClient, counter: RunningCounter, scoring: Scoring) -> None:
    assert client.account(PAYER) is None
    counter.held.paid(scoring, PAYER, PAYEE, 100, ago_s=60)
    told = client.account(PAYER)
    assert told is not None
    assert told.inflow_count == 1


def test_what_is_refused_says_why(client: CounterClient) -> None:
    with pytest.raises(CounterError, match="AMOUNT_TOO_PRECISE") as caught:
        client.check(amount="1.234", payer_account=PAYER)
    assert caught.value.problem.status == 422
    assert caught.value.retry_after_seconds is None
