"""Every topic, once: its name, shape and retention; and how the topics are made and checked."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs export too little
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from sluicegate.errors import Problem
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config

if TYPE_CHECKING:
    from concurrent.futures import Future

    from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]

HOUR_MS = 3_600_000
DAY_HOURS = 24
FOR_EVER = -1
BATCH_BYTES = 4 * 1024 * 1024
"""Longest message of the legs logs and of the changelog, in bytes."""
ENVELOPE_BYTES = 4 * 1024
"""Room for key and record header beside a transaction of the longest length, in bytes."""
DEAD_LETTER_BYTES = 64 * 1024
"""Room for headers beside the original bytes in a dead letter."""
KAFKA_DEFAULT_BYTES = 1_048_588
REQUEST_SECONDS = 30.0
VISIBLE_SECONDS = 15.0


@dataclass(frozen=True)
class Topics:
    """The names of all topics, as they stand on the cluster."""

    transactions: str = "transactions"
    accounts: str = "accounts"
    directives: str = "directives"
    patterns: str = "patterns"
    ownership: str = "ownership"
    legs: str = "legs"
    changelog: str = "sluicegate-accounts-changelog"
    stop_payment: str = "stop-payment"
    measures: str = "measures"
    measures_acknowledged: str = "measures-acknowledged"
    dead_letter: str = "dead-letter"
    progress: str = "progress"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The names under the prefix of `settings`."""
        prefix = settings.topics.prefix
        return cls(**{each.name: f"{prefix}{each.default}" for each in fields(cls)})


@dataclass(frozen=True)
class Topic:
    """A topic as it should be.

    `retention_hours` -1 keeps for ever. `bank_owned`: the bank may shape it as it likes, and it
    is only checked for being there and for its policy.
    """

    name: str
    partitions: int
    cleanup: str = "delete"
    retention_hours: int = 30 * DAY_HOURS
    max_message_bytes: int = KAFKA_DEFAULT_BYTES
    bank_owned: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TopicMade:
    """What `create_topics` did about one topic."""

    name: str
    created: bool


