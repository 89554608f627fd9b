"""From the hits of a legs message to alerts; the worker and a replay of its log make the same."""

from collections.abc import Iterator
from typing import Final

from sluicegate.domain.alert import Alert
from sluicegate.judging.judgement import JudgedLeg, build_alert
from sluicegate.judging.patterns import PatternSet
from sluicegate.memory.row import ARRIVAL
from sluicegate.memory.words import words_text
from sluicegate.streaming.partition import Applied
from sluicegate.streaming.unjudged import UnjudgedLeg

_TOLD: Final = ("side", "amount_minor", "occurred_at_ms", "recorded_at_ms")


def alerts_of(
    applied: Applied, pattern_set: PatternSet, currency: str, detected_at_ms: int
) -> Iterator[Alert | UnjudgedLeg]:
    """An alert for each leg whose score reached the threshold, in the order of the log.

    A leg of which no alert can be made, because its judgement fails, comes as it is kept.

    `detected_at_ms` is the Kafka timestamp of the legs message, so that a replay says the same.
    """
    stepped = applied.stepped
    legs = applied.legs[stepped.hits]
    scores = stepped.scores[stepped.hits].tolist()
    opinion = stepped.opinion
    reasons = [()] * len(legs) if opinion is None else opinion.reasons()
    model_version = None if opinion is None else opinion.model.version
    told = zip(
        words_text(legs["transaction"]),
        words_text(legs["account"]),
        words_text(legs["counterparty"]),
        *(legs[name].tolist() for name in _TOLD),
        strict=True,
    )
    for hit, (transaction, account, counterparty, side, amount, occurred, recorded) in enumerate(
        told
    ):
        judged = JudgedLeg(
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
        features, strengths = stepped.hit_features[hit], stepped.hit_strengths[hit]
        try:
            yield build_alert(
                pattern_set, judged, scores[hit], features, strengths,
                model_reasons=reasons[hit], model_version=model_version,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - one judgement must not stop the stream
            yield UnjudgedLeg.of(judged, features, strengths, pattern_set, error)
