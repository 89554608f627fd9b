"""A file replayed into the topic: everything, in order, where every other client would put it."""

from __future__ import annotations

import warnings
from threading import Event
from typing import TYPE_CHECKING

import polars as pl
import pytest
from confluent_kafka import Consumer, TopicPartition

from sluicegate.errors import Problem
from sluicegate.history.events import Events, read_events
from sluicegate.history.replay import pace, replay
from sluicegate.settings import Settings
from sluicegate.streaming.topics import Topics, create_topics

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, as it reads its files
    from kafka.partitioner.default import murmur2  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.operations.broker import EmbeddedBroker

ROWS = 6_000
PARTITIONS = 3


@pytest.fixture
def events(tmp_path: Path) -> Events:
    number = pl.int_range(ROWS, eager=True)
    frame = pl.DataFrame(
        {
            "id": "T" + number.cast(pl.String),
            "occurred_at": pl.from_epoch(1_772_328_600 + number, time_unit="s"),
            "amount": number + 1,
            "payer_account": "A" + (number % 97).cast(pl.String),
        }
    )
    frame.write_parquet(tmp_path / "events.parquet")
    return read_events(tmp_path / "events.parquet")


@pytest.fixture
def settings(broker: EmbeddedBroker, topic_prefix: str) -> Settings:
    settings = Settings.model_validate(
        {"topics": {"prefix": topic_prefix, "partitions": 1, "transactions_partitions": PARTITIONS}}
    )
    create_topics(settings, broker.bootstrap)
    return settings


def in_silence(_: str) -> None:
    pass


def read_back(settings: Settings, bootstrap: str, number: int) -> list[tuple[bytes, int, bytes]]:
    """Key, partition and value of each record of the topic, each partition in order."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    topic = Topics.of(settings).transactions
    consumer.assign([TopicPartition(topic, each, 0) for each in range(PARTITIONS)])
    found: list[tuple[bytes, int, bytes]] = []
    try:
        while len(found) < number and (messages := consumer.consume(number, timeout=5)):
            for message in messages:
                key, partition, value = message.key(), message.partition(), message.value()
                assert isinstance(key, bytes)
                assert isinstance(value, bytes)
                assert partition is not None
                found.append((key, partition, value))
    finally:
        consumer.close()
    return found


@pytest.mark.broker
def test_every_transaction_arrives_in_order_at_the_partition_of_its_payer(
    broker: EmbeddedBroker, settings: Settings, events: Events
) -> None:
    said: list[str] = []
    replayed = replay(settings, broker.bootstrap, events, say=said.append)
    found = read_back(settings, broker.bootstrap, ROWS)
    sent = [message for chunk in events.messages() for message in chunk]
    assert replayed.sent == len(found) == ROWS
    assert sorted((key, value) for key, _, value in found) == sorted(sent)
    assert all(part == (murmur2(key) & 0x7FFFFFFF) % PARTITIONS for key, part, _ in found)
    for partition in range(PARTITIONS):
        arrived = [value for _, part, value in found if part == partition]
        values = set(arrived)
        assert arrived == [value for _, value in sent if value in values]
    assert said[:-1] == events.summary.sentences()
    assert "6,000 sent" in said[-1]


@pytest.mark.broker
def test_a_replay_at_a_pace_can_be_stopped(
    broker: EmbeddedBroker, settings: Settings, events: Events
) -> None:
    stop = Event()
    stop.set()
    replayed = replay(settings, broker.bootstrap, events, speed=1, stop=stop, say=in_silence)
    assert replayed.sent == 0


@pytest.mark.broker
def test_a_replay_at_a_rate_sends_everything(
    broker: EmbeddedBroker, settings: Settings, events: Events
) -> None:
    replayed = replay(settings, broker.bootstrap, events, rate=20_000, say=in_silence)
    assert replayed.sent == ROWS
    assert replayed.seconds >= (ROWS - 1) / 20_000


@pytest.mark.broker
def test_a_replay_without_the_topic_names_the_way_out(
    broker: EmbeddedBroker, events: Events
) -> None:
    settings = Settings.model_validate({"topics": {"prefix": "nowhere-"}})
    with pytest.raises(Problem, match="topics create"):
        replay(settings, broker.bootstrap, events, say=in_silence)


def test_transactions_are_due_by_their_own_times_or_by_their_number(events: Events) -> None:
    by_time, by_number = pace(events, 60, None), pace(events, None, 4)
    assert by_time is not None
    assert by_number is not None
    assert by_time(7, events.summary.first_ms + 120_000) == 2
    assert by_number(7, 0) == 1.75
    assert pace(events, None, None) is None


@pytest.mark.parametrize(
    ("speed", "rate", "part"),
    [(1, 1, "exclude each other"), (0, None, "--speed must be"), (None, -5, "--rate must be")],
)
def test_a_pace_that_is_none_is_a_problem(
    events: Events, speed: float | None, rate: float | None, part: str
) -> None:
    with pytest.raises(Problem, match=part):
        pace(events, speed, rate)
