"""A broker that was restarted is asked rightly again, not minutes later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # poor stubs

from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.streaming.offsets import Offsets, passes

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.broker

TOPIC = "legs"
A_WHILE = 30.0
"""Far below the five minutes after which librdkafka looks by itself who leads."""


def persisting(ask: Callable[[], dict[int, int]]) -> dict[int, int]:
    deadline = time.monotonic() + A_WHILE
    while True:
        try:
            return ask()
        except KafkaException as error:
            if not passes(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_ends_are_told_again_after_the_broker_was_killed_and_restarted() -> None:
    with EmbeddedBroker(heap_mb=256) as broker:
        config: dict[str, Any] = {"bootstrap.servers": broker.bootstrap, "log_level": 2}
        admin = AdminClient(config)
        admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result()
        producer = Producer({**config, "enable.idempotence": True})
        producer.produce(TOPIC, b"before", partition=1)
        producer.flush()
        offsets = Offsets(config)
        assert persisting(lambda: offsets.ends(TOPIC, range(2))) == {0: 0, 1: 1}

        broker.kill()
        with pytest.raises(KafkaException) as refusal:
            offsets.ends(TOPIC, range(2), seconds=0.3)
        assert passes(refusal.value)
        broker.start()

        assert persisting(lambda: offsets.ends(TOPIC, range(2))) == {0: 0, 1: 1}
        offsets.delete_before(TOPIC, 1, 1)
        assert offsets.partitions(TOPIC) == [0, 1]
        assert offsets.bounds(TOPIC, range(2)) == {0: (0, 0), 1: (1, 1)}


def test_a_frozen_broker_has_told_no_end() -> None:
    """librdkafka gives an offset of -1001 and no error then."""
    with EmbeddedBroker(heap_mb=256) as broker:
        config: dict[str, Any] = {"bootstrap.servers": broker.bootstrap, "log_level": 2}
        admin = AdminClient(config)
        admin.create_topics([NewTopic(TOPIC, 2, 1)])[TOPIC].result()
        offsets = Offsets(config)
        assert persisting(lambda: offsets.ends(TOPIC, range(2))) == {0: 0, 1: 0}
        assert broker.pid is not None
        frozen = psutil.Process(broker.pid)
        frozen.suspend()
        try:
            while frozen.status() != psutil.STATUS_STOPPED:
                time.sleep(0.01)
            for _ in range(3):
                with pytest.raises(KafkaException) as refusal:
                    offsets.ends(TOPIC, range(2), seconds=0.3)
                assert passes(refusal.value)
        finally:
            frozen.resume()
        assert persisting(lambda: offsets.ends(TOPIC, range(2))) == {0: 0, 1: 0}


def test_a_client_that_finds_nobody_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.streaming.offsets.RENEW_SECONDS", 1.0)
    with EmbeddedBroker(heap_mb=256) as broker:
        config: dict[str, Any] = {"bootstrap.servers": broker.bootstrap, "log_level": 2}
        admin = AdminClient(config)
        admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result()
        offsets = Offsets(config)
        assert persisting(lambda: offsets.ends(TOPIC, [0])) == {0: 0}
        lost: Any = offsets
        lost._admin = AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 2})
        with pytest.raises(KafkaException):
            offsets.ends(TOPIC, [0], seconds=0.3)
        assert persisting(lambda: offsets.ends(TOPIC, [0], seconds=1.0)) == {0: 0}


def test_of_no_partition_nothing_is_asked() -> None:
    assert Offsets({"bootstrap.servers": "127.0.0.1:1", "log_level": 2}).ends(TOPIC, []) == {}
