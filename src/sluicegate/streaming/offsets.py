"""Asks the broker where partitions begin and end, and asks rightly after it was restarted."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # poor stubs

from sluicegate.errors import Problem

ASK_SECONDS: Final = 5.0
RENEW_SECONDS: Final = 15.0
_PASSING: Final = {
    KafkaError._NOENT,  # noqa: SLF001 - librdkafka's own: no leader is known
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
}


def passes(error: KafkaException) -> bool:
    """Whether it is what a broker says that is away or has only just come up."""
    return error.args[0].retriable() or error.args[0].code() in _PASSING


def listed_partitions(client: AdminClient | Consumer, topic: str, seconds: float) -> list[int]:
    """The partitions of a topic, asked by any client.

    Raises:
        Problem: there is no such topic.
        KafkaException: no answer came.
    """
    listed = client.list_topics(topic, timeout=seconds).topics[topic]
    if listed.error is not None:
        raise Problem(
            f"there is no topic {topic}",
            str(listed.error.str()),
            "`sluicegate topics create` makes the topics",
        )
    return sorted(listed.partitions)


class Offsets:
    """The beginnings and ends of partitions, and the deletion of what lies before an offset.

    By a client of its own: what a consumer asks waits behind its fetches.

    librdkafka goes on asking the leaders that it knew before a restart, with their old epoch, and
    is refused until it looks who leads minutes later: so after each refusal it is made to look. A
    client once found no leaders for minutes while all others had them: where it has had no answer
    for `RENEW_SECONDS`, another one takes its place.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._admin = AdminClient(config)
        self._answered_at = time.monotonic()

    def ends(
        self, topic: str, partitions: Iterable[int], seconds: float = ASK_SECONDS
    ) -> dict[int, int]:
        """The offset after the last message of each partition.

        Raises:
            KafkaException: no answer, or a refusal; the next call may succeed if it `passes`.
        """
        return self._list(topic, partitions, OffsetSpec.latest(), seconds)

    def bounds(
        self, topic: str, partitions: Iterable[int], seconds: float = ASK_SECONDS
    ) -> dict[int, tuple[int, int]]:
        """The first offset of each partition, and that after its last message.

        Raises:
            KafkaException: as for `ends`.
        """
        numbers = list(partitions)
        starts = self._list(topic, numbers, OffsetSpec.earliest(), seconds)
        ends = self._list(topic, numbers, OffsetSpec.latest(), seconds)
        return {number: (starts[number], ends[number]) for number in numbers}

    def partitions(self, topic: str, seconds: float = ASK_SECONDS) -> list[int]:
        """The partitions of a topic; raises as `listed_partitions`."""
        return listed_partitions(self._admin, topic, seconds)

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete what lies before an offset.

        Raises:
            KafkaException: as for `ends`.
        """
        place = TopicPartition(topic, partition, offset)
        with self._asking(topic) as admin:
            for answer in admin.delete_records([place], request_timeout=ASK_SECONDS).values():
                answer.result()

    def _list(
        self, topic: str, partitions: Iterable[int], which: OffsetSpec, seconds: float
    ) -> dict[int, int]:
        asked = {TopicPartition(topic, number): which for number in partitions}
        if not asked:
            return {}
        with self._asking(topic) as admin:
            answers = admin.list_offsets(asked, request_timeout=seconds)
            found = {place.partition: answer.result().offset for place, answer in answers.items()}
            # A broker that is frozen gives neither an answer nor an error.
            if min(found.values()) < 0:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001
            return found

    @contextmanager
    def _asking(self, topic: str) -> Iterator[AdminClient]:
        admin = self._admin
        try:
            yield admin
            self._answered_at = time.monotonic()
        except KafkaException:
            if time.monotonic() - self._answered_at > RENEW_SECONDS:
                self._answered_at = time.monotonic()
                self._admin = AdminClient(self._config)
            else:
                with suppress(KafkaException):
                    admin.list_topics(topic, timeout=ASK_SECONDS)
            raise
