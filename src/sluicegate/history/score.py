"""Scores a file of transactions with the live step function, in time order, without a broker.

Each transaction is judged as of itself and never later: the departure against the payer's row,
then at once the arrival against the payee's, as the pipeline does with messages between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from sluicegate.domain.alert import Reason
from sluicegate.domain.directive import Directive
from sluicegate.errors import Problem
from sluicegate.history.calibration import weighted
from sluicegate.history.events import Events, read_events
from sluicegate.history.feedback import found_out
from sluicegate.history.judged import ModelJudging
from sluicegate.history.known import History
from sluicegate.history.walk import ANY_SCORE, EVERY_LEG, Progress, Stretch, walk
from sluicegate.judging.judgement import explain, measure_for
from sluicegate.judging.model import Model, load_model
from sluicegate.judging.patterns import PatternSet, Thresholds, load_patterns
from sluicegate.memory.accounts import Floats
from sluicegate.memory.row import ARRIVAL
from sluicegate.settings import Settings
from sluicegate.streaming.retrace import retrace
from sluicegate.streaming.scoring import scoring_of

REASON: Final = {
    "side": pl.String,
    "pattern": pl.String,
    "strength": pl.Float64,
    "zh": pl.String,
    "en": pl.String,
}
SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "id": pl.String,
    "score": pl.Float64,
    "payer_score": pl.Float64,
    "payee_score": pl.Float64,
    "measure": pl.String,
    "reasons": pl.List(pl.Struct(REASON)),
    "refused": pl.String,
}


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Frauds that are confirmed, and how to read them."""

    labels: Path
    delay_ms: int
    """How long after a transaction its label is known, where the file does not say."""
    columns: str | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """What `score_file` came to."""

    transactions: int
    refused: int
    alerts: int
    """Transactions whose score reaches the alert threshold."""
    summary: tuple[str, ...]
    """What the file held and what was changed to fit, in sentences."""


