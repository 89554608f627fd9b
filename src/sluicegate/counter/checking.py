"""A check from question to answer: payer's side, payee's side, what the customer says, policy."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from sluicegate.counter.contract import CheckTold, Intended, SideTold
from sluicegate.counter.owners import Unjudged
from sluicegate.counter.rules import RuleFile, Said, said_by
from sluicegate.counter.verdict import VERDICTS, Verdict, heaviest
from sluicegate.domain.alert import Side
from sluicegate.judging.judgement import measure_for
from sluicegate.judging.patterns import Thresholds, Words
from sluicegate.streaming.judge_contract import IntendedLeg, JudgedLeg

OUT: Final[Side] = "outflow"
IN: Final[Side] = "inflow"


class Judge(Protocol):
    """Who judges legs against live account memory."""

    version: str | None
    thresholds: Thresholds | None
    """Of the set that judges, which may be another than the configured one."""

    async def judge(
        self, legs: Sequence[IntendedLeg], deadline: float
    ) -> list[JudgedLeg | Unjudged]:
        """Judges each leg, in order, or says why not."""


@dataclass(frozen=True, slots=True)
class Rulebook:
    """What decides besides the workers: thresholds, rules over customer facts, policies."""

    thresholds: Thresholds
    rules: RuleFile
    desk_phone: str


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer, and what it was weighed by: sides with the facts behind their reasons."""

    intended: Intended
    answer: CheckTold
    weighed: tuple[tuple[SideTold, dict[str, float]], ...]
    """The judged sides, and the customer's own if only its rules have spoken."""


async def check_all(
    judge: Judge, rulebook: Rulebook, asked: Sequence[Intended], began: float, deadline: float
) -> list[Checked]:
    """Judges all checks, first the payers' sides together, then those payees' that are elsewhere.

    `began` and `deadline` are of the monotonic clock.
    """
    out, into = await _judge_both(judge, asked, [0] * len(asked), deadline)
    # A departure is marked with what directives say of the payee, whose worker alone knows it.
    marks = [payee.flags if isinstance(payee, JudgedLeg) else 0 for payee in into]
    marked = [index for index, flags in enumerate(marks) if flags and out[index] is not None]
    if marked:
        chosen = [asked[index] for index in marked]
        again = await _judge_both(judge, chosen, [marks[index] for index in marked], deadline)
        for index, payer, payee in zip(marked, *again, strict=True):
            if isinstance(payer, JudgedLeg) and isinstance(payee, JudgedLeg):
                out[index], into[index] = payer, payee
    if judge.thresholds is not None:
        rulebook = replace(rulebook, thresholds=judge.thresholds)
    took_ms = round((time.monotonic() - began) * 1000, 2)
    return [
        answer_for(each, payer, payee, rulebook, version=judge.version, took_ms=took_ms)
        for each, payer, payee in zip(asked, out, into, strict=True)
    ]


async def _judge_both(
    judge: Judge, asked: Sequence[Intended], marks: Sequence[int], deadline: float
) -> tuple[list[JudgedLeg | Unjudged | None], list[JudgedLeg | Unjudged | None]]:
    """Payers' and payees' sides; `marks` are the flags of the departures."""
    departures = [departure_of(each, flags) for each, flags in zip(asked, marks, strict=True)]
    out = await _judge_some(judge, departures, deadline)
    arrivals = [
        None if _followed(payer) else arrival_of(each, payer)
        for each, payer in zip(asked, out, strict=True)
    ]
    asked_for = await _judge_some(judge, arrivals, deadline)
    into = [_followed(payer) or payee for payer, payee in zip(out, asked_for, strict=True)]
    return out, into


def departure_of(intended: Intended, flags: int = 0) -> IntendedLeg | None:
    """The payer's leg, with what is known of the payee; None for cash paid in."""
    transaction = intended.transaction
    if transaction.payer_account is None:
        return None
    leg = _leg(intended, OUT, transaction.payer_account, transaction.payee_account)
    return leg.model_copy(update={"flags": flags}) if flags else leg


def arrival_of(intended: Intended, departure: JudgedLeg | Unjudged | None) -> IntendedLeg | None:
    """The payee's leg with what its departure carries; None for cash paid out."""
    transaction = intended.transaction
    if transaction.payee_account is None:
        return None
    leg = _leg(intended, IN, transaction.payee_account, transaction.payer_account)
    if isinstance(departure, JudgedLeg):
        return leg.model_copy(update={"provenance": departure.provenance, "flags": departure.flags})
    return leg


