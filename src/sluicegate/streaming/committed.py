"""Where a consumer group stands, asked of a broker that may be away."""

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from sluicegate.errors import Problem
from sluicegate.streaming.offsets import passes

Answer = TypeVar("Answer")

ASK_SECONDS: Final = 30.0
"""So long an answer is waited for."""
ATTEMPT_SECONDS: Final = 3.0
"""Asked in attempts: a broker that was away may never answer what it was asked before."""


class StoppedError(Exception):
    """The process was told to stop before the broker had answered."""


class Committed:
    """The places of a group, by topic; whoever asks may be told to `stop` meanwhile."""

    def __init__(self, group: Consumer, stop: threading.Event) -> None:
        self._group = group
        self._stop = stop

    def places(self, topic: str) -> list[tuple[TopicPartition, int, int]]:
        """Each partition's place (offset below 0: none), the log's first offset, and its end.

        Raises:
            Problem: there is no such topic.
            KafkaException: no answer came.
            StoppedError: the process is to stop.
        """
        listed = self._answer(lambda s: self._group.list_topics(topic, timeout=s)).topics[topic]
        if listed.error is not None:
            raise Problem(
                f"there is no topic {topic}",
                str(listed.error.str()),
                "`sluicegate topics create` makes the topics",
            )
        asked = [TopicPartition(topic, number) for number in sorted(listed.partitions)]
        committed = self._answer(lambda s: self._group.committed(asked, timeout=s))
        return [(place, *self._bounds(place)) for place in committed]

    def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        return self._answer(lambda s: self._group.get_watermark_offsets(place, timeout=s))

    def _answer(self, question: Callable[[float], Answer]) -> Answer:
        until = time.monotonic() + ASK_SECONDS
        while True:
            try:
                return question(ATTEMPT_SECONDS)
            except KafkaException as error:
                if self._stop.is_set():
                    raise StoppedError from error
                if not passes(error) or time.monotonic() >= until:
                    raise
