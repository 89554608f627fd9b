import re
from typing import Any

import pytest
from pydantic import ValidationError

from sluicegate.domain.alert import Alert, Side, alert_id, moment_of, moment_text
from sluicegate.domain.measure import Measure

SIDES: tuple[Side, ...] = ("outflow", "inflow")


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "id": alert_id("T-1", "A", "outflow"),
        "transaction_id": "T-1",
        "account": "A",
        "side": "outflow",
        "counterparty": None,
        "amount_minor": 100,
        "currency": "CNY",
        "score": 0.5,
        "measure": "verify",
        "reasons": [{"pattern": "p", "strength": 0.5, "zh": "一", "en": "one"}],
        "facts": {"amount": 1.0},
        "occurred_at": "2026-03-01T18:02:00.000+08:00",
        "recorded_at": "2026-03-01T10:02:00.001Z",
        "detected_at": "2026-03-01T10:02:00.002Z",
        "pattern_set_version": "0123456789abcdef",
        "origin": "stream",
    } | changes


def test_times_are_written_in_utc_with_milliseconds() -> None:
    alert = Alert.model_validate(fields())
    assert '"occurred_at":"2026-03-01T10:02:00.000Z"' in alert.model_dump_json()
    assert moment_text(moment_of(1_772_359_320_007)) == "2026-03-01T10:02:00.007Z"
    assert moment_text(moment_of(0)) == "1970-01-01T00:00:00.000Z"


def test_an_alert_survives_its_json() -> None:
    alert = Alert.model_validate(fields())
    assert Alert.model_validate_json(alert.model_dump_json()) == alert


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert Alert.model_validate(fields(case="C-1")) == Alert.model_validate(fields())


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"},
        {"score": 1.01},
        {"score": float("nan")},
        {"amount_minor": 0},
        {"side": "payer"},
        {"measure": "hang"},
        {"facts": {"amount": float("inf")}},
        {"occurred_at": "2026-03-01T10:02:00"},
        {"account": ""},
    ],
)
def test_what_breaks_the_contract_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Alert.model_validate(fields(**changes))


def test_the_id_depends_on_transaction_account_and_side_only() -> None:
    ids = {alert_id(t, a, s) for t in ("T", "TA") for a in ("A", "AA") for s in SIDES}
    assert len(ids) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)


def test_the_ladder_goes_from_light_to_heavy() -> None:
    severities = [measure.severity for measure in Measure]
    assert severities == sorted(severities)
    assert Measure.STOP_PAYMENT.title_zh == "止付"
    assert len({measure.title_zh for measure in Measure}) == len(Measure)
