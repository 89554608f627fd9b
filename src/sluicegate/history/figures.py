"""The figures of a backtest: plain frozen records, which are the report as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from sluicegate.history.judged import Judged
from sluicegate.history.metrics import (
    Bools,
    Floats,
    average_precision,
    curve,
    highest,
    highest_each_day,
    roc_auc,
    share,
)
from sluicegate.history.outcomes import Outcome, Period, outcome

SHARES: Final = (0.001, 0.005, 0.02)
"""Alerts as shares of all transactions, or of all accounts."""
WHAT_IF: Final = tuple(step / 20 for step in range(1, 20))


@dataclass(frozen=True, slots=True)
class At:
    """The highest `share` of a ranking as alerts."""

    share: float
    alerts: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well a ranking of transactions, or of accounts by their highest score, does."""

    ranked: int
    fraudulent: int
    average_precision: float | None
    roc_auc: float | None
    at: list[At]
    curve: list[tuple[float, float, float]]
    """Threshold, precision, recall."""


@dataclass(frozen=True, slots=True)
class OfScenario:
    """One kind of fraud, against everything honest."""

    scenario: str
    transactions: int
    average_precision: float | None
    recall: Mapping[str, float | None]
    """By name of the outcome."""


@dataclass(frozen=True, slots=True)
class OfPattern:
    """What one pattern does, by the transactions on whose legs it fires."""

    pattern: str
    fired: int
    frauds: int
    precision: float | None
    lift: float | None
    """Precision against the share of fraud among all transactions."""
    recall: float | None
    mean_strength: float | None


@dataclass(frozen=True, slots=True)
class Day:
    """One local day of the test period."""

    day: int
    """Days since 1970-01-01."""
    transactions: int
    frauds: int
    alerts: int
    caught: int


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Everything about one way to score."""

    name: str
    version: str
    alert_threshold: float
    transactions: Ranking
    accounts: Ranking
    outcomes: list[Outcome]
    what_if: list[Outcome]
    scenarios: list[OfScenario]
    days: list[Day]


@dataclass(frozen=True, slots=True)
class Compared:
    """The same alerts by two ways to score: what one finds that the other does not."""

    name: str
    caught_by_both: int
    caught_only_now: int
    caught_only_before: int
    false_by_both: int
    false_only_now: int
    false_only_before: int


@dataclass(frozen=True, slots=True)
class Scored:
    """One way to score: the name for the report, and a score for each transaction tested."""

    name: str
    version: str
    alert_threshold: float
    scores: Floats


def figures_of(scored: Scored, tested: Period, scenarios: pl.Series, budget: int) -> SetFigures:
    """All figures of one way to score.

    Args:
        scored: Scores of the tested transactions.
        tested: The transactions that count.
        scenarios: Their kinds of fraud, null for the honest.
        budget: Alerts that the desk can look at in a day.
    """
    alerted = alerts_of(scored, tested, budget)
    outcomes = [outcome(name, tested, scored.scores, each) for name, each in alerted.items()]
    what_if = [
        outcome(f"{threshold:.2f}", tested, scored.scores, scored.scores >= threshold)
        for threshold in WHAT_IF
    ]
    by_account = tested.account_scores(scored.scores)[tested.accounts]
    return SetFigures(
        name=scored.name,
        version=scored.version,
        alert_threshold=scored.alert_threshold,
        transactions=ranking_of(scored.scores, tested.fraud),
        accounts=ranking_of(by_account, tested.fraudulent[tested.accounts]),
        outcomes=outcomes,
        what_if=what_if,
        scenarios=list(_of_scenarios(scored.scores, tested, scenarios, alerted)),
        days=_days(tested, alerted[_share_name(0.005)]),
    )


def alerts_of(scored: Scored, tested: Period, budget: int) -> dict[str, Bools]:
    """The alerts of each operating point by its name."""
    count = len(scored.scores)
    at_shares = {_share_name(part): highest(scored.scores, round(part * count)) for part in SHARES}
    return {
        f"threshold {scored.alert_threshold:g}": scored.scores >= scored.alert_threshold,
        **at_shares,
        f"{budget} a day": highest_each_day(scored.scores, tested.local_day, budget),
    }


def compared(now: Mapping[str, Bools], before: Mapping[str, Bools], fraud: Bools) -> list[Compared]:
    """Operating point by operating point, in their order."""
    return [
        Compared(
            name,
            *(int((which & fraud).sum()) for which in _venn(new, old)),
            *(int((which & ~fraud).sum()) for which in _venn(new, old)),
        )
        for (name, new), old in zip(now.items(), before.values(), strict=True)
    ]


def of_patterns(judged: Judged, counted: Bools, fraud: Bools) -> list[OfPattern]:
    """What each pattern does on the counted transactions; `[n]` each, of the whole file."""
    base = share(float(fraud[counted].sum()), float(counted.sum()))
    frauds = float(fraud[counted].sum())
    within = counted[judged.fired_at]
    found = []
    for index, checked in enumerate(judged.pattern_set.patterns):
        strengths = judged.strengths[:, index]
        fires = within & (strengths > 0)
        on = np.unique(judged.fired_at[fires])
        hits = int(fraud[on].sum())
        precision = share(hits, len(on))
        found.append(
            OfPattern(
                pattern=checked.pattern.name,
                fired=len(on),
                frauds=hits,
                precision=precision,
                lift=None if precision is None or not base else precision / base,
                recall=share(hits, frauds),
                mean_strength=float(strengths[fires].mean()) if len(on) else None,
            )
        )
    return found


def _venn(new: Bools, old: Bools) -> tuple[Bools, Bools, Bools]:
    return new & old, new & ~old, old & ~new


def _share_name(part: float) -> str:
    return f"{100 * part:g} %"


def ranking_of(scores: Floats, fraud: Bools) -> Ranking:
    """The figures of a ranking of transactions, or of accounts."""
    return Ranking(
        ranked=len(scores),
        fraudulent=int(fraud.sum()),
        average_precision=average_precision(scores, fraud),
        roc_auc=roc_auc(scores, fraud),
        at=[at_share(part, scores, fraud) for part in SHARES],
        curve=curve(scores, fraud),
    )


def at_share(part: float, scores: Floats, fraud: Bools) -> At:
    """What the highest `part` of a ranking finds."""
    alerted = highest(scores, round(part * len(scores)))
    alerts, caught = int(alerted.sum()), float((alerted & fraud).sum())
    return At(part, alerts, share(caught, alerts), share(caught, float(fraud.sum())))


def _of_scenarios(
    scores: Floats, tested: Period, scenarios: pl.Series, alerted: Mapping[str, Bools]
) -> Iterator[OfScenario]:
    for scenario in sorted(scenarios.drop_nulls().unique().to_list()):
        chosen = (scenarios == scenario).fill_null(value=False).to_numpy()
        ranked = chosen | ~tested.fraud
        count = int(chosen.sum())
        yield OfScenario(
            scenario=scenario,
            transactions=count,
            average_precision=average_precision(scores[ranked], chosen[ranked]),
            recall={
                name: share(float((each & chosen).sum()), count) for name, each in alerted.items()
            },
        )


def _days(tested: Period, alerted: Bools) -> list[Day]:
    days, index = np.unique(tested.local_day, return_inverse=True)

    def counts(chosen: Bools) -> list[int]:
        return [int(each) for each in np.bincount(index[chosen], minlength=len(days))]

    every = np.ones(len(index), np.bool_)
    columns = (every, tested.fraud, alerted, alerted & tested.fraud)
    return [Day(*row) for row in zip(days.tolist(), *map(counts, columns), strict=True)]
