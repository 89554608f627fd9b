"""Where a group stands, asked of a broker that is away for a while."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer

from sluicegate.errors import Problem
from sluicegate.operations.broker import EmbeddedBroker
from sluicegate.settings import Settings
from sluicegate.streaming import committed as committed_module
from sluicegate.streaming.committed import Committed, StoppedError
from sluicegate.streaming.offsets import Offsets
from sluicegate.streaming.topics import Topics, create_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

STOPS_WITHIN_SECONDS = 15.0


@pytest.fixture(scope="module")
def own_broker() -> Iterator[EmbeddedBroker]:
    """One that may be killed."""
    with EmbeddedBroker() as running:
        yield running


def group_of(broker: EmbeddedBroker) -> Consumer:
    return Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "log_level": 0})


def offsets_of(broker: EmbeddedBroker) -> Offsets:
    return Offsets({"bootstrap.servers": broker.bootstrap, "log_level": 0})


def test_a_broker_that_comes_back_answers_what_was_asked_while_it_was_away(
    own_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committed_module, "ATTEMPT_SECONDS", 0.5)
    create_topics(Settings(), own_broker.bootstrap)
    topic = Topics.of(Settings()).transactions
    group = group_of(own_broker)
    own_broker.kill()
    back = threading.Timer(2.0, own_broker.start)
    back.start()
    found = Committed(group, offsets_of(own_broker), threading.Event()).places(topic)
    back.join()
    assert [(place.partition, low, high) for place, low, high in found] == [
        (number, 0, 0) for number in range(Settings().topics.transactions_partitions)
    ]
    with pytest.raises(Problem, match="there is no topic nowhere"):
        Committed(group, offsets_of(own_broker), threading.Event()).places("nowhere")
    group.close()


def test_who_is_told_to_stop_waits_no_longer(own_broker: EmbeddedBroker) -> None:
    group, stop = group_of(own_broker), threading.Event()
    own_broker.kill()
    threading.Timer(0.5, stop.set).start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        Committed(group, offsets_of(own_broker), stop).places("transactions")
    assert time.monotonic() - started < STOPS_WITHIN_SECONDS
    group.close()
