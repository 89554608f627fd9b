"""How records are handed to Kafka where none may be lost, and waited for."""

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Producer

SAFE: Final[dict[str, Any]] = {
    "acks": "all",
    "enable.idempotence": True,
    "message.timeout.ms": 0,  # never given up: a broker that is away is waited for
}
ROOM_SECONDS: Final = 0.05
FLUSH_TURN_SECONDS: Final = 0.2


def hand_over(producer: Producer, topic: str, value: bytes | None, **options: Any) -> None:  # noqa: ANN401 - librdkafka's own
    """Hands a record to the producer, waiting for room where its queue is full."""
    while True:
        try:
            producer.produce(topic, value, **options)
        except BufferError:
            producer.poll(ROOM_SECONDS)
        else:
            return


def is_flushed(producer: Producer, give_up: Callable[[], bool]) -> bool:
    """Waits until all is delivered, well or not; False if it gave up before."""
    while producer.flush(FLUSH_TURN_SECONDS):
        if give_up():
            return False
    return True
