"""Legs for tests of the account memory: from plain values to records, and a pattern that judges."""

from collections.abc import Sequence

import numba as nb
import numpy as np
from tests.memory.oracle import Holder, Leg, Order

from sluicegate.memory.accounts import AccountMemory, Floats, Records, Scorer
from sluicegate.memory.features import FEATURES
from sluicegate.memory.kernel import fingerprint
from sluicegate.memory.row import (
    DIRECTIVE,
    FLAG_INVOLVED,
    FLAG_OUTSIDE,
    FLAG_PUNISHED,
    FOR_EVER,
    INVOLVED,
    LEG,
    PROFILE,
    PUNISHED,
    WATCHED,
    WHITELISTED,
)
from sluicegate.memory.step import STRENGTHS
from sluicegate.memory.words import ACCOUNT_WORDS, TRANSACTION_WORDS, name_hash, texts_words

PROVENANCE = [feature.name for feature in FEATURES if feature.provenance]
UTC_8 = 8 * 3_600
NOON_MS = 1_772_942_400_000
"""2026-03-08 12:00 in China."""


@nb.njit(STRENGTHS, cache=False)
def above_a_thousand(
    _side: int, features: Floats, strengths: Floats
) -> float:  # pragma: no cover - compiled
    """One pattern: an amount above 1,000.00 is half a suspicion."""
    strengths[0] = 0.5 if features[0] > 1000.0 else 0.0
    return float(strengths[0])


def scorer(*, threshold: float = 0.0, utc_offset_s: int = UTC_8) -> Scorer:
    """Judges by `above_a_thousand`; at threshold 0 every leg is a hit, so its features are told."""
    return Scorer(above_a_thousand, 1, threshold, utc_offset_s)


def records(legs: Sequence[Leg]) -> Records:
    """LEG records: a departure to cash is flagged as the end of its transaction."""
    made: Records = np.zeros(len(legs), LEG)
    made["account"] = texts_words([leg.account for leg in legs], ACCOUNT_WORDS)
    made["counterparty"] = texts_words([leg.other for leg in legs], ACCOUNT_WORDS)
    made["position"] = np.arange(len(legs))
    made["occurred_at_ms"] = [leg.at_ms for leg in legs]
    made["recorded_at_ms"] = made["occurred_at_ms"] + 5
    made["amount_minor"] = [leg.minor for leg in legs]
    made["side"] = [1 if leg.inflow else -1 for leg in legs]
    made["flags"] = [
        FLAG_OUTSIDE * (not leg.inflow and leg.other is None)
        | FLAG_INVOLVED * leg.other_involved
        | FLAG_PUNISHED * leg.other_punished
        for leg in legs
    ]
    for k, name in enumerate(PROVENANCE):
        made["provenance"][:, k] = [leg.provenance.get(name, np.nan) for leg in legs]
    return made


def profile(account: str, holder: Holder) -> Records:
    """One PROFILE record."""
    made: Records = np.zeros(1, PROFILE)
    made["account"] = texts_words([account], ACCOUNT_WORDS)
    made["opened_day"] = holder.opened_day or 0
    made["income"] = holder.income or 0
    made["birth_year"] = holder.birth_year or 0
    made["documents_day"] = holder.documents_day or 0
    made["holder_kind"] = holder.kind or 0
    tier = 0 if holder.tier is None else holder.tier + 1
    made["standing"] = (holder.status or 0) + 8 * tier
    return made


KINDS = {
    "involved": INVOLVED,
    "punished": PUNISHED,
    "whitelisted": WHITELISTED,
    "watched": WATCHED,
}


def directive(order: Order) -> Records:
    """One DIRECTIVE record."""
    made: Records = np.zeros(1, DIRECTIVE)
    made["id"] = texts_words([order.id], TRANSACTION_WORDS)
    made["account"] = texts_words([order.account], ACCOUNT_WORDS)
    made["counterparty"] = texts_words([order.other], ACCOUNT_WORDS)
    made["until_s"] = FOR_EVER if order.until_s is None else order.until_s
    made["patterns"][0, : len(order.patterns)] = [name_hash(name) for name in order.patterns]
    made["kind"] = KINDS[order.kind]
    made["is_ended"] = order.ended
    return made


def step_all(memory: AccountMemory, legs: Records) -> Floats:
    """Steps the legs as one message; the features of each, in order."""
    return memory.step(legs, scorer(), partition=0, log_offset=0).hit_features


def apart(count: int, *, prefix: str = "P") -> list[str]:
    """Names of which no two share a pair slot, a sketch bit or a fingerprint."""
    names: list[str] = []
    slots: set[int] = set()
    bits: set[int] = set()
    number = 0
    while len(names) < count:
        number += 1
        name = f"{prefix}{number:04}"
        mark = int(fingerprint(texts_words([name], ACCOUNT_WORDS)[0]))
        if mark & 63 not in slots and mark >> 26 not in bits:
            names.append(name)
            slots.add(mark & 63)
            bits.add(mark >> 26)
    return names
