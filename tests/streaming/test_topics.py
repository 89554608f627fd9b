"""The table of topics: as designed, made on a real broker, and checked against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sluicegate.errors import Problem
from sluicegate.settings import Settings
from sluicegate.streaming.topics import (
    BATCH_BYTES,
    Topics,
    check_topics,
    create_topics,
    topic_table,
)

if TYPE_CHECKING:
    from sluicegate.operations.broker import EmbeddedBroker


def settings_with(prefix: str = "", partitions: int = 8) -> Settings:
    return Settings.model_validate({"topics": {"prefix": prefix, "partitions": partitions}})


def test_the_names_are_those_of_the_design() -> None:
    assert {topic.name for topic in topic_table(Settings())} == {
        "transactions",
        "accounts",
        "directives",
        "patterns",
        "ownership",
        "legs",
        "sluicegate-accounts-changelog",
        "stop-payment",
        "measures",
        "measures-acknowledged",
        "dead-letter",
        "progress",
    }


def test_every_name_takes_the_prefix() -> None:
    assert Topics.of(settings_with("bank1-")).changelog == "bank1-sluicegate-accounts-changelog"
    assert all(topic.name.startswith("b-") for topic in topic_table(settings_with("b-")))


def test_what_is_kept_by_account_is_partitioned_alike() -> None:
    name = Topics()
    partitions = {topic.name: topic.partitions for topic in topic_table(settings_with("", 5))}
    by_account = (name.ownership, name.legs, name.changelog, name.stop_payment, name.measures)
    assert {partitions[each] for each in by_account} == {5}


def test_a_dead_letter_has_room_for_the_longest_transaction_and_its_headers() -> None:
    table = {topic.name: topic for topic in topic_table(Settings())}
    assert table["dead-letter"].max_message_bytes == 1_048_576 + 65_536
    assert table["transactions"].max_message_bytes > 1_048_576
    assert table["legs"].max_message_bytes == BATCH_BYTES


@pytest.mark.broker
def test_topics_are_made_once_and_then_differ_in_nothing(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    settings = settings_with(topic_prefix, 2)
    missing = check_topics(settings, broker.bootstrap)
    assert len(missing) == 12
    assert missing[0].startswith(f"{topic_prefix}transactions is missing")
    assert all(made.created for made in create_topics(settings, broker.bootstrap))
    assert not any(made.created for made in create_topics(settings, broker.bootstrap))
    assert check_topics(settings, broker.bootstrap) == []


@pytest.mark.broker
def test_each_difference_is_a_sentence(broker: EmbeddedBroker, topic_prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    config = {"cleanup.policy": "compact", "max.message.bytes": "1000"}
    made = [NewTopic(topic_prefix + "legs", 3, 1, config=config)]
    made.append(NewTopic(topic_prefix + "transactions", 7, 1))
    for future in admin.create_topics(made).values():
        future.result()
    create_topics(settings_with(topic_prefix, 2), broker.bootstrap)
    found = check_topics(settings_with(topic_prefix, 2), broker.bootstrap)
    legs = f"{topic_prefix}legs has"
    assert found == [
        f"{legs} 3 partitions and 2 are configured; the number is fixed once a topic exists",
        f"{legs} cleanup.policy compact and delete is configured",
        f"{legs} max.message.bytes 1000 and 4194304 is configured",
    ], "and the bank may partition its transactions as it likes"


@pytest.mark.broker
def test_a_topic_the_broker_refuses_is_a_problem(broker: EmbeddedBroker, topic_prefix: str) -> None:
    settings = Settings.model_validate({"topics": {"prefix": topic_prefix, "replication": 3}})
    with pytest.raises(Problem, match=r"transactions: the broker refuses it"):
        create_topics(settings, broker.bootstrap)
