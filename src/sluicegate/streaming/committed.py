"""Where a consumer group stands, asked of a broker that may be away."""

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition

from sluicegate.streaming.offsets import Offsets, passes

Answer = TypeVar("Answer")

ASK_SECONDS: Final = 30.0
"""So long an answer is waited for."""
ATTEMPT_SECONDS: Final = 3.0
"""Asked in attempts: a broker that was away may never answer what it was asked before."""


class StoppedError(Exception):
    """The process was told to stop before the broker had answered."""


class Committed:
    """The places of a group, by topic; whoever asks may be told to `stop` meanwhile."""

    def __init__(self, group: Consumer, offsets: Offsets, stop: threading.Event) -> None:
        self._group = group
        self._offsets = offsets
        self._stop = stop

    def places(self, topic: str) -> list[tuple[TopicPartition, int, int]]:
        """Each partition's place (offset below 0: none), the log's first offset, and its end.

        Raises:
            Problem: there is no such topic.
            KafkaException: no answer came.
            StoppedError: the process is to stop.
        """
        numbers = self._answer(lambda s: self._offsets.partitions(topic, s))
        asked = [TopicPartition(topic, number) for number in numbers]
        committed = self._answer(lambda s: self._group.committed(asked, timeout=s))
        # after the places: who committed them read no further than the end at that time
        bounds = self._answer(lambda s: self._offsets.bounds(topic, numbers, s))
        return [(place, *bounds[place.partition]) for place in committed]

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
