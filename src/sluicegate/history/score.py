"""Scores a file of transactions with the live step function, in time order, without a broker.

Each transaction is judged as of itself and never later: the departure against the payer's row,
then at once the arrival against the payee's, as the pipeline does with messages between.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from sluicegate.domain.alert import Reason
from sluicegate.errors import Problem
from sluicegate.history.events import Events, read_events
from sluicegate.history.walk import ANY_SCORE, Progress, Stretch, walk
from sluicegate.judging.judgement import explain, measure_for
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.accounts import Followed, Ints
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
    progress: Progress = lambda _done, _total: None,
) -> Scored:
    """Writes one row for each transaction of `path` to the parquet file `out`, in time order.

    Columns: `SCHEMA`. A transaction that the contract refuses, or that repeats one within the
    configured reach, has no score, and says why in `refused`. `progress(done, total)` is called
    after each chunk.

    Raises:
        Problem: the file cannot be read or written, or the patterns have a mistake.
    """
    events = read_events(path, columns=columns, timezone=timezone)
    frame = score_events(settings, events, progress)
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
) -> pl.DataFrame:
    """The scores of events in their order, as `score_file` writes them."""
    scoring = scoring_of(settings, threshold=ANY_SCORE)
    parts = [pl.DataFrame(schema=SCHEMA)]
    for stretch in walk(settings, events, scoring, progress):
        ids = events.frame["id"].slice(stretch.start, len(stretch.refused))
        parts.append(_rows(ids, stretch, scoring.pattern_set))
    return pl.concat(parts)


def _rows(
    ids: pl.Series,
    stretch: Stretch,
    pattern_set: PatternSet,
) -> pl.DataFrame:
    followed, at = stretch.followed, stretch.at
    payer, payee = np.full((2, len(ids)), np.nan)
    payer[at], payee[at] = followed.payer_scores, followed.payee_scores
    score = np.fmax(payer, payee)
    thresholds = pattern_set.thresholds
    scores = pl.DataFrame(
        {
            "row": np.arange(len(ids)),
            "id": ids,
            "score": score,
            "payer_score": payer,
            "payee_score": payee,
            "measure": [measure_for(each, thresholds).value for each in score.tolist()],
            "refused": pl.Series(stretch.refused, dtype=pl.String),
        },
        nan_to_null=True,
    )
    reasons = _reasons(followed, at, pattern_set)
    return scores.join(reasons, on="row", how="left", maintain_order="left").select(
        pl.col(name).fill_null([]) if name == "reasons" else pl.col(name) for name in SCHEMA
    )


def _reasons(followed: Followed, at: Ints, pattern_set: PatternSet) -> pl.DataFrame:
    """Columns `row` and `reasons`, strongest first, for the transactions that have any."""
    said = [
        {"row": int(at[index]), "side": side, **reason.model_dump()}
        for index, side, reasons in _explained(followed, pattern_set)
        for reason in reasons
    ]
    flat = pl.DataFrame(said, schema={"row": pl.Int64, **REASON})
    return (
        flat.sort("strength", descending=True, maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(pl.struct(REASON.keys()).alias("reasons"))
    )


def _explained(
    followed: Followed, pattern_set: PatternSet
) -> Iterator[tuple[int, str, tuple[Reason, ...]]]:
    for hit, index in enumerate(followed.hits.tolist()):
        side = "inflow" if followed.hit_sides[hit] == ARRIVAL else "outflow"
        features, strengths = followed.hit_features[hit], followed.hit_strengths[hit]
        yield index, side, explain(pattern_set, features, strengths)


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
