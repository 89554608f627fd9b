"""A backlog is read in step: no source partition runs ahead of the others in event time."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.system.pipeline import Pipeline

from sluicegate.streaming.legs import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sluicegate.memory.accounts import Ints
    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

BATCH = 100
AN_HOUR_MS = 3_600_000


@pytest.fixture
def router_only(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Nobody applies: what is asked is the order in which the router writes."""
    router = {"batch_transactions": BATCH, "lead_transactions": 1_000_000}
    with Pipeline(broker.bootstrap, topic_prefix, tmp_path, router=router) as made:
        yield made


def backlog(source: int, count: int, from_ms: int) -> list[bytes]:
    """Payments spread evenly over an hour, of many accounts."""
    return [
        json.dumps(
            {
                "id": f"{source}-{number}",
                "occurred_at": moment(from_ms + number * AN_HOUR_MS // count),
                "amount": "1.00",
                "payer_account": f"P{(source * 7 + number) % 97}",
                "payee_account": "SHOP",
            }
        ).encode()
        for number in range(count)
    ]


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def routed(pipeline: Pipeline) -> list[Ints]:
    """Event times of each log of legs, in the order of the log."""
    return [
        np.concatenate(
            [
                unpack(message.value()).records["occurred_at_ms"]
                for message in pipeline.messages(pipeline.topics.legs, partition)
            ]
            or [np.zeros(0, np.int64)]
        )
        for partition in range(pipeline.settings.topics.partitions)
    ]


def until_routed(pipeline: Pipeline, count: int) -> list[Ints]:
    pipeline.until(
        lambda: sum(map(len, routed(pipeline))) >= count, f"{count} transactions to be routed"
    )
    return routed(pipeline)


def lateness_ms(times: Ints) -> int:
    """How far the latest leg lies behind one that came before it."""
    return int((np.maximum.accumulate(times) - times).max(initial=0))


def latest_of(pipeline: Pipeline, sizes: Sequence[int]) -> int:
    """How late legs come when so many transactions of the same hour wait in the partitions."""
    from_ms = round(time.time() * 1000) - 2 * AN_HOUR_MS
    for source, count in enumerate(sizes):
        pipeline.send(backlog(source, count, from_ms), partition=source)
    router = pipeline.start("router")
    logs = until_routed(pipeline, sum(sizes))
    assert [len(times) > 0 for times in logs] == [True] * 3
    assert router.stop() == 0
    return max(map(lateness_ms, logs))


def test_partitions_of_most_different_sizes_are_read_in_step(router_only: Pipeline) -> None:
    """The last one is idle. A batch of the first spans a minute of the hour."""
    sizes = (6_000, 2_000, 80, 0)
    span_ms = BATCH * AN_HOUR_MS // sizes[0]
    assert latest_of(router_only, sizes) <= 4 * span_ms


def test_less_than_a_batch_in_each_partition_is_merged(router_only: Pipeline) -> None:
    assert latest_of(router_only, (90, 60, 30, 0)) == 0
