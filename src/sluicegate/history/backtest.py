"""What alerts would have come to on a file of transactions whose frauds are known.

The file is judged once, in order of time, with the live step function: each transaction as of
itself. What lies before the test period warms the memory up and is not counted.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from sluicegate.errors import Problem
from sluicegate.history.events import Events
from sluicegate.history.figures import (
    Compared,
    OfPattern,
    Scored,
    SetFigures,
    alerts_of,
    compared,
    figures_of,
    of_patterns,
)
from sluicegate.history.judged import Judged, judge_events
from sluicegate.history.known import History, first_tested_ms, period_of
from sluicegate.history.metrics import Bools
from sluicegate.history.walk import Progress
from sluicegate.judging.model import Model, load_model
from sluicegate.judging.patterns import load_patterns
from sluicegate.settings import Settings

PATTERNS: Final = "patterns"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tested, and how."""

    holdout: float = 0.5
    """The last share of the time that is counted, in (0, 1]."""
    budget: int = 50
    """Alerts that the desk can look at in a day."""
    against: Path | None = None
    """Another file of patterns to compare with."""
    model: Path | None = None
    """A fitted model, which is compared with the patterns alone."""


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
    patterns: dict[str, list[OfPattern]]
    """By pattern set."""
    compared: list[Compared]
    """The first way to score against the second."""

    def sentences(self) -> list[str]:
        """The report in a few lines."""
        return [*self.summary, *(line for each in self.sets for line in _headline(each))]


def backtest(
    settings: Settings,
    history: History,
    plan: Plan,
    progress: Progress = lambda _done, _total: None,
) -> Backtest:
    """The figures of the configured pattern set, and of what it is compared with.

    `progress` is told how many transactions are judged, and of how many.

    Raises:
        Problem: a file cannot be read, a pattern has a mistake, or nothing is left to test.
    """
    events, labels = history.read()
    model = (
        None
        if plan.model is None
        else load_model(plan.model, load_patterns(settings.patterns.file))
    )
    judged = _judged(settings, events, plan, model, progress)
    occurred = events.frame["occurred_at_ms"].to_numpy()
    within = occurred >= first_tested_ms(events, plan.holdout)
    if model is not None:
        within &= occurred >= _untrained_ms(model, events)
    counted = within & next(iter(judged.values())).accepted
    tested = period_of(settings, events, labels, counted)
    ways = [way for name, each in judged.items() for way in _ways(name, each, model, counted)]
    alerts = [alerts_of(each, tested, plan.budget) for each in ways]
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
        sets=[figures_of(each, tested, scenarios, plan.budget) for each in ways],
        patterns={name: of_patterns(each, counted, labels.fraud) for name, each in judged.items()},
        compared=compared(alerts[0], alerts[1], tested.fraud) if len(alerts) > 1 else [],
    )


def _judged(
    settings: Settings, events: Events, plan: Plan, model: Model | None, progress: Progress
) -> dict[str, Judged]:
    """The file as each pattern set judges it, by the name for the report."""
    by_name = {PATTERNS: settings}
    if plan.against is not None:
        other = settings.changed(patterns={"file": plan.against})
        by_name[f"{PATTERNS} of {plan.against.name}"] = other
    return {
        name: judge_events(each, events, _part(progress, index, len(by_name)), model)
        for index, (name, each) in enumerate(by_name.items())
    }


def _untrained_ms(model: Model, events: Events) -> int:
    """The first moment of which the model has learnt nothing."""
    if model.card.trained_until_ms > events.summary.last_ms:
        raise Problem(
            "nothing is left to test the model on",
            f"it was trained on {model.card.fitted_on} until "
            f"{_moment(model.card.trained_until_ms)}, which is beyond the last transaction",
            "fit it with --holdout, or test it on a later file",
        )
    return model.card.trained_until_ms


def _ways(name: str, judged: Judged, model: Model | None, counted: Bools) -> list[Scored]:
    """The ways to score that one walk gives: with a model, and without."""
    threshold = judged.pattern_set.thresholds.alert
    plain = Scored(name, judged.pattern_set.version, threshold, judged.scores[counted])
    if model is None or judged.model_scores is None or judged.joined_scores is None:
        return [plain]
    version = f"of {model.card.fitted_on}, features {model.card.feature_table_version}"
    return [
        Scored("model", version, threshold, judged.model_scores[counted]),
        plain,
        Scored("both together", model.version, threshold, judged.joined_scores[counted]),
    ]


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


def _part(progress: Progress, index: int, parts: int) -> Progress:
    return lambda done, total: progress(index * total + done, parts * total)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
