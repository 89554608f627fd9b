"""The job that every engine does: windows of an account, one rule. Plain Python, no engine.

A transaction is two legs, one for each account. Of each account are remembered three windows (an
hour, a day, 30 days) of twelve buckets with count and sum of what came in and went out, a moving
average of the amounts, and the last times. sluicegate does this and its whole pattern set.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

WINDOWS_S = (3_600, 86_400, 30 * 86_400)
BUCKETS = 12
ALPHA = 0.05
DRAINED = 0.9
LEAST_INFLOW = 10_000.0

State = dict[str, Any]
Leg = dict[str, Any]


def legs_of(value: bytes) -> Iterator[tuple[str, Leg]]:
    """The legs of one JSON transaction, each with its account."""
    said = json.loads(value)
    leg = {
        "id": said["id"],
        "at": datetime.fromisoformat(said["occurred_at"]).timestamp(),
        "amount": float(said["amount"]),
    }
    if said.get("payer_account"):
        yield said["payer_account"], {**leg, "side": 1}
    if said.get("payee_account"):
        yield said["payee_account"], {**leg, "side": 0}


def empty() -> State:
    """What is remembered of an account that was never seen."""
    windows = [[[-1, 0, 0, 0.0, 0.0] for _ in range(BUCKETS)] for _ in WINDOWS_S]
    return {"windows": windows, "mean": 0.0, "last": [0.0, 0.0]}


def remember(state: State, leg: Leg) -> bool:
    """Folds a leg in; True if the account passes on, within a day, what came in."""
    at, amount, side = leg["at"], leg["amount"], leg["side"]
    for seconds, buckets in zip(WINDOWS_S, state["windows"], strict=True):
        number = int(at * BUCKETS // seconds)
        bucket = buckets[number % BUCKETS]
        if bucket[0] != number:
            bucket[:] = [number, 0, 0, 0.0, 0.0]
        bucket[1 + side] += 1
        bucket[3 + side] += amount
    state["mean"] += ALPHA * (amount - state["mean"])
    state["last"][side] = at
    oldest = int(at * BUCKETS // WINDOWS_S[1]) - BUCKETS
    came, went = 0.0, 0.0
    for bucket in state["windows"][1]:
        if bucket[0] > oldest:
            came += bucket[3]
            went += bucket[4]
    return side == 1 and came >= LEAST_INFLOW and went >= DRAINED * came
