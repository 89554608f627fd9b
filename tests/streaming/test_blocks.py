"""Blocks hold what confluent-kafka gives one by one, from a real broker."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.streaming.blocks import Block, BlockReader, CannotRead
from sluicegate.streaming.records import SourceRecord
from sluicegate.streaming.scanner import PADDING
from sluicegate.streaming.sources import FETCH
from sluicegate.streaming.texts import Texts

if TYPE_CHECKING:
    from confluent_kafka import Message

    from sluicegate.operations.broker import EmbeddedBroker
    from sluicegate.streaming.clients import Confluent

RECORDS = 3_000

texts = st.lists(st.none() | st.binary(max_size=20), max_size=8)


@given(st.lists(texts, min_size=1, max_size=4))
def test_texts_come_back_as_they_were_put_in(parts: list[list[bytes | None]]) -> None:
    joined = Texts.joined([Texts.of(part) for part in parts])
    assert list(joined) == [text for part in parts for text in part]
    assert joined.octets[joined.starts[-1] :].tolist() == [0] * PADDING


@given(texts)
def test_a_block_of_records_gives_them_back(values: list[bytes | None]) -> None:
    records = [
        SourceRecord("bank", at % 3, at, None if at % 2 else b"k", value)
        for at, value in enumerate(values)
    ]
    block = Block.of([(each, 1_000 + each.offset) for each in records])
    assert [block.record("bank", at) for at in range(len(block))] == records
    assert block.recorded_at_ms.tolist() == [1_000 + at for at in range(len(values))]


def make_topic(config: Confluent, topic: str, partitions: int) -> None:
    admin = AdminClient(config)
    admin.create_topics([NewTopic(topic, partitions)])[topic].result(10)


@pytest.mark.broker
@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_a_reader_brings_what_a_consumer_brings(
    broker: EmbeddedBroker, topic_prefix: str, compression: str
) -> None:
    topic = f"{topic_prefix}{compression}"
    config: Confluent = {"bootstrap.servers": broker.bootstrap}
    make_topic(config, topic, 2)
    producer = Producer({**config, "compression.type": compression})
    for number in range(RECORDS):
        value = None if number % 50 == 0 else os.urandom(number % 400)
        key = None if number % 7 == 0 else b"%d" % number
        producer.produce(topic, value, key, partition=1, timestamp=1_700_000_000_000 + number)
    producer.produce(topic, b"of the other one", partition=0)
    assert producer.flush(30) == 0

    with (
        closing(Consumer({**config, **FETCH})) as consumer,
        closing(BlockReader({**config, **FETCH}, topic, {0: 0, 1: 10})) as reader,
    ):
        consumer.assign([TopicPartition(topic, 1, 10)])
        expected: list[Message] = []
        while len(expected) < RECORDS - 10:
            expected += consumer.consume(1_000, 5)
        blocks: list[Block] = []
        while sum(len(block) for block in blocks) < RECORDS - 10:
            blocks.append(reader.read(1, 700, 5))
            assert 0 < len(blocks[-1]) <= 700
        block = Block.joined(blocks)
        assert reader.end(1) == RECORDS
        assert len(reader.read(1, 10, 0)) == 0
        other = reader.read(0, 10, 5)
        assert [other.values[at] for at in range(len(other))] == [b"of the other one"]
    assert [block.record(topic, at) for at in range(len(block))] == [
        SourceRecord(topic, 1, each.offset() or 0, each.key(), each.value()) for each in expected
    ]
    assert block.recorded_at_ms.tolist() == [each.timestamp()[1] for each in expected]


@pytest.mark.broker
def test_what_is_not_there_any_more_is_said(broker: EmbeddedBroker, topic_prefix: str) -> None:
    config: Confluent = {"bootstrap.servers": broker.bootstrap}
    make_topic(config, topic_prefix, 1)
    with (
        closing(BlockReader({**config, **FETCH}, topic_prefix, {0: 5})) as reader,
        pytest.raises(CannotRead, match=r"(?i)offset out of range"),
    ):
        reader.read(0, 10, 20)


@pytest.mark.parametrize("setting", [{"no.such": "1"}, {"fetch.wait.max.ms": "soon"}])
def test_a_setting_that_is_not_known_is_refused(setting: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no\.such|fetch\.wait\.max\.ms"):
        BlockReader({"bootstrap.servers": "127.0.0.1:1", **setting}, "bank", {0: 0})
