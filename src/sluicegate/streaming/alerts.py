"""From the hits of a legs message to alerts; the worker and a replay of its log make the same."""

from collections.abc import Iterable, Iterator
from typing import Final

from sluicegate.domain.alert import Alert, AlertFields, Reason
from sluicegate.judging.judgement import JudgedLeg, Vector, alert_fields
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.accounts import Records
from sluicegate.memory.row import ARRIVAL
from sluicegate.memory.words import words_text
from sluicegate.streaming.partition import Applied
from sluicegate.streaming.unjudged import UnjudgedLeg

_TOLD: Final = ("side", "amount_minor", "occurred_at_ms", "recorded_at_ms")


def alerts_of(
    applied: Applied, pattern_set: PatternSet, currency: str, detected_at_ms: int
) -> Iterator[AlertFields | UnjudgedLeg]:
    """An alert for each leg whose score reached the threshold, in the order of the log.

    They are made as they are asked for, of copies: the message may be forgotten. A leg of which no
    alert can be made, because its judgement fails, comes as it is kept.

    `detected_at_ms` is the Kafka timestamp of the legs message, so that a replay says the same.
    """
    stepped = applied.stepped
    legs = applied.legs[stepped.hits]
    opinion = stepped.opinion
    hits = zip(
        _judged_legs(legs, currency, detected_at_ms),
        stepped.scores[stepped.hits].tolist(),
        stepped.hit_features.copy(),
        stepped.hit_strengths.copy(),
        [()] * len(legs) if opinion is None else opinion.reasons(),
        strict=True,
    )
    return _alerts(hits, pattern_set, None if opinion is None else opinion.model.version)


def as_read(judged: Iterable[AlertFields | UnjudgedLeg]) -> Iterator[Alert]:
    """The alerts as a reader of `stop-payment` has them; legs that were not judged are left out."""
    for each in judged:
        if not isinstance(each, UnjudgedLeg):
            yield Alert.model_validate(each)


def _alerts(
    hits: Iterable[tuple[JudgedLeg, float, Vector, Vector, tuple[Reason, ...]]],
    pattern_set: PatternSet,
    model_version: str | None,
) -> Iterator[AlertFields | UnjudgedLeg]:
    for leg, score, features, strengths, model_reasons in hits:
        try:
            yield alert_fields(
                pattern_set, leg, score, features, strengths,
                model_reasons=model_reasons, model_version=model_version,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - one judgement must not stop the stream
            yield UnjudgedLeg.of(leg, features, strengths, pattern_set, error)


def _judged_legs(legs: Records, currency: str, detected_at_ms: int) -> Iterator[JudgedLeg]:
    told = zip(
        words_text(legs["transaction"]),
        words_text(legs["account"]),
        words_text(legs["counterparty"]),
        *(legs[name].tolist() for name in _TOLD),
        strict=True,
    )
    for transaction, account, counterparty, side, amount, occurred, recorded in told:
        yield JudgedLeg(
            transaction_id=transaction,
            account=account,
            side="inflow" if side == ARRIVAL else "outflow",
            counterparty=counterparty or None,
            amount_minor=amount,
            currency=currency,
            occurred_at_ms=occurred,
            recorded_at_ms=recorded,
            detected_at_ms=detected_at_ms,
        )
