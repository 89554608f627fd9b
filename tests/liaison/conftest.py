"""What the tests of the liaison consumer share: an alert to vary."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, as it reads its files
    import kafka  # type: ignore[import-untyped] # noqa: F401

from sluicegate.domain.alert import Alert, Reason, alert_id
from sluicegate.domain.measure import Measure

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)
MakeAlert = Callable[..., Alert]


def an_alert(transaction: str = "T1", **changes: object) -> Alert:
    """A valid alert of this transaction; `changes` are not validated."""
    alert = Alert(
        id=alert_id(transaction, "6222000011112222", "inflow"),
        transaction_id=transaction,
        account="6222000011112222",
        side="inflow",
        counterparty=None,
        amount_minor=5_000_000,
        currency="CNY",
        score=0.82,
        measure=Measure.DELAY,
        reasons=(Reason(pattern="pass-through", strength=0.8, zh="快进快出", en="in and out"),),
        facts={"inflow_1h": 5_000_000.0},
        occurred_at=NOW - timedelta(seconds=2),
        recorded_at=NOW - timedelta(seconds=1),
        detected_at=NOW,
        pattern_set_version="0123456789abcdef",
        origin="stream",
    )
    return alert.model_copy(update=changes)


@pytest.fixture
def make_alert() -> MakeAlert:
    """`an_alert`, for test modules: with importlib mode they cannot import it from here."""
    return an_alert