def score_file(
    settings: Settings,
    path: Path,
    out: Path,
    *,
    columns: str | None = None,
    timezone: str = "UTC",
    model: Path | None = None,
    directives: Sequence[Directive] = (),
    confirmed: Confirmed | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Scored:
    """Writes one row for each transaction of `path` to the parquet file `out`, in time order.

    Columns: `SCHEMA`. A transaction that the contract refuses, or that repeats one within the
    configured reach, has no score, and says why in `refused`. `progress(done, total)` is called
    after each chunk. With a fitted model the scores are its probabilities. Directives count from
    when they were issued, confirmed frauds from when they were known.

    Raises:
        Problem: the file cannot be read or written, the patterns have a mistake, or the model was
            fitted for other features or patterns.
    """
    events = read_events(path, columns=columns, timezone=timezone)
    if confirmed is not None:
        history = History(path, confirmed.labels, columns, confirmed.columns, timezone)
        directives = [
            *directives,
            *found_out(events, history.labels_of(events), confirmed.delay_ms),
        ]
    fitted = None if model is None else load_model(model, load_patterns(settings.patterns.file))
    frame = score_events(settings, events, progress, fitted, directives)
    _write(frame, out)
    alert = scoring_of(settings).pattern_set.thresholds.alert
    return Scored(
        transactions=len(frame),
        refused=frame["refused"].count(),
        alerts=int((frame["score"] >= alert).sum()),
        summary=tuple(events.summary.sentences()),
    )


def score_events(
    settings: Settings,
    events: Events,
    progress: Progress = lambda _done, _total: None,
    model: Model | None = None,
    directives: Sequence[Directive] = (),
) -> pl.DataFrame:
    """The scores of events in their order, as `score_file` writes them."""
    scoring = scoring_of(settings, threshold=ANY_SCORE if model is None else EVERY_LEG)
    judging = None if model is None else ModelJudging(model, events)
    parts = [pl.DataFrame(schema=SCHEMA)]
    for stretch in walk(settings, events, scoring, progress, directives):
        ids = events.frame["id"].slice(stretch.start, len(stretch.refused))
        said = (
            _by_patterns(stretch, scoring.pattern_set)
            if judging is None
            else _by_model(stretch, scoring.pattern_set, judging)
        )
        parts.append(_rows(ids, stretch, said, scoring.pattern_set.thresholds))
    return pl.concat(parts)


@dataclass(frozen=True, slots=True)
class _Said:
    """The scores of `n` transactions, NaN where there is none, and the reasons of some."""

    payer: Floats
    payee: Floats
    score: Floats
    reasons: list[tuple[int, str, tuple[Reason, ...]]]
    """Which of the `n`, the side that was judged, and why."""


def _by_patterns(stretch: Stretch, pattern_set: PatternSet) -> _Said:
    payer, payee = np.full((2, len(stretch.refused)), np.nan)
    payer[stretch.at] = stretch.followed.payer_scores
    payee[stretch.at] = stretch.followed.payee_scores
    return _Said(payer, payee, np.fmax(payer, payee), list(_explained(stretch, pattern_set)))


def _by_model(stretch: Stretch, pattern_set: PatternSet, judging: ModelJudging) -> _Said:
    """Probabilities, with the model's reasons from the lightest measure on, beside the patterns'.

    The patterns' strengths are those under the weights that were fitted.
    """
    opinion = judging.judge(stretch)
    weights = judging.model.pattern_weights
    score, arrived = opinion.transaction, ~np.isnan(opinion.arrival)
    thresholds = pattern_set.thresholds
    lightest = min(thresholds.measures.values(), default=thresholds.alert)
    chosen = np.flatnonzero(score >= lightest)
    reasons = [
        (at, "inflow" if arrived[at] else "outflow", why)
        for at, why in zip(chosen.tolist(), judging.walk.explain(opinion, chosen), strict=True)
    ]
    reasons += _explained(stretch, pattern_set, weights)
    return _Said(opinion.departure, opinion.arrival, score, reasons)


def _rows(ids: pl.Series, stretch: Stretch, said: _Said, thresholds: Thresholds) -> pl.DataFrame:
    scores = pl.DataFrame(
        {
            "row": np.arange(len(ids)),
            "id": ids,
            "score": said.score,
            "payer_score": said.payer,
            "payee_score": said.payee,
            "measure": [measure_for(each, thresholds).value for each in said.score.tolist()],
            "refused": pl.Series(stretch.refused, dtype=pl.String),
        },
        nan_to_null=True,
    )
    reasons = _reasons(said)
    return scores.join(reasons, on="row", how="left", maintain_order="left").select(
        pl.col(name).fill_null([]) if name == "reasons" else pl.col(name) for name in SCHEMA
    )


def _reasons(said: _Said) -> pl.DataFrame:
    """Columns `row` and `reasons`, strongest first, for the transactions that have any."""
    flat = pl.DataFrame(
        [
            {"row": at, "side": side, **reason.model_dump()}
            for at, side, reasons in said.reasons
            for reason in reasons
        ],
        schema={"row": pl.Int64, **REASON},
    )
    return (
        flat.sort("strength", descending=True, maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(pl.struct(REASON.keys()).alias("reasons"))
    )


def _explained(
    stretch: Stretch, pattern_set: PatternSet, weights: Floats | None = None
) -> Iterator[tuple[int, str, tuple[Reason, ...]]]:
    followed = stretch.followed
    fired = np.flatnonzero(followed.hit_strengths.any(axis=1))
    for hit in fired.tolist():
        side = "inflow" if followed.hit_sides[hit] == ARRIVAL else "outflow"
        features, strengths = followed.hit_features[hit], followed.hit_strengths[hit]
        if weights is not None:
            strengths = weighted(strengths, weights)
        yield int(stretch.at[followed.hits[hit]]), side, explain(pattern_set, features, strengths)


ALERT_SCHEMA: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "id": pl.String,
    "transaction_id": pl.String,
    "account": pl.String,
    "side": pl.String,
    "counterparty": pl.String,
    "amount_minor": pl.Int64,
    "currency": pl.String,
    "score": pl.Float64,
    "measure": pl.String,
    "reasons": pl.List(pl.Struct({k: v for k, v in REASON.items() if k != "side"})),
    "occurred_at": pl.String,
    "recorded_at": pl.String,
    "detected_at": pl.String,
    "pattern_set_version": pl.String,
    "origin": pl.String,
}


@dataclass(frozen=True, slots=True)
class Retold:
    """What `score_legs` came to."""

    digests: dict[int, str]
    """Of the account rows, by partition; equal to the live state's at the same place."""
    alerts: int


def score_legs(
    settings: Settings, bootstrap: str, out: Path, progress: Progress = lambda _done, _total: None
) -> Retold:
    """Replays the legs logs and writes their alerts to the parquet file `out`, one row each.

    Raises:
        Problem: the logs are not what a worker would apply, or the file cannot be written.
    """
    digests = {}
    alerts: list[dict[str, object]] = []
    for retraced in retrace(settings, bootstrap, progress):
        digests[retraced.partition] = retraced.digest
        alerts += [alert.model_dump(mode="json", exclude={"facts"}) for alert in retraced.alerts]
    _write(pl.DataFrame(alerts, schema=ALERT_SCHEMA), out)
    return Retold(digests, len(alerts))


def _write(frame: pl.DataFrame, out: Path) -> None:
    try:
        frame.write_parquet(out)
    except OSError as error:
        raise Problem(f"{out}: cannot be written", str(error)) from error
