"""A leg whose judgement failed: what is kept of it in dead-letter, so that it is judged again.

The leg itself is remembered like any other. What failed is to say what was judged: the features
are those of then, so a later judgement sees what the first one should have seen.
"""

from typing import Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from sluicegate.domain.alert import Alert, Side
from sluicegate.errors import Problem
from sluicegate.judging.judgement import JudgedLeg, Vector, alert_fields, explain
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.accounts import Scorer
from sluicegate.memory.features import FEATURES
from sluicegate.memory.row import ARRIVAL, DEPARTURE
from sluicegate.streaming.scoring import Scoring

JUDGEMENT_FAILED: Final = "JUDGEMENT_FAILED"
"""The reason under which it goes to dead-letter."""


class UnjudgedLeg(BaseModel):
    """One leg as of its judgement; times are milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transaction_id: str
    account: str
    side: Side
    counterparty: str | None
    amount_minor: int
    currency: str
    occurred_at_ms: int
    recorded_at_ms: int
    detected_at_ms: int
    pattern_set_version: str
    pattern: str
    """Whose reason could not be given; empty if it was none's alone."""
    error: str
    features: dict[str, float | None]
    """By name; None is NULL."""

    @classmethod
    def of(
        cls,
        leg: JudgedLeg,
        judged: Vector,
        strengths: Vector,
        patterns: PatternSet,
        error: Exception,
    ) -> Self:
        """The leg whose features (`[FEATURE_COUNT]`) and strengths led to the error."""
        values = zip(FEATURES, judged.tolist(), strict=True)
        return cls(
            **{name: getattr(leg, name) for name in _LEG_FIELDS},
            pattern_set_version=patterns.version,
            pattern=_failing(patterns, judged, strengths),
            error=f"{type(error).__name__}: {error}",
            features={f.name: value if np.isfinite(value) else None for f, value in values},
        )


_LEG_FIELDS: Final = (
    "transaction_id", "account", "side", "counterparty", "amount_minor", "currency",
    "occurred_at_ms", "recorded_at_ms", "detected_at_ms",
)  # fmt: skip


def judge_again(scoring: Scoring, value: bytes) -> Alert | None:
    """The alert of a leg that could not be judged, by the pattern set of now; None if none is due.

    Raises:
        Problem: it is not such a leg, or its judgement fails again.
    """
    try:
        kept = UnjudgedLeg.model_validate_json(value)
    except ValidationError as error:
        raise Problem("this is not a leg that could not be judged", str(error)) from error
    judged = np.array([_number(kept.features.get(feature.name)) for feature in FEATURES])
    score, strengths = _score(scoring.scorer, kept.side, judged)
    if score < scoring.scorer.threshold:
        return None
    leg = JudgedLeg(**{name: getattr(kept, name) for name in _LEG_FIELDS})
    try:
        fields = alert_fields(scoring.pattern_set, leg, score, judged, strengths)
        return Alert.model_validate(fields)
    except Exception as error:
        raise Problem(
            f"the judgement of transaction {kept.transaction_id} fails again",
            f"pattern {_failing(scoring.pattern_set, judged, strengths)!r}: {error}",
            "mend the pattern's reason in the file of patterns",
        ) from error


def _score(scorer: Scorer, side: Side, judged: Vector) -> tuple[float, Vector]:
    strengths = np.zeros(scorer.pattern_count)
    return scorer.kernel(ARRIVAL if side == "inflow" else DEPARTURE, judged, strengths), strengths


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _failing(patterns: PatternSet, judged: Vector, strengths: Vector) -> str:
    """The first pattern whose reason cannot be given alone."""
    for index in np.flatnonzero(strengths).tolist():
        alone = np.zeros_like(strengths)
        alone[index] = strengths[index]
        try:
            explain(patterns, judged, alone)
        except Exception:  # noqa: BLE001 - whatever it is, it is this pattern's
            return str(patterns.patterns[index].pattern.name)
    return ""
