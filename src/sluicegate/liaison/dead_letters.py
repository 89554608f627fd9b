"""Where the liaison consumer puts what it cannot store: the topic `dead-letter`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import kafka  # type: ignore[import-untyped]
from pydantic import BaseModel, ValidationError

from sluicegate.settings import Settings
from sluicegate.streaming.clients import MESSAGE_BYTES, kafka_python_config
from sluicegate.streaming.topics import DEAD_LETTER_BYTES, Topics

M = TypeVar("M", bound=BaseModel)

SEND_SECONDS = 10.0
HEADER_BYTES = 16 * 1024
DETAIL_CHARACTERS = 1_000


class Unreadable(StrEnum):
    """Why a message of `stop-payment` or `measures-acknowledged` is in dead-letter."""

    NULL_MESSAGE = "NULL_MESSAGE"
    NOT_AN_ALERT = "NOT_AN_ALERT"
    NOT_STORABLE = "NOT_STORABLE"
    NOT_AN_ANSWER = "NOT_AN_ANSWER"
    UNKNOWN_MEASURE = "UNKNOWN_MEASURE"


def read_as(
    model: type[M], value: bytes | None, otherwise: Unreadable
) -> M | tuple[Unreadable, str]:
    """What a message says, or why it cannot be read; the detail holds no value of the message."""
    if value is None:
        return Unreadable.NULL_MESSAGE, "the message has no value"
    try:
        return model.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        return otherwise, f"{field}: {first['msg']}" if field else first["msg"]


class Record(Protocol):
    """What is used of a record, whichever client read it."""

    @property
    def topic(self) -> str:
        """Where it was read."""

    @property
    def partition(self) -> int:
        """Of the topic."""

    @property
    def offset(self) -> int:
        """In the partition."""

    @property
    def key(self) -> bytes | None:
        """None: it has none."""

    @property
    def value(self) -> bytes | None:
        """None: it has none."""


@dataclass(frozen=True)
class DeadLetter:
    """A record that could not become an alert in the database, and why."""

    record: Record
    reason: Unreadable
    detail: str

    def headers(self) -> list[tuple[str, bytes]]:
        """Reason, detail and where the original stands."""
        texts = {
            "reason": self.reason.value,
            "detail": self.detail[:DETAIL_CHARACTERS],
            "source_topic": self.record.topic,
            "source_partition": str(self.record.partition),
            "source_offset": str(self.record.offset),
        }
        return [(name, text.encode(errors="backslashreplace")) for name, text in texts.items()]


class DeadLetters(Protocol):
    """Takes dead letters; they are safe when `send` returns."""

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Send the letters, or raise a KafkaError."""


class KafkaDeadLetters:
    """The topic `dead-letter`, through a producer that is made when the first one is needed."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._topic = Topics.of(settings).dead_letter
        self._room = settings.contract.max_bytes + DEAD_LETTER_BYTES - HEADER_BYTES
        self._config = kafka_python_config(settings.broker, bootstrap)
        self._producer: kafka.KafkaProducer | None = None

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Send the letters and wait until all copies of the topic have them."""
        if not letters:
            return
        if self._producer is None:
            self._producer = kafka.KafkaProducer(
                **self._config, acks="all", max_request_size=MESSAGE_BYTES
            )
        sent = [self._send_one(self._producer, letter) for letter in letters]
        self._producer.flush(timeout=SEND_SECONDS)
        for each in sent:
            each.get(timeout=0)

    def close(self) -> None:
        """Close the producer, if there is one; nothing is ever left in it."""
        if self._producer is not None:
            self._producer.close(timeout=0.5)

    def _send_one(
        self, producer: kafka.KafkaProducer, letter: DeadLetter
    ) -> "kafka.producer.future.FutureRecordMetadata":
        key, value, cut = cut_to(self._room, letter.record.key, letter.record.value)
        headers = letter.headers() + cut
        return producer.send(self._topic, key=key, value=value, headers=headers)


def cut_to(
    room: int, key: bytes | None, value: bytes | None
) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """Key and value in at most `room` bytes; headers with length and sha256 of a value cut."""
    key = key if key is None else key[:room]
    left = room - len(key or b"")
    if value is None or len(value) <= left:
        return key, value, []
    digest = hashlib.sha256(value).hexdigest()
    headers = [("length", str(len(value)).encode()), ("sha256", digest.encode())]
    return key, value[:left], headers
