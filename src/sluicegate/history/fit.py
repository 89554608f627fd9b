"""Fits a model to a file whose frauds are known: `sluicegate fit`.

Only what was known at the end of the training window is learnt from: labels of transactions older
than that moment less the label delay. Everything in it goes by time. Past scores are made out of
fold, block by block; the number of trees is found on a slice after the one trained on, the line
that makes probabilities on one after that; then the heads are trained once more on all of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from sluicegate.errors import Problem
from sluicegate.history.accounts import account_numbers
from sluicegate.history.calibration import pattern_weights, platt
from sluicegate.history.card import metrics_of
from sluicegate.history.events import Events
from sluicegate.history.judged import Gathered, Judged, ModelJudging, put_rows
from sluicegate.history.known import History, first_tested_ms, period_of
from sluicegate.history.metrics import Floats, Ints
from sluicegate.history.walk import EVERY_LEG, Progress, walk
from sluicegate.judging import boosting
from sluicegate.judging.model import (
    SIDES,
    Card,
    Head,
    Model,
    Side,
    arrival_inputs,
    departure_inputs,
    input_names,
)
from sluicegate.judging.model_inputs import Bools, Rows, Singles, monotone
from sluicegate.memory.features import feature_table_version
from sluicegate.memory.past_scores import PastScores
from sluicegate.settings import Settings
from sluicegate.streaming.scoring import scoring_of

THREADS: Final = 2
FOLDS: Final = 4
FIRST_TREES: Final = 75
MOST_TREES: Final = 100
BOOSTERS: Final = 3
"""Of a head that judges: their mean varies less than each of them."""
PATIENCE: Final = 20
STOP_FROM, CALIBRATE_FROM = 0.6, 0.8
"""Slices of the training window, by share of its frauds."""
FEWEST_FRAUDS: Final = 20
MOST_HONEST: Final = 100_000
"""More honest transactions than this are drawn from, and weigh as many as they stand for."""
PIECE: Final = 50_000
STEPS: Final = len(SIDES) * (FOLDS + 1 + 3)
SETTINGS: Final = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "max_depth": 8,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": THREADS,
    "verbose": -1,
}


@dataclass(frozen=True, slots=True)
class Lessons:
    """What may be learnt from: the training transactions of a file, in order of time."""

    rows: Rows
    fraud: Bools
    """`[n]`, of the whole file."""
    known: Ints
    """`[k]`: the transactions whose labels were known at the end of the window."""
    seed: int

    def edges(self, shares: list[float]) -> Ints:
        """The transactions at which these shares of the known frauds have happened."""
        frauds = self.known[self.fraud[self.known]]
        return frauds[[min(int(share * len(frauds)), len(frauds) - 1) for share in shares]]

    def sample(self, chosen: Ints, side: Side) -> tuple[Ints, Floats]:
        """Those of the chosen that have this side, few enough, and the weight of each."""
        there = self.rows.departs if side == "departure" else self.rows.arrives
        chosen = chosen[there[chosen]]
        honest = chosen[~self.fraud[chosen]]
        if len(honest) <= MOST_HONEST:
            return chosen, np.ones(len(chosen))
        drawn = np.random.default_rng(self.seed).choice(honest, MOST_HONEST, replace=False)
        taken = np.sort(np.concatenate([chosen[self.fraud[chosen]], drawn]))
        return taken, np.where(self.fraud[taken], 1.0, len(honest) / MOST_HONEST)


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How a model is fitted."""

    holdout: float = 0.5
    """The last share of the time, which is not trained on; in [0, 1)."""
    label_delay_ms: int = 0
    """How long after a transaction its label is known."""
    seed: int = 1


