"""What alerts would have come to on a file of transactions whose frauds are known.

The file is judged once, in order of time, with the live step function: each transaction as of
itself. What lies before the test period warms the memory up and is not counted.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sluicegate.errors import Problem
from sluicegate.history.events import Events, read_events
from sluicegate.history.figures import (
    Compared,
    Scored,
    SetFigures,
    alerts_of,
    compared,
    figures_of,
    of_patterns,
)
from sluicegate.history.judged import Judged, judge_events
from sluicegate.history.labels import Labels, read_labels
from sluicegate.history.metrics import Bools, Ints
from sluicegate.history.outcomes import NOBODY, Period
from sluicegate.history.walk import Progress
from sluicegate.settings import Settings


@dataclass(frozen=True, slots=True)
class History:
    """Where transactions and their labels are, and how to read them."""

    events: Path
    labels: Path
    columns: str | None = None
    label_columns: str | None = None
    timezone: str = "UTC"

    def read(self) -> tuple[Events, Labels]:
        """Both files.

        Raises:
            Problem: one of them cannot be read, or they do not belong together.
        """
        events = read_events(self.events, columns=self.columns, timezone=self.timezone)
        return events, read_labels(self.labels, events, columns=self._label_columns())

    def _label_columns(self) -> str | None:
        """The map of the labels; without one, the column that is the id of the transactions."""
        if self.label_columns is not None or self.columns is None:
            return self.label_columns
        entries = [entry.strip() for entry in self.columns.split(",")]
        return next((entry for entry in entries if entry.partition("=")[2].strip() == "id"), None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tested, and how."""

    holdout: float = 0.5
    """The last share of the time that is counted, in (0, 1]."""
    budget: int = 50
    """Alerts that the desk can look at in a day."""
    against: Path | None = None
    """Another file of patterns to compare with."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """The report: what was tested, and the figures of one or two ways to score."""

    events: str
    labels: str
    summary: list[str]
    holdout: float
    tested_from: str
    tested_until: str
    warm_up: int
    """Transactions before the test period."""
    not_judged: int
    """Transactions of the test period that the contract refuses, or that are repeats."""
    budget: int
    sets: list[SetFigures]
    compared: list[Compared]

    def sentences(self) -> list[str]:
        """The report in a few lines."""
        return [*self.summary, *(line for each in self.sets for line in _headline(each))]


def backtest(
    settings: Settings,
    history: History,
    plan: Plan,
    progress: Progress = lambda _done, _total: None,
) -> Backtest:
    """The figures of the configured pattern set, and of another one to compare it with.

    `progress` is told how many transactions are judged, and of how many.

    Raises:
        Problem: a file cannot be read, a pattern has a mistake, or nothing is left to test.
    """
    events, labels = history.read()
    ways = {"patterns": settings}
    if plan.against is not None:
        ways[f"patterns of {plan.against.name}"] = settings.changed(patterns={"file": plan.against})
    judged = {
        name: judge_events(each, events, _part(progress, index, len(ways)))
        for index, (name, each) in enumerate(ways.items())
    }
    occurred = events.frame["occurred_at_ms"].to_numpy()
    within = occurred >= first_tested_ms(events, plan.holdout)
    counted = within & judged["patterns"].accepted
    tested = _tested(settings, events, labels, counted)
    scored = [_scored(name, each, counted) for name, each in judged.items()]
    alerts = [alerts_of(one, tested, plan.budget) for one in scored]
    scenarios = labels.scenario.filter(pl.Series(counted))
    return Backtest(
        events=history.events.name,
        labels=history.labels.name,
        summary=[*events.summary.sentences(), *labels.sentences()],
        holdout=plan.holdout,
        tested_from=_moment(int(tested.occurred_at_ms[0])),
        tested_until=_moment(int(tested.occurred_at_ms[-1])),
        warm_up=int((~within).sum()),
        not_judged=int((within & ~counted).sum()),
        budget=plan.budget,
        sets=[
            figures_of(
                one, tested, scenarios, of_patterns(each, counted, labels.fraud), plan.budget
            )
            for one, each in zip(scored, judged.values(), strict=True)
        ],
        compared=compared(alerts[0], alerts[1], tested.fraud) if len(alerts) == 2 else [],
    )


def _scored(name: str, judged: Judged, counted: Bools) -> Scored:
    thresholds = judged.pattern_set.thresholds
    return Scored(name, judged.pattern_set.version, thresholds.alert, judged.scores[counted])


def _headline(figures: SetFigures) -> list[str]:
    def said(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.3f}"

    return [
        f"{figures.name}, {kind}: average precision {said(ranking.average_precision)}, "
        f"ROC AUC {said(ranking.roc_auc)}, "
        + ", ".join(f"recall {said(at.recall)} at {100 * at.share:g} %" for at in ranking.at)
        for kind, ranking in (
            ("transactions", figures.transactions),
            ("accounts", figures.accounts),
        )
    ]


def first_tested_ms(events: Events, holdout: float) -> int:
    """The moment from which transactions are counted: the last `holdout` of the time."""
    summary = events.summary
    return round(summary.last_ms - holdout * (summary.last_ms - summary.first_ms))


def _part(progress: Progress, index: int, parts: int) -> Progress:
    return lambda done, total: progress(index * total + done, parts * total)


def _tested(settings: Settings, events: Events, labels: Labels, counted: Bools) -> Period:
    if not (labels.fraud & counted).any():
        raise Problem(
            "no fraud lies in the test period",
            f"{int(labels.fraud.sum()):,} frauds are labelled, {int(counted.sum()):,} "
            "transactions are tested",
            "raise --holdout: the last share of the time that is tested",
        )
    payer, payee = account_numbers(events)
    occurred = events.frame["occurred_at_ms"].to_numpy()[counted]
    offset_ms = round(settings.worker.utc_offset_hours * 3_600_000)
    return Period(
        payer=payer[counted],
        payee=payee[counted],
        amount_minor=events.frame["amount_minor"].to_numpy()[counted],
        occurred_at_ms=occurred,
        local_day=(occurred + offset_ms) // 86_400_000,
        fraud=labels.fraud[counted],
    )


def account_numbers(events: Events) -> tuple[Ints, Ints]:
    """A number for each account, from 0; payers and payees, NOBODY for cash."""
    sides = pl.concat([events.frame["payer_account"], events.frame["payee_account"]])
    ranks = sides.rank("dense").cast(pl.Int64) - 1
    numbers = ranks.fill_null(NOBODY).to_numpy()
    return numbers[: len(events.frame)], numbers[len(events.frame) :]


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
