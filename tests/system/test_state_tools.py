"""The state tools on a pipeline at work: looked at while it runs, made anew when logs are lost."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.system.pipeline import COMMAND, ROOT, Pipeline
from tests.system.traffic import Town

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.broker

CHUNK = 300
SOURCES = 4


def asked(pipeline: Pipeline, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sluicegate ARGUMENTS` against this pipeline."""
    where = ["--config", str(pipeline._config), *arguments, "--broker", pipeline.bootstrap]
    return subprocess.run(
        [str(COMMAND), *where],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(pipeline._folder / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def said(pipeline: Pipeline, *arguments: str) -> str:
    """The same, which must succeed; what it printed."""
    done = asked(pipeline, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(pipeline: Pipeline, *options: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(said(pipeline, "state", "digest", "--json", *options))
    return found


def send(pipeline: Pipeline, town: Town, chunks: int) -> int:
    for number in range(chunks):
        pipeline.send(town.transactions(CHUNK), partition=number % SOURCES)
    return chunks * CHUNK


def scored(pipeline: Pipeline) -> Town:
    """A town whose first payments are all applied; router and worker run."""
    town = Town(7, at_ms=round(time.time() * 1000) - 200 * 3_600_000)
    count = send(pipeline, town, SOURCES)
    pipeline.start("router")
    pipeline.start("worker")
    pipeline.until_scored(count)
    return town


def stop(pipeline: Pipeline) -> None:
    for part in pipeline._parts:
        if part.is_running:
            assert part.stop() == 0


def delete_legs(pipeline: Pipeline, partitions: Sequence[int]) -> None:
    """As if retention had come before the worker."""
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap, "log_level": 0})
    places = [
        TopicPartition(
            pipeline.topics.legs, number, pipeline.end_of(pipeline.topics.legs, number)[1]
        )
        for number in partitions
    ]
    for deleted in admin.delete_records(places).values():
        deleted.result()


def told_again(pipeline: Pipeline, since: Sequence[int]) -> set[str]:
    """Ids of the alerts that were raised from these offsets on."""
    topic = pipeline.topics.stop_payment
    return {
        json.loads(message.value() or b"{}")["id"]
        for number, start in enumerate(since)
        for message in pipeline.messages(topic, number)[start:]
    }


def test_the_state_is_rebuilt_from_the_transactions(pipeline: Pipeline) -> None:
    town = scored(pipeline)
    running = asked(pipeline, "state", "rebuild", "--yes")
    assert running.returncode == 1
    assert "at work" in running.stderr

    live = digest(pipeline)
    shown = said(pipeline, "state", "show", "6222020000000000007")
    assert f"claimed last by worker {pipeline.settings.worker.slot}" in shown
    stop(pipeline)
    assert digest(pipeline, "--checkpointed") == live
    alerts = pipeline.alerts()

    count = SOURCES * CHUNK + send(pipeline, town, SOURCES)
    unconfirmed = asked(pipeline, "state", "rebuild")
    assert unconfirmed.returncode == 1
    assert "--yes" in unconfirmed.stderr
    delete_legs(pipeline, range(3))

    since = [pipeline.end_of(pipeline.topics.stop_payment, number)[1] for number in range(3)]
    done = said(pipeline, "state", "rebuild", "--yes")
    assert done.startswith(f"{count:,} transactions routed and applied")
    states = digest(pipeline, "--checkpointed")
    assert states == digest(pipeline)
    for number in range(3):
        state = pipeline.checkpointed(number)
        assert state.applied == pipeline.end_of(pipeline.topics.legs, number)[1] - 1
        assert state == pipeline.replayed(number, state.applied)[0]
    # A backlog is judged with a bounded lead, so a few at the edge may differ; ids never do.
    assert alerts.keys() & told_again(pipeline, since)


def test_refused_transactions_are_replayed_once(pipeline: Pipeline) -> None:
    now_ms = round(time.time() * 1000)
    ahead = Town(9, at_ms=now_ms - 3_600_000).transactions(20)
    producer = Producer({"bootstrap.servers": pipeline.bootstrap, "log_level": 0})
    for value in ahead:  # an hour ahead of a record that says it is two hours old
        topic = pipeline.topics.transactions
        producer.produce(topic, value, partition=2, timestamp=now_ms - 2 * 3_600_000)
    assert producer.flush(30) == 0
    pipeline.start("router")
    pipeline.start("worker")
    assert pipeline.until_settled(20).dead_lettered == 20

    chosen = ("--reason", "TIME_IN_FUTURE")
    first = said(pipeline, "dead-letter", "replay", *chosen)
    assert first.startswith("20 transactions sent again")
    again = said(pipeline, "dead-letter", "replay", *chosen)
    assert again.startswith("0 transactions sent again")
    books = pipeline.until_settled(40)
    assert (books.scored, books.dead_lettered, books.repeats) == (20, 20, 0)

    # as if the command had died before it wrote its markers
    pipeline.send(ahead, partition=2)
    books = pipeline.until_settled(60)
    assert (books.scored, books.dead_lettered, books.repeats, books.doubled) == (20, 20, 20, 0)


def test_a_replay_after_the_router_was_restarted_with_the_fix_is_scored(pipeline: Pipeline) -> None:
    ahead = Town(9, at_ms=round(time.time() * 1000) + 3_600_000).transactions(20)
    pipeline.send(ahead, partition=2)
    router = pipeline.start("router")
    pipeline.start("worker")
    assert pipeline.until_settled(20).dead_lettered == 20
    assert router.stop() == 0
    text = pipeline._config.read_text("utf-8")
    pipeline._config.write_text(f"{text}[contract]\nmax_ahead_seconds = 90000\n")
    pipeline.start("router")
    assert said(pipeline, "dead-letter", "replay", "--reason", "TIME_IN_FUTURE")
    books = pipeline.until_settled(40)
    assert (books.scored, books.dead_lettered, books.repeats, books.lost) == (20, 20, 0, 0)