def fit(
    settings: Settings,
    history: History,
    plan: FitPlan,
    walked: Progress = lambda _done, _total: None,
    trained: Progress = lambda _done, _total: None,
) -> Model:
    """A model of the training window; `walked` and `trained` are told how far it has come.

    Raises:
        Problem: a file cannot be read, or there is too little to learn from.
    """
    events, labels = history.read()
    scoring = scoring_of(settings, threshold=EVERY_LEG)
    rows = Rows.empty(len(events.frame))
    gathered = Gathered(scoring.pattern_set, len(events.frame))
    for stretch in walk(settings, events, scoring, walked):
        put_rows(rows, stretch, stretch.start)
        gathered.take(stretch)
    judged = gathered.judged()
    occurred = events.frame["occurred_at_ms"].to_numpy()
    ends_ms = first_tested_ms(events, plan.holdout) if plan.holdout else int(occurred[-1]) + 1
    known = np.flatnonzero(judged.accepted & (occurred < ends_ms - plan.label_delay_ms))
    lessons = Lessons(rows, labels.fraud, known, plan.seed)
    _check(lessons)
    done = _counter(trained)
    first, scores = _first_stage(lessons, done)
    past = _past_scores(lessons, occurred, account_numbers(events), scores)
    second = {side: _second_stage(lessons, side, past, done) for side in SIDES}
    model = Model(
        card=Card(
            feature_table_version=feature_table_version(),
            pattern_set_version=scoring.pattern_set.version,
            fitted_on=history.events.name,
            trained_from_ms=int(occurred[known[0]]),
            trained_until_ms=ends_ms,
            label_delay_ms=plan.label_delay_ms,
            transactions=len(known),
            frauds=int(labels.fraud[known].sum()),
            trees={
                f"{stage} {side}": head.trees
                for stage, heads in (("first", first), ("second", second))
                for side, head in heads.items()
            },
            seed=plan.seed,
            pattern_weights=_pattern_weights(judged, lessons),
            metrics={},
        ),
        first=first,
        second=second,
    )
    tested = judged.accepted & (occurred >= ends_ms)
    if not (labels.fraud & tested).any():
        return model
    ways = {
        "model": _judged_again(model, events, rows),
        "patterns": judged.scores,
        "patterns, weights fitted": judged.weighted_scores(model.pattern_weights),
    }
    period = period_of(settings, events, labels, tested)
    metrics = metrics_of(period, {name: scores[tested] for name, scores in ways.items()})
    return replace(model, card=model.card.model_copy(update={"metrics": metrics}))


def _judged_again(model: Model, events: Events, rows: Rows) -> Floats:
    """What the model says of each transaction of the file when it walks through it."""
    judging = ModelJudging(model, events)
    pieces = [
        judging.judge_rows(rows.part(slice(start, start + PIECE)), start).transaction
        for start in range(0, len(rows.payer), PIECE)
    ]
    return np.nan_to_num(np.concatenate(pieces))


def _check(lessons: Lessons) -> None:
    frauds = int(lessons.fraud[lessons.known].sum())
    if frauds < FEWEST_FRAUDS:
        raise Problem(
            "too little to learn from",
            f"{frauds} frauds were known in the training window, {FEWEST_FRAUDS} are needed",
            "lower --holdout, or fit on a longer file",
        )
    for name, there in (("payer", lessons.rows.departs), ("payee", lessons.rows.arrives)):
        if not there[lessons.known].any():
            raise Problem(f"no transaction of the training window has a {name}")


def _counter(trained: Progress) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        trained(done, STEPS)

    return count


def _first_stage(
    lessons: Lessons, done: Callable[[], None]
) -> tuple[dict[Side, Head], dict[Side, Floats]]:
    """Heads that know no past scores, and what they give to the whole file, out of fold."""
    blocks = np.searchsorted(
        lessons.edges([fold / FOLDS for fold in range(1, FOLDS)]), lessons.known, side="right"
    )
    heads: dict[Side, Head] = {}
    scores: dict[Side, Floats] = {}
    for side in SIDES:
        heads[side] = _head(lessons, side, lessons.known, None, FIRST_TREES)
        every = np.arange(len(lessons.fraud))
        found = _given(lessons, heads[side], side, every, None)
        done()
        for fold in range(FOLDS):
            within = lessons.known[blocks == fold]
            apart = _head(lessons, side, lessons.known[blocks != fold], None, FIRST_TREES)
            found[within] = _given(lessons, apart, side, within, None)
            done()
        scores[side] = found
    return heads, scores


def _past_scores(
    lessons: Lessons, occurred_at_ms: Ints, accounts: tuple[Ints, Ints], scores: dict[Side, Floats]
) -> tuple[Singles, Singles]:
    payer = np.where(lessons.rows.departs, accounts[0], -1)
    payee = np.where(lessons.rows.arrives, accounts[1], -1)
    memory = PastScores(int(max(payer.max(), payee.max())) + 1)
    return memory.follow(occurred_at_ms, payer, payee, scores["departure"], scores["arrival"])


