"""What a set of alerts would have come to: frauds and accounts caught, when, and how much money.

Everything is counted over the transactions of the test period, in order of time. An account is
fraudulent when it is on either side of a fraudulent transaction: mules and victims both.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from sluicegate.history.metrics import DAY_MS, Bools, Floats, Ints, share

NOBODY: Final = -1


@dataclass(frozen=True)
class Period:
    """The `n` transactions that count, in order of time."""

    payer: Ints
    """`[n]`: number of the account, NOBODY for cash."""
    payee: Ints
    amount_minor: Ints
    occurred_at_ms: Ints
    local_day: Ints
    fraud: Bools

    @cached_property
    def accounts(self) -> Ints:
        """The accounts that took part, ascending."""
        sides = np.concatenate([self.payer, self.payee])
        return np.unique(sides[sides != NOBODY])

    @cached_property
    def account_count(self) -> int:
        """One more than the largest number of an account."""
        return int(self.accounts[-1]) + 1 if len(self.accounts) else 0

    @cached_property
    def fraudulent(self) -> Bools:
        """By number of the account: whether it is on either side of a fraudulent transaction."""
        return self.touched(self.fraud)

    @cached_property
    def days(self) -> float:
        """How long the test period is."""
        if not len(self.fraud):
            return 0.0
        return float(self.occurred_at_ms[-1] - self.occurred_at_ms[0]) / DAY_MS

    def touched(self, chosen: Bools) -> Bools:
        """By number of the account: whether it has a part in one of the chosen transactions."""
        found = np.zeros(self.account_count, np.bool_)
        for side in (self.payer, self.payee):
            found[side[chosen & (side != NOBODY)]] = True
        return found

    def account_scores(self, scores: Floats) -> Floats:
        """By number of the account: its highest score, 0 without one."""
        best = np.zeros(self.account_count)
        for side in (self.payer, self.payee):
            there = side != NOBODY
            np.maximum.at(best, side[there], scores[there])
        return best

    def first(self, chosen: Bools, not_before: Ints | None = None) -> Ints:
        """By number of the account: its first chosen transaction, `n` when there is none.

        `not_before`, by number of the account: earlier ones do not count.
        """
        count = len(self.fraud)
        found = np.full(self.account_count, count)
        for side in (self.payer, self.payee):
            at = np.flatnonzero(chosen & (side != NOBODY))
            if not_before is not None:
                at = at[at >= not_before[side[at]]]
            np.minimum.at(found, side[at], at)
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one set of alerts comes to. A share of nothing is None."""

    name: str
    threshold: float | None
    """The lowest score that is alerted; None when nothing is."""
    alerts: int
    alerts_a_day: float | None
    precision: float | None
    recall: float | None
    fraud_money_share: float | None
    """Share of the money of fraudulent transactions that is in alerted ones."""
    accounts_caught: float | None
    """Share of the fraudulent accounts with an alert from their first fraudulent leg on."""
    median_delay_s: float | None
    """From an account's first fraudulent leg to its first alert from then on, if there is one."""
    p90_delay_s: float | None
    money_left_share: float | None
    """Of the fraudulent money that came in until the first alert (all of it, where there is
    none), the share that the account had not paid out again."""
    false_alarms_per_1000: float | None
    """Honest accounts with an alert, of 1,000 honest accounts."""


def outcome(name: str, tested: Period, scores: Floats, alerted: Bools) -> Outcome:
    """What it comes to when exactly the `alerted` transactions are alerts."""
    alerts, frauds = int(alerted.sum()), tested.fraud
    caught = alerted & frauds
    began = tested.first(frauds)
    noticed = tested.first(alerted, not_before=began)
    concerned = np.flatnonzero(tested.fraudulent)
    seen = concerned[noticed[concerned] < len(frauds)]
    waited = tested.occurred_at_ms[noticed[seen]] - tested.occurred_at_ms[began[seen]]
    honest = tested.accounts[~tested.fraudulent[tested.accounts]]
    false = share(float(tested.touched(alerted)[honest].sum()), len(honest))
    amounts = tested.amount_minor.astype(np.float64)
    return Outcome(
        name=name,
        threshold=float(scores[alerted].min()) if alerts else None,
        alerts=alerts,
        alerts_a_day=share(alerts, tested.days),
        precision=share(float(caught.sum()), alerts),
        recall=share(float(caught.sum()), float(frauds.sum())),
        fraud_money_share=share(float(amounts[caught].sum()), float(amounts[frauds].sum())),
        accounts_caught=share(len(seen), len(concerned)),
        median_delay_s=float(np.quantile(waited, 0.5)) / 1000 if len(seen) else None,
        p90_delay_s=float(np.quantile(waited, 0.9)) / 1000 if len(seen) else None,
        money_left_share=_money_left(tested, alerted),
        false_alarms_per_1000=None if false is None else 1000 * false,
    )


def _money_left(tested: Period, alerted: Bools) -> float | None:
    """Fraudulent money still on the accounts at their first alerts, of what had come in."""
    received = tested.fraud & (tested.payee != NOBODY)
    came = np.full(tested.account_count, len(alerted))
    at = np.flatnonzero(received)
    np.minimum.at(came, tested.payee[at], at)
    noticed = tested.first(alerted, not_before=came)
    index = np.arange(len(alerted))
    money_in = _sums(tested, tested.payee, received & (index <= _of(noticed, tested.payee)))
    between = (index > _of(came, tested.payer)) & (index < _of(noticed, tested.payer))
    money_out = _sums(tested, tested.payer, between & (tested.payer != NOBODY))
    left = np.where(noticed < len(alerted), np.maximum(money_in - money_out, 0), 0)
    return share(float(left.sum()), float(money_in.sum()))


def _of(by_account: Ints, side: Ints) -> Ints:
    """The entry of each transaction's account; NOBODY gets one that is never looked at."""
    return by_account[np.maximum(side, 0)]


def _sums(tested: Period, side: Ints, chosen: Bools) -> Floats:
    weights = tested.amount_minor[chosen].astype(np.float64)
    sums = np.bincount(side[chosen], weights=weights, minlength=tested.account_count)
    return sums.astype(np.float64)