def topic_table(settings: Settings) -> tuple[Topic, ...]:
    """All topics in the shape that `settings` ask for."""
    name = Topics.of(settings)
    shape = settings.topics
    longest = settings.contract.max_bytes
    # A segment is the unit in which Kafka deletes: a topic of an hour rolls one every few minutes.
    short_segments = {"segment.ms": str(HOUR_MS // 4), "segment.bytes": str(32 * 1024 * 1024)}
    # The changelog is trimmed behind each sweep of checkpoints, a segment at a time.
    trimmed_segments = {"segment.bytes": str(64 * 1024 * 1024)}
    return (
        Topic(
            name.transactions,
            shape.transactions_partitions,
            retention_hours=7 * DAY_HOURS,
            max_message_bytes=longest + ENVELOPE_BYTES,
            bank_owned=True,
        ),
        Topic(name.accounts, shape.partitions, cleanup="compact", bank_owned=True),
        Topic(name.directives, shape.partitions, retention_hours=FOR_EVER),
        Topic(name.patterns, 1, retention_hours=FOR_EVER, max_message_bytes=BATCH_BYTES),
        Topic(name.ownership, shape.partitions, retention_hours=7 * DAY_HOURS),
        Topic(
            name.legs,
            shape.partitions,
            retention_hours=shape.legs_retention_hours,
            max_message_bytes=BATCH_BYTES,
        ),
        Topic(
            name.changelog,
            shape.partitions,
            retention_hours=FOR_EVER,
            max_message_bytes=BATCH_BYTES,
            extra=trimmed_segments,
        ),
        Topic(name.stop_payment, shape.partitions),
        Topic(name.measures, shape.partitions),
        Topic(name.measures_acknowledged, shape.partitions, bank_owned=True),
        Topic(name.dead_letter, 1, max_message_bytes=longest + DEAD_LETTER_BYTES),
        Topic(name.progress, 1, retention_hours=1, extra=short_segments),
    )


def create_topics(settings: Settings, bootstrap: str) -> list[TopicMade]:
    """Make the topics that are missing; those that exist are left as they are.

    Returns when all of them can be seen, so that a part started next finds them.

    Raises:
        Problem: The broker cannot be reached, or it refuses a topic.
    """
    admin = _admin(settings, bootstrap)
    wanted = [_new_topic(settings, topic) for topic in topic_table(settings)]
    futures = admin.create_topics(wanted, operation_timeout=REQUEST_SECONDS)
    made = []
    for name, future in futures.items():
        try:
            future.result()
            made.append(TopicMade(name, created=True))
        except KafkaException as error:
            if _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Problem(f"topic {name}: the broker refuses it", _reason(error)) from error
            made.append(TopicMade(name, created=False))
    _await_all(admin, [each.name for each in made])
    return made


def check_topics(settings: Settings, bootstrap: str) -> list[str]:
    """What differs between the cluster's topics and the table, a sentence each; [] if nothing.

    Raises:
        Problem: The broker cannot be reached.
    """
    admin = _admin(settings, bootstrap)
    table = topic_table(settings)
    try:
        present = _shapes(admin, [topic.name for topic in table])
        configured = _configs(admin, [name for name, shape in present.items() if shape])
    except KafkaException as error:
        raise Problem("topics: the broker cannot be asked", _reason(error)) from error
    differences: list[str] = []
    for topic in table:
        shape = present[topic.name]
        if shape is None:
            differences.append(f"{topic.name} is missing; `sluicegate topics create` makes it")
        else:
            differences += _differences(settings, topic, shape, configured[topic.name])
    return differences


def _admin(settings: Settings, bootstrap: str) -> AdminClient:
    # log_level: it would tell of its own end
    return AdminClient({**confluent_config(settings.broker, bootstrap), "log_level": 4})


def _new_topic(settings: Settings, topic: Topic) -> NewTopic:
    return NewTopic(
        topic.name,
        num_partitions=topic.partitions,
        replication_factor=settings.topics.replication,
        config=_config(settings, topic),
    )


def _config(settings: Settings, topic: Topic) -> dict[str, str]:
    """The configuration of the topic, in Kafka's names."""
    retention = topic.retention_hours
    kept = {"retention.ms": str(retention if retention == FOR_EVER else retention * HOUR_MS)}
    return {
        "cleanup.policy": topic.cleanup,
        "max.message.bytes": str(topic.max_message_bytes),
        "min.insync.replicas": str(settings.topics.min_insync_replicas),
        **(kept if topic.cleanup == "delete" else {}),
        **topic.extra,
    }


def _differences(
    settings: Settings, topic: Topic, shape: "_Shape", found: Mapping[str, str]
) -> Iterator[str]:
    wanted = _config(settings, topic)
    if topic.bank_owned:
        wanted = {"cleanup.policy": wanted["cleanup.policy"]}
    else:
        if shape.partitions != topic.partitions:
            yield (
                f"{topic.name} has {shape.partitions} partitions and {topic.partitions} are "
                f"configured; the number is fixed once a topic exists"
            )
        if shape.replication != settings.topics.replication:
            yield (
                f"{topic.name} has {shape.replication} copies of a partition and "
                f"{settings.topics.replication} are configured"
            )
    for key, value in wanted.items():
        if found.get(key) != value:
            yield f"{topic.name} has {key} {found.get(key)} and {value} is configured"


def _await_all(admin: AdminClient, names: Sequence[str]) -> None:
    """Return when the broker shows all topics: it acknowledges them a moment before."""
    deadline = time.monotonic() + VISIBLE_SECONDS
    while None in _shapes(admin, names).values():
        if time.monotonic() > deadline:
            raise Problem("topics: made, but the broker does not show them", ", ".join(names))
        time.sleep(0.05)


@dataclass(frozen=True)
class _Shape:
    partitions: int
    replication: int


def _shapes(admin: AdminClient, names: Sequence[str]) -> dict[str, _Shape | None]:
    described = admin.describe_topics(TopicCollection(list(names)))
    return {name: _shape(future) for name, future in described.items()}


def _shape(described: "Future[TopicDescription]") -> _Shape | None:
    """Partitions and copies of a topic; None if there is no such topic."""
    try:
        partitions = described.result().partitions
    except KafkaException as error:
        if _code(error) == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
    return _Shape(len(partitions), min(len(each.replicas) for each in partitions))


def _configs(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The configuration of each existing topic, in Kafka's names."""
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    return {
        resource.name: {key: entry.value for key, entry in future.result().items()}
        for resource, future in admin.describe_configs(resources).items()
    }


def _code(error: KafkaException) -> int:
    return int(error.args[0].code())


def _reason(error: KafkaException) -> str:
    return str(error.args[0].str())