def answer_for(
    intended: Intended,
    payer: JudgedLeg | Unjudged | None,
    payee: JudgedLeg | Unjudged | None,
    rulebook: Rulebook,
    *,
    version: str | None,
    took_ms: float,
) -> Checked:
    """The answer: the heaviest of the sides' verdicts, and of the policy if one is missing."""
    transaction = intended.transaction
    pair_new = payer.pair_new if isinstance(payer, JudgedLeg) else None
    said = said_by(rulebook.rules, transaction, intended.customer, pair_new)
    # What the customer says weighs on the side where the customer is.
    own = OUT if payer is not None else IN
    judged = [(OUT, transaction.payer_account, payer), (IN, transaction.payee_account, payee)]
    legs = [leg for _, _, leg in judged if isinstance(leg, JudgedLeg)]
    missing = tuple(dict.fromkeys(str(leg) for _, _, leg in judged if isinstance(leg, Unjudged)))
    weighed = [
        (told, facts)
        for side, account, leg in judged
        for told, facts in _weighed(
            account, side, leg, said if side == own else NOTHING_SAID, rulebook.thresholds
        )
    ]
    score = max((side.score for side, _ in weighed), default=0.0)
    policy = [rulebook.rules.verdict_for(transaction.channel)] if missing else []
    verdict = heaviest([*(VERDICTS[side.measure] for side, _ in weighed), *policy])
    heard = {OUT if leg is payer else IN for leg in legs}
    answer = CheckTold(
        check_id=intended.check_id,
        transaction_id=transaction.id,
        verdict=verdict,
        score=score,
        measure=measure_for(score, rulebook.thresholds),
        sides=tuple(side for side, _ in weighed if side.side in heard),
        questions=_questions(legs, said, rulebook.rules, verdict),
        say=said.words,
        next_step=rulebook.rules.next_steps[verdict],
        desk_phone=rulebook.desk_phone,
        degraded=bool(missing),
        degraded_because=missing,
        pattern_set_version=version if legs else None,
        took_ms=took_ms,
    )
    return Checked(intended, answer, tuple(weighed))


NOTHING_SAID: Final = Said((), (), {})


def _followed(payer: JudgedLeg | Unjudged | None) -> JudgedLeg | None:
    """The arrival that the payer's owner judged along, because it owns the payee's account too."""
    return payer.arrival if isinstance(payer, JudgedLeg) else None


async def _judge_some(
    judge: Judge, legs: Sequence[IntendedLeg | None], deadline: float
) -> list[JudgedLeg | Unjudged | None]:
    """Judges the legs that there are, in their places."""
    there = [leg for leg in legs if leg is not None]
    judged = iter(await judge.judge(there, deadline) if there else [])
    return [None if leg is None else next(judged) for leg in legs]


def _leg(intended: Intended, side: Side, account: str, counterparty: str | None) -> IntendedLeg:
    transaction = intended.transaction
    return IntendedLeg.model_construct(  # its parts are validated
        account=account,
        counterparty=counterparty,
        side=side,
        amount_minor=transaction.amount_minor,
        occurred_at_ms=transaction.occurred_at_ms,
        transaction=transaction.id,
        channel=transaction.channel,
        kind=transaction.kind,
        provenance=None,
        flags=0,
    )


def _weighed(
    account: str | None,
    side: Side,
    leg: JudgedLeg | Unjudged | None,
    said: Said,
    thresholds: Thresholds,
) -> Iterator[tuple[SideTold, dict[str, float]]]:
    """A side with what was said there; none if it is not judged and nothing was said."""
    judged = leg if isinstance(leg, JudgedLeg) else None
    if account is None or (judged is None and not said.reasons):
        return
    score = said.joined(judged.score if judged else 0.0)
    reasons = (*(judged.reasons if judged else ()), *said.reasons)
    told = SideTold(
        account=account,
        side=side,
        score=score,
        measure=measure_for(score, thresholds),
        reasons=tuple(sorted(reasons, key=lambda reason: -reason.strength)),
    )
    yield told, {**(judged.facts if judged else {}), **said.facts}


def _questions(
    legs: Sequence[JudgedLeg], said: Said, rules: RuleFile, verdict: Verdict
) -> tuple[Words, ...]:
    """Those of the customer's own rules first; there is always something to ask if not allowed."""
    asked = [*said.questions, *(each for leg in legs for each in leg.questions)]
    both = dict.fromkeys((each.zh, each.en) for each in asked)
    if not both and verdict is not Verdict.ALLOW:
        both = dict.fromkeys(zip(rules.questions.zh, rules.questions.en, strict=True))
    return tuple(Words(zh=zh, en=en) for zh, en in both)
