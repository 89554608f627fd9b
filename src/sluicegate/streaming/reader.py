"""Reads legs logs with librdkafka for one assignment, from where the state stands."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, Message, TopicPartition

MESSAGES_A_TURN: Final = 64
FIRST_SECONDS: Final = 0.1
REST_SECONDS: Final = 0.001
"""What comes with the first message comes at once; to wait longer would only delay it."""
LOOK_SECONDS: Final = 0.5
FETCH: Final[dict[str, Any]] = {
    "group.id": "sluicegate-unused",  # librdkafka wants one; nothing is joined or committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    # A fetch costs the broker a quarter of a millisecond: wait up to 5 ms for 200 kB.
    "fetch.min.bytes": 200_000,
    "fetch.wait.max.ms": 5,
    # The default of 1,000 lets a full queue rest for a second.
    "fetch.queue.backoff.ms": 1,
    "queued.max.messages.kbytes": 65_536,
    "fetch.message.max.bytes": 8_388_608,
}


class LegsReader(threading.Thread):
    """A thread that hands whole batches of messages of all partitions to `deliver`.

    A new assignment makes a new reader; `deliver` blocks while the receiver is busy.
    """

    def __init__(
        self,
        config: dict[str, Any],
        topic: str,
        starts: dict[int, int],
        deliver: Callable[["LegsReader", list[Message]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__(name="legs-reader", daemon=True)
        self._config = {**config, **FETCH}
        self._topic = topic
        self.starts = starts
        self._deliver = deliver
        self._failed = failed
        self._stop_asked = threading.Event()
        self.ends: dict[int, int] = {}
        """Where each log ends, as last heard of."""

    def stop(self) -> None:
        """Asks the thread to end; what it still delivers is its receiver's to drop."""
        self._stop_asked.set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop_asked.is_set()

    def run(self) -> None:
        """Reads until it is stopped; what goes wrong is told to `failed`."""
        consumer = Consumer(self._config)
        try:
            consumer.assign([TopicPartition(self._topic, p, at) for p, at in self.starts.items()])
            looked_at = 0.0
            while not self.stopped:
                messages = consumer.consume(1, FIRST_SECONDS)
                if messages:
                    messages += consumer.consume(MESSAGES_A_TURN - 1, REST_SECONDS)
                if messages and not self.stopped:
                    self._deliver(self, messages)
                if time.monotonic() - looked_at > LOOK_SECONDS:
                    looked_at = time.monotonic()
                    self.ends = self._look(consumer)
        except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
            if not self.stopped:
                self._failed(error)
        finally:
            consumer.close()

    def _look(self, consumer: Consumer) -> dict[int, int]:
        """Where the logs end; only the thread that reads may ask.

        Confluent-kafka 2.16 asks without letting go of Python's lock: asked from another thread
        during `consume`, both wait for each other for ever.
        """
        places = {number: TopicPartition(self._topic, number) for number in self.starts}
        return {
            number: consumer.get_watermark_offsets(place, cached=True)[1]
            for number, place in places.items()
        }
