"""Stories of one account, as an analyst writes them down, and what the patterns say of them.

    +0d 10:00     in   50,000.00  from B
    +0d 10:06:30  out  49,000.00  to C
    +1d 09:00     in    2,000.00  cash

    +1d 09:05     B pays C 1,000.00

Each line is one transaction of the account in focus with another account (or cash), in order of
time; the day counts from the first of the story. Amounts are in CNY. Before them may stand what is
told of accounts: of the holder of the one in focus, and directives.

    holder   born 1951, opened -9d, income 8_000, documents -1d, status cancelled
    involved C
    watched  A
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from tests.memory.legs import KINDS, directive, profile
from tests.memory.oracle import Holder, Order

from sluicegate.domain.profile import STATUS_CODES, EnterpriseStatus
from sluicegate.judging.judgement import explain
from sluicegate.memory.accounts import AccountMemory, Scorer
from sluicegate.memory.row import (
    ARRIVAL,
    DEPARTURE,
    FLAG_INVOLVED,
    FLAG_OUTSIDE,
    FLAG_PUNISHED,
    LEG,
)
from sluicegate.memory.words import ACCOUNT_WORDS, text_words

if TYPE_CHECKING:
    from sluicegate.judging.kernels import CompiledPatterns

FOCUS: Final = "A"
FIRST_DAY_MS: Final = 1_772_294_400_000
"""2026-03-01 00:00 in China."""
UTC_OFFSET_S: Final = 28_800

_LINE: Final = re.compile(
    r"\+(?P<day>\d+)d\s+(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?\s+"
    r"(?:in\s+(?P<inflow>[\d,]+\.\d\d)\s+(?:from\s+(?P<payer>\S+)|cash)"
    r"|out\s+(?P<outflow>[\d,]+\.\d\d)\s+(?:to\s+(?P<payee>\S+)|cash)"
    r"|(?P<another>\S+)\s+pays\s+(?P<other>\S+)\s+(?P<paid>[\d,]+\.\d\d))"
)


_DAY_MS: Final = 86_400_000
_TELLING: Final = re.compile(rf"(holder|{'|'.join(KINDS)})\s+(.*)")


class Line(NamedTuple):
    """One transaction of a story."""

    at_ms: int
    inflow: bool
    amount_minor: int
    other: str | None
    payer: str | None = None
    """Who pays the other, where the account in focus has no part in it."""


class Verdict(NamedTuple):
    """What is said of the last line, from the side of the account in focus."""

    score: float
    patterns: frozenset[str]
    reasons: tuple[str, ...]


def parse_story(text: str) -> list[Line]:
    """The lines of a story; a line that cannot be read is an error that shows it."""
    lines = [
        _parse_line(line.strip())
        for line in text.splitlines()
        if line.strip() and not _TELLING.match(line.strip())
    ]
    times = [line.at_ms for line in lines]
    if times != sorted(times):
        raise ValueError("the lines of a story are in order of time")
    return lines


def _parse_line(text: str) -> Line:
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read the line {text!r}")
    seconds = int(match["second"] or 0) + 60 * int(match["minute"]) + 3_600 * int(match["hour"])
    amount = (
        (match["inflow"] or match["outflow"] or match["paid"]).replace(",", "").replace(".", "")
    )
    return Line(
        at_ms=FIRST_DAY_MS + 1_000 * (seconds + 86_400 * int(match["day"])),
        inflow=match["inflow"] is not None,
        amount_minor=int(amount),
        other=match["payer"] or match["payee"] or match["other"],
        payer=match["another"],
    )


def tell(text: str, compiled: CompiledPatterns) -> Verdict:
    """Step the whole story through a fresh memory; the verdict is on its last line."""
    lines = parse_story(text)
    side = ARRIVAL if lines[-1].inflow else DEPARTURE
    memory = AccountMemory(capacity=1_000)
    orders: list[Order] = []
    for told in filter(None, map(_TELLING.match, map(str.strip, text.splitlines()))):
        if told[1] == "holder":
            memory.learn(profile(FOCUS, _holder(told[2])))
        else:
            orders.append(Order(f"D{len(orders)}", told[2], told[1]))
            memory.direct(directive(orders[-1]))
    return _stepped(memory, _legs(lines, orders), side, compiled)


def _holder(text: str) -> Holder:
    said = dict(part.split() for part in text.split(", "))
    first_day = FIRST_DAY_MS // _DAY_MS + 1  # in China
    status = said.get("status")
    return Holder(
        birth_year=int(said["born"]) if "born" in said else None,
        opened_day=first_day + _days(said["opened"]) if "opened" in said else None,
        income=float(said["income"].replace("_", "")) if "income" in said else None,
        documents_day=first_day + _days(said["documents"]) if "documents" in said else None,
        status=STATUS_CODES[EnterpriseStatus(status)] if status else None,
    )


def _days(text: str) -> int:
    return int(text.removesuffix("d"))


def _legs(lines: list[Line], orders: list[Order]) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """The first leg of each transaction: the departure, or the arrival of cash in."""
    told = {(order.account, order.kind) for order in orders}
    legs = np.zeros(len(lines), LEG)
    for leg, line in zip(legs, lines, strict=True):
        payer, payee = (line.other, FOCUS) if line.inflow else (line.payer or FOCUS, line.other)
        account, counterparty = (payer, payee) if payer is not None else (payee, None)
        leg["account"] = text_words(account, ACCOUNT_WORDS)
        leg["counterparty"] = text_words(counterparty, ACCOUNT_WORDS)
        leg["side"] = DEPARTURE if payer is not None else ARRIVAL
        leg["flags"] = (
            FLAG_OUTSIDE * (payee is None)
            | FLAG_INVOLVED * ((counterparty, "involved") in told)
            | FLAG_PUNISHED * ((counterparty, "punished") in told)
        )
        leg["occurred_at_ms"] = leg["recorded_at_ms"] = line.at_ms
        leg["amount_minor"] = line.amount_minor
        if payer is None:
            leg["provenance"] = np.nan
    return legs


def _stepped(
    memory: AccountMemory,
    legs: np.ndarray[tuple[int], np.dtype[np.void]],
    side: int,
    compiled: CompiledPatterns,
) -> Verdict:
    """The one place that knows the account memory's interface."""
    scorer = Scorer(compiled.kernel, compiled.count, threshold=0.0, utc_offset_s=UTC_OFFSET_S)
    followed = memory.follow(legs, scorer)  # at threshold 0 every leg is a hit
    (at,) = np.flatnonzero((followed.hits == len(legs) - 1) & (followed.hit_sides == side))
    scores = followed.payee_scores if side == ARRIVAL else followed.payer_scores
    features, strengths = followed.hit_features[at], followed.hit_strengths[at]
    reasons = explain(compiled.pattern_set, features, strengths)
    return Verdict(
        score=float(scores[-1]),
        patterns=frozenset(reason.pattern for reason in reasons),
        reasons=tuple(reason.en for reason in reasons),
    )