def _second_stage(
    lessons: Lessons, side: Side, past: tuple[Singles, Singles], done: Callable[[], None]
) -> Head:
    """The head that judges: trees found on one slice, the line on a later one, then all of it."""
    stop_from, line_from = lessons.edges([STOP_FROM, CALIBRATE_FROM])
    known = lessons.known
    before_stop, before_line = known[known < stop_from], known[known < line_from]
    stop_on = known[(known >= stop_from) & (known < line_from)]
    line_on = known[known >= line_from]
    trees = _trees(lessons, side, before_stop, stop_on, past)
    done()
    apart = _head(lessons, side, before_line, past, trees, BOOSTERS)
    there = line_on[_there(lessons, side)[line_on]]
    line = platt(_given(lessons, apart, side, there, past), lessons.fraud[there])
    done()
    whole = _head(lessons, side, known, past, trees, BOOSTERS)
    done()
    return replace(whole, line=line)


def _head(  # noqa: PLR0917 - what to learn, from which, with what, how long
    lessons: Lessons,
    side: Side,
    chosen: Ints,
    past: tuple[Singles, Singles] | None,
    trees: int,
    boosters: int = 1,
) -> Head:
    learnt = _lesson(lessons, side, chosen, past)
    seeds = range(lessons.seed, lessons.seed + boosters)
    trained = (boosting.train(_settings(side, past, seed), learnt, trees) for seed in seeds)
    return Head(tuple(each.model_to_string() for each in trained))


def _trees(
    lessons: Lessons, side: Side, chosen: Ints, stop_on: Ints, past: tuple[Singles, Singles]
) -> int:
    """How many trees do best on a later slice."""
    learnt = _lesson(lessons, side, chosen, past)
    held = _lesson(lessons, side, stop_on, past, learnt)
    stop = boosting.early_stopping(PATIENCE, verbose=False)
    settings = _settings(side, past, lessons.seed)
    stopped = boosting.train(settings, learnt, MOST_TREES, valid_sets=[held], callbacks=[stop])
    return max(stopped.best_iteration, 1)


def _settings(side: Side, past: tuple[Singles, Singles] | None, seed: int) -> dict[str, Any]:
    names = input_names(side, past=past is not None)
    return {**SETTINGS, "monotone_constraints": monotone(names), "seed": seed}


def _lesson(
    lessons: Lessons,
    side: Side,
    chosen: Ints,
    past: tuple[Singles, Singles] | None,
    like: boosting.Dataset | None = None,
) -> boosting.Dataset:
    taken, weights = lessons.sample(chosen, side)
    return boosting.Dataset(
        _inputs(lessons, side, taken, past),
        lessons.fraud[taken].astype(np.float64),
        weight=weights,
        reference=like,
        feature_name=list(input_names(side, past=past is not None)),
    )


def _inputs(
    lessons: Lessons, side: Side, chosen: Ints, past: tuple[Singles, Singles] | None
) -> Singles:
    part = lessons.rows.part(chosen)
    held = None if past is None else (past[0][chosen], past[1][chosen])
    if side == "departure":
        return departure_inputs(part, None if held is None else held[0])
    return arrival_inputs(part, held)


def _given(
    lessons: Lessons, head: Head, side: Side, chosen: Ints, past: tuple[Singles, Singles] | None
) -> Floats:
    """What a head gives to the chosen transactions, piece by piece to spare memory."""
    pieces = [
        head.scores(_inputs(lessons, side, piece, past), _there(lessons, side)[piece])
        for piece in np.array_split(chosen, len(chosen) // PIECE + 1)
    ]
    return np.concatenate(pieces)


def _there(lessons: Lessons, side: Side) -> Bools:
    return lessons.rows.departs if side == "departure" else lessons.rows.arrives


def _pattern_weights(judged: Judged, lessons: Lessons) -> dict[str, float]:
    is_known = np.zeros(len(lessons.fraud), np.bool_)
    is_known[lessons.known] = True
    within = is_known[judged.fired_at]
    weights = pattern_weights(
        judged.strengths[within].astype(np.float64), lessons.fraud[judged.fired_at[within]]
    )
    names = [checked.pattern.name for checked in judged.pattern_set.patterns]
    return dict(zip(names, weights.tolist(), strict=True))
