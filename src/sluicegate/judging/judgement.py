"""From strengths and features to what a person reads: reasons, measure, alert.

Pure functions of their arguments, so the same leg gives the same alert whenever it is judged.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import isfinite, prod
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sluicegate.domain.alert import (
    AlertFields,
    Origin,
    Reason,
    ReasonFields,
    Side,
    alert_id,
    json_moment,
)
from sluicegate.domain.measure import Measure
from sluicegate.judging.patterns import CheckedPattern, PatternSet, Thresholds, Words
from sluicegate.judging.templates import Language
from sluicegate.memory.features import FEATURES

Vector = NDArray[np.float64]
NAMES: Final = tuple(feature.name for feature in FEATURES)


class JudgedLeg(NamedTuple):
    """What an alert says of its leg besides the judgement; times are ms since the epoch."""

    transaction_id: str
    account: str
    side: Side
    counterparty: str | None
    amount_minor: int
    currency: str
    occurred_at_ms: int
    recorded_at_ms: int
    detected_at_ms: int
    origin: Origin = "stream"


def alert_fields(
    pattern_set: PatternSet,
    leg: JudgedLeg,
    score: float,
    features: Vector,
    strengths: Vector,
    *,
    model_reasons: tuple[Reason, ...] = (),
    model_version: str | None = None,
) -> AlertFields:
    """The alert for one judged leg.

    `features` has shape (FEATURE_COUNT,), `strengths` one entry for each pattern of the set. The
    reasons of a fitted model stand beside those of the patterns.

    Raises:
        ValueError: the score is no share; or whatever a reason raises that cannot be given.
    """
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"the score is {score}, which is no share")
    fired, values = _fired(pattern_set, strengths), features.tolist()
    reasons = _reasons(fired, values)
    if model_reasons:
        reasons = _strongest_first([*reasons, *map(_reason_fields, model_reasons)])
    return AlertFields(
        id=alert_id(leg.transaction_id, leg.account, leg.side),
        transaction_id=leg.transaction_id,
        account=leg.account,
        side=leg.side,
        counterparty=leg.counterparty,
        amount_minor=leg.amount_minor,
        currency=leg.currency,
        score=score,
        measure=measure_for(score, pattern_set.thresholds),
        reasons=reasons,
        facts=_facts(fired, values),
        occurred_at=json_moment(leg.occurred_at_ms),
        recorded_at=json_moment(leg.recorded_at_ms),
        detected_at=json_moment(leg.detected_at_ms),
        pattern_set_version=pattern_set.version,
        model_version=model_version,
        origin=leg.origin,
    )


def explain(pattern_set: PatternSet, features: Vector, strengths: Vector) -> tuple[Reason, ...]:
    """The patterns that fired in words, strongest first, equals in the order of the file."""
    found = _reasons(_fired(pattern_set, strengths), features.tolist())
    return tuple(Reason(**fields) for fields in found)


def facts(pattern_set: PatternSet, features: Vector, strengths: Vector) -> dict[str, float]:
    """The features behind the reasons by name, in the order of the table; NULLs are left out."""
    return _facts(_fired(pattern_set, strengths), features.tolist())


def measure_for(score: float, thresholds: Thresholds) -> Measure:
    """The heaviest measure whose threshold the score reaches, else none."""
    reached = (measure for measure, least in thresholds.measures.items() if score >= least)
    return max(reached, key=lambda measure: measure.severity, default=Measure.NONE)


def score_of(reasons: Iterable[Reason]) -> float:
    """The score again, from its reasons alone: equal but for the rounding of the last digits."""
    return 1.0 - prod(1.0 - reason.strength for reason in reasons)


def questions_of(pattern_set: PatternSet, reasons: Iterable[Reason]) -> tuple[Words, ...]:
    """What the teller should ask, strongest reason first, each question once.

    Reasons that are no pattern of the set (rules of the counter, a model's own) ask nothing here.
    """
    names = [reason.pattern for reason in reasons]
    if not names:
        return ()
    declared = {checked.pattern.name: checked.pattern.questions for checked in pattern_set.patterns}
    asked = (declared[name] for name in names if name in declared)
    pairs = (pair for each in asked for pair in zip(each.zh, each.en, strict=True))
    return tuple(Words(zh=zh, en=en) for zh, en in dict.fromkeys(pairs))


def questions_for(
    pattern_set: PatternSet, reasons: Iterable[Reason], language: Language
) -> tuple[str, ...]:
    """The same in one language."""
    asked = questions_of(pattern_set, reasons)
    return tuple(dict.fromkeys(getattr(each, language) for each in asked))


_Fired = list[tuple[CheckedPattern, float]]


def _fired(pattern_set: PatternSet, strengths: Vector) -> _Fired:
    """The patterns that fired, in the order of the file, each with its strength.

    Shadows, whose strengths are below zero, are left out.
    """
    of_each = zip(pattern_set.patterns, strengths.tolist(), strict=True)
    return [(checked, strength) for checked, strength in of_each if strength > 0]


def _reasons(fired: _Fired, values: Sequence[float]) -> list[ReasonFields]:
    value_at = values.__getitem__
    return _strongest_first(
        [
            ReasonFields(
                pattern=checked.pattern.name,
                strength=strength,
                zh=checked.reason_zh.fill(value_at),
                en=checked.reason_en.fill(value_at),
            )
            for checked, strength in fired
        ]
    )


def _reason_fields(reason: Reason) -> ReasonFields:
    return ReasonFields(
        pattern=reason.pattern, strength=reason.strength, zh=reason.zh, en=reason.en
    )


def _strongest_first(reasons: list[ReasonFields]) -> list[ReasonFields]:
    return sorted(reasons, key=itemgetter("strength"), reverse=True)  # equals stay in their order


def _facts(fired: _Fired, values: Sequence[float]) -> dict[str, float]:
    told = _told(*(checked.feature_indexes for checked, _ in fired))
    return {name: values[index] for index, name in told if isfinite(values[index])}


@lru_cache(maxsize=4096)
def _told(*read: frozenset[int]) -> tuple[tuple[int, str], ...]:
    """Indexes and names of features of which some of these have each; few sets fire together."""
    return tuple((index, NAMES[index]) for index in sorted(frozenset[int]().union(*read)))
