"""A transaction timed ahead of its own record by more than is configured goes to dead-letter."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from tests.streaming.world import RECORDED_AT_MS, SETTINGS, Record, World
from tests.streaming.world_router import RouterProcess

from sluicegate.domain.transaction import Refusal, Refused, Rules, Transaction, parse_transaction
from sluicegate.streaming.decoder import Decoder

AHEAD_MS = SETTINGS.contract.max_ahead_seconds * 1000


def message(name: str, at_ms: int) -> bytes:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return json.dumps(
        {
            "id": name,
            "occurred_at": f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z",
            "amount": "1.00",
            "payer_account": "A",
        }
    ).encode()


@pytest.mark.parametrize("ahead_ms", [0, 1, 999, 60_000, 86_400_000])
def test_the_configured_skew_decides_to_the_millisecond(ahead_ms: int) -> None:
    rules = Rules(max_ahead_ms=ahead_ms)
    edge, beyond = (message("T", RECORDED_AT_MS + ahead_ms + more) for more in (0, 1))
    assert isinstance(parse_transaction(edge, RECORDED_AT_MS, rules), Transaction)
    refused = parse_transaction(beyond, RECORDED_AT_MS, rules)
    assert isinstance(refused, Refused)
    assert (refused.refusal, refused.field) == (Refusal.TIME_IN_FUTURE, "occurred_at")
    decoded = Decoder(rules).decode([edge, beyond], np.full(2, RECORDED_AT_MS, np.int64))
    assert decoded.row_index.tolist() == [0]
    assert decoded.refused == ((1, refused),)


def test_the_router_measures_against_the_record_and_goes_on() -> None:
    """Never against the clock: a record of years ago decides as it did then."""
    recorded = [Record(0, at, b"").timestamp()[1] for at in range(4)]
    ahead = [AHEAD_MS + 1, AHEAD_MS, 10**11, -(10**11)]
    records = [
        Record(0, at, message(f"T{at}", recorded[at] + ahead[at])) for at in range(len(ahead))
    ]
    world = World([records, []])
    router = RouterProcess(world)
    router.route((4, 0))
    router.commit()
    assert world.dead == {(0, 0, "TIME_IN_FUTURE"), (0, 2, "TIME_IN_FUTURE")}
    assert sum(map(len, world.legs)) == 1
