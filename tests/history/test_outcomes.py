"""What alerts come to: one small story, every figure worked by hand.

Account 0 is the victim, 1 the mule, 2 the collector; 3 and 4 are honest.
"""

from __future__ import annotations

import numpy as np
import pytest

from sluicegate.history.figures import compared
from sluicegate.history.outcomes import NOBODY, Outcome, Period, outcome

# minute, payer, payee, amount in CNY, fraud
STORY = [
    (0, 3, 4, 50, False),
    (10, 0, 1, 1_000, True),
    (20, 1, NOBODY, 300, False),
    (30, 1, 2, 600, True),
    (40, 4, 3, 20, False),
    (50, 0, 1, 500, True),
    (60, NOBODY, 4, 70, False),
]


def an_hour() -> Period:
    minute, payer, payee, amount, fraud = (np.array(each) for each in zip(*STORY, strict=True))
    return Period(
        payer=payer,
        payee=payee,
        amount_minor=100 * amount,
        occurred_at_ms=60_000 * minute,
        local_day=np.zeros_like(minute),
        fraud=fraud,
    )


def outcome_of(*alerted: int) -> Outcome:
    chosen = np.isin(np.arange(len(STORY)), alerted)
    return outcome("story", an_hour(), np.linspace(0.9, 0.3, len(STORY)), chosen)


def test_an_account_has_its_highest_score() -> None:
    scores = np.array([0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.0])
    assert an_hour().account_scores(scores).tolist() == [0.9, 0.9, 0.3, 0.4, 0.4]


def test_both_sides_of_a_fraud_are_fraudulent_and_cash_is_nobody() -> None:
    assert an_hour().fraudulent.tolist() == [True, True, True, False, False]
    assert an_hour().accounts.tolist() == [0, 1, 2, 3, 4]


def test_one_true_and_one_false_alarm() -> None:
    found = outcome_of(3, 6)
    assert found.alerts == 2
    assert found.threshold == pytest.approx(0.3)
    assert found.precision == 0.5
    assert found.recall == pytest.approx(1 / 3)
    assert found.fraud_money_share == pytest.approx(600 / 2_100)
    assert found.false_alarms_per_1000 == 500  # account 4 of 3 and 4
    assert found.alerts_a_day == pytest.approx(2 * 24)  # in one hour


def test_time_runs_from_the_first_fraudulent_leg_of_each_account() -> None:
    found = outcome_of(3)
    assert found.accounts_caught == pytest.approx(2 / 3)  # mule and collector, not the victim
    # The mule waited 20 minutes from its first fraudulent leg, the collector not at all.
    assert found.median_delay_s == pytest.approx(600)
    assert found.p90_delay_s == pytest.approx(1_080)


def test_an_alert_before_the_fraud_does_not_count_as_noticing_it() -> None:
    assert outcome_of(0).accounts_caught == 0.0
    assert outcome_of(0).median_delay_s is None


def test_money_paid_out_before_the_alert_is_gone_and_what_is_alerted_is_kept() -> None:
    # Alerted when the mule pays the collector: of its 1,000 the 300 of cash are gone; the 600
    # that are stopped never leave, and on the collector's side all of them are there.
    assert outcome_of(3).money_left_share == pytest.approx((700 + 600) / 1_600)


def test_without_an_alert_all_the_money_is_gone() -> None:
    assert outcome_of().money_left_share == 0.0
    assert outcome_of().precision is None
    assert outcome_of().threshold is None


def test_an_alert_on_the_first_fraud_saves_all_that_had_come() -> None:
    # The mule is stopped with its first 1,000; the collector is never noticed and loses 600.
    assert outcome_of(1).money_left_share == pytest.approx(1_000 / 1_600)


def test_two_ways_to_alert_are_counted_against_each_other() -> None:
    fraud = an_hour().fraud
    now = {"a": np.isin(np.arange(7), [1, 3, 0])}
    before = {"b": np.isin(np.arange(7), [1, 5, 0, 4])}
    (found,) = compared(now, before, fraud)
    assert (found.caught_by_both, found.caught_only_now, found.caught_only_before) == (1, 1, 1)
    assert (found.false_by_both, found.false_only_now, found.false_only_before) == (1, 0, 1)
