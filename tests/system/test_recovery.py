"""Whoever dies, however: nothing is lost or counts twice, the state is that of the log."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from tests.streaming.flow import Payment, messages_of
from tests.system.pipeline import Pipeline
from tests.system.traffic import Town

from sluicegate.streaming.routing import Chains
from sluicegate.streaming.topics import create_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.system.pipeline import Part

    from sluicegate.domain.alert import Alert
    from sluicegate.operations.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

CHUNKS = 30
CHUNK = 40
TICK_SECONDS = 0.02
AN_HOUR_MS = 3_600_000
LEGS_A_MESSAGE = 10
NEVER_STARTED = """\
import asyncio
from faust.transport.consumer import Consumer

async def perform_seek(self):
    await asyncio.sleep(600)

Consumer.perform_seek = perform_seek
"""
"""Python that reads this first has Faust's start last for ever, after partitions were restored."""


@dataclass
class Bank:
    """A pipeline at work, and the bank that sends to it whatever happens."""

    pipeline: Pipeline
    town: Town
    sent: int = 0
    parts: dict[str, Part] = field(default_factory=dict)

    def start(self, name: str, *options: str) -> None:
        self.parts[name] = self.pipeline.start(name, *options)

    def send(self, chunks: int) -> None:
        """Sends to all four partitions by turns, at a steady rate."""
        for number in range(chunks):
            values = self.town.transactions(CHUNK)
            self.pipeline.send(values, partition=number % 4)
            self.sent += CHUNK
            time.sleep(TICK_SECONDS)

    def send_while(self, disturb: Callable[[], None]) -> None:
        """In the middle of it, with much on its way, something happens."""
        before = self.sent
        self.send(CHUNKS // 2)
        self.pipeline.until_scored(before + 1)
        disturb()
        self.send(CHUNKS // 2)

    def assert_exact(self) -> None:
        """The books balance, and states and alerts are those of a replay of the logs."""
        books = self.pipeline.until_settled(self.sent)
        assert (books.scored, books.repeats, books.dead_lettered) == (self.sent, 0, 0)
        assert (books.lost, books.doubled, books.holes, books.orphans) == (0, 0, 0, 0)
        self.pipeline.until_checkpointed()
        expected: dict[str, Alert] = {}
        for partition in range(self.pipeline.settings.topics.partitions):
            state = self.pipeline.checkpointed(partition)
            replayed, alerts = self.pipeline.replayed(partition, state.applied)
            assert state == replayed
            expected |= {alert.id: alert for alert in alerts}
        assert len(expected) > 20
        assert self.pipeline.alerts() == expected


@pytest.fixture(scope="module")
def bank(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    prefix = f"t{uuid.uuid4().hex[:10]}-"
    with Pipeline(broker.bootstrap, prefix, tmp_path_factory.mktemp("bank")) as pipeline:
        town = Town(1, at_ms=round(time.time() * 1000) - 200 * AN_HOUR_MS)
        made = Bank(pipeline, town)
        made.start("router")
        made.start("worker")
        yield made


@pytest.mark.parametrize("name", ["worker", "router"])
def test_a_part_that_is_killed_goes_on_where_it_was(bank: Bank, name: str) -> None:
    def kill() -> None:
        bank.parts[name].kill()
        bank.start(name)

    bank.send_while(kill)
    bank.assert_exact()


def test_a_router_that_is_stopped_goes_on_where_it_was(bank: Bank) -> None:
    def restart() -> None:
        assert bank.parts["router"].stop() == 0
        bank.start("router")

    bank.send_while(restart)
    bank.assert_exact()


def test_a_worker_that_is_stopped_leaves_nothing_to_apply_again(bank: Bank) -> None:
    """The final checkpoint is at the last message that it told to have applied."""

    def restart() -> None:
        assert bank.parts["worker"].stop() == 0
        told = bank.pipeline.progress()
        for partition, applied in told.items():
            assert bank.pipeline.checkpointed(partition).applied >= applied
        bank.start("worker")

    bank.send_while(restart)
    bank.assert_exact()


def test_all_parts_killed_at_once_go_on_where_they_were(bank: Bank) -> None:
    def kill() -> None:
        for name in ("router", "worker"):
            bank.parts[name].kill()
        for name in ("worker", "router"):
            bank.start(name)

    bank.send_while(kill)
    bank.assert_exact()


def test_partitions_go_to_a_second_worker_and_come_back_when_it_dies(bank: Bank) -> None:
    prefix = bank.pipeline.settings.topics.prefix

    def join() -> None:
        bank.parts["second"] = bank.pipeline.start("worker", "--slot", f"{prefix}w1")
        bank.pipeline.until(
            lambda: "holds partitions" in bank.parts["second"].said(), "the second worker"
        )

    bank.send_while(join)
    bank.assert_exact()
    bank.send_while(bank.parts["second"].kill)
    bank.assert_exact()


# Logs that are not what the state was made from.


def legs(first: int, messages: int) -> list[bytes]:
    """Messages of payments of one account, chained, from that position on."""
    chains = Chains(1)
    chains.last(0)[0] = first - 1
    made = []
    for start in range(first, first + messages * LEGS_A_MESSAGE, LEGS_A_MESSAGE):
        positions = range(start, start + LEGS_A_MESSAGE)
        payments = [Payment(f"T{at}", "A", None) for at in positions]
        ((_, value),) = messages_of(chains, payments, [0] * len(payments), positions)
        made.append(value)
    return made


def delete_records(pipeline: Pipeline, topic: str, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    place = TopicPartition(topic, 0, before)
    admin.delete_records([place])[place].result(10)


def recreate(pipeline: Pipeline, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": pipeline.bootstrap})
    admin.delete_topics([topic])[topic].result(10)
    pipeline.until(lambda: topic not in admin.list_topics(timeout=5).topics, "the deletion")
    create_topics(pipeline.settings, pipeline.bootstrap)


def assert_refuses(pipeline: Pipeline, *told: str) -> None:
    """A worker that is started ends by itself, with exit code 1 and these lines."""
    worker = pipeline.start("worker")
    assert worker.wait() == 1
    said = worker.said()
    for each in told:
        assert each in said
    assert "Traceback" not in said


def test_a_log_that_is_not_the_states_own_stops_the_worker(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    with Pipeline(broker.bootstrap, topic_prefix, tmp_path, topics={"partitions": 1}) as pipeline:
        log = pipeline.topics.legs
        pipeline.send(legs(0, 4), topic=log)
        worker = pipeline.start("worker")
        pipeline.until(lambda: pipeline.progress() == {0: 3}, "four messages to be applied")
        assert worker.stop() == 0

        pipeline.send(legs(40, 4), topic=log)
        delete_records(pipeline, log, before=6)
        assert_refuses(
            pipeline,
            f"topic {log} has lost legs that were not yet applied\n",
            "state of partition 0 stands at offset 3, but the log begins at 6\n",
            "`sluicegate state rebuild`",
        )
        recreate(pipeline, log)
        assert_refuses(
            pipeline,
            f"topic {log} is not the one that the account memory was made from\n",
            "state of partition 0 stands at offset 3 of",
            "`sluicegate state adopt`",
        )
        assert pipeline.checkpointed(0).applied == 3

        end = pipeline.end_of(pipeline.topics.changelog, 0)[1]
        delete_records(pipeline, pipeline.topics.changelog, before=end)
        assert_refuses(
            pipeline,
            "the changelog was emptied\n",
            f"it begins at offset {end}, and no checkpoint is left in it\n",
            "`sluicegate state rebuild`",
        )


def test_a_worker_that_is_stopped_before_its_start_is_done_leaves_what_it_holds(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NEVER_STARTED, encoding="utf-8")
    with Pipeline(broker.bootstrap, topic_prefix, tmp_path, topics={"partitions": 1}) as pipeline:
        pipeline.send(legs(0, 4), topic=pipeline.topics.legs)
        worker = pipeline.start("worker", PYTHONPATH=str(tmp_path))
        pipeline.until(lambda: pipeline.progress() == {0: 3}, "four messages to be applied")
        assert worker.stop() == 0
        assert "Traceback" not in worker.said()
        assert pipeline.checkpointed(0).applied == 3
