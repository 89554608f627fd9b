"""The changelog stays short: rows are written again, what lies before them is deleted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.system.pipeline import Pipeline
from tests.system.traffic import Town

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

CHUNK = 40
TICK_SECONDS = 0.05
AN_HOUR_MS = 3_600_000
QUICK = {"checkpoint_seconds": 0.2, "sweep_seconds": 1.5}


def test_a_trimmed_changelog_restores_to_the_state_of_the_log(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    worker = {
        "slot": f"{topic_prefix}w0",
        "web_port": 0,
        "metrics_port": 0,
        "session_timeout_seconds": 6,
        **QUICK,
    }
    with Pipeline(broker.bootstrap, topic_prefix, tmp_path, worker=worker) as pipeline:
        pipeline.start("router")
        first = pipeline.start("worker")
        town = Town(1, at_ms=round(time.time() * 1000) - 200 * AN_HOUR_MS)
        numbers = range(pipeline.settings.topics.partitions)
        sent = 0

        def is_trimmed() -> bool:
            nonlocal sent
            pipeline.send(town.transactions(CHUNK), partition=sent // CHUNK % 4)
            sent += CHUNK
            time.sleep(TICK_SECONDS)
            return all(pipeline.end_of(pipeline.topics.changelog, at)[0] > 0 for at in numbers)

        pipeline.until(is_trimmed, "every changelog to be trimmed")
        first.kill()
        pipeline.start("worker")
        pipeline.send(town.transactions(CHUNK))
        books = pipeline.until_settled(sent + CHUNK)
        assert (books.scored, books.lost, books.doubled) == (sent + CHUNK, 0, 0)
        pipeline.until_checkpointed()
        for number in numbers:
            state = pipeline.checkpointed(number)
            replayed, _ = pipeline.replayed(number, state.applied)
            assert state == replayed
