"""What the router refuses goes to `dead-letter`, whole where it fits, with the reason."""

import hashlib
import logging
from collections.abc import Callable

from confluent_kafka import Message, Producer

from sluicegate.domain.refusal import Refused
from sluicegate.operations.few_lines import FewLines
from sluicegate.streaming.figures import RouterFigures
from sluicegate.streaming.producing import hand_over
from sluicegate.streaming.records import SourceRecord
from sluicegate.streaming.topics import DEAD_LETTER_BYTES


class DeadLetters:
    """Writes them; `failed` hears of one that the broker did not take."""

    def __init__(
        self,
        producer: Producer,
        topic: str,
        most_bytes: int,
        figures: RouterFigures,
        failed: Callable[[str, object], None],
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._room = most_bytes + DEAD_LETTER_BYTES // 2
        self._figures = figures
        self._failed = failed
        self._lines = FewLines(__name__, "record refused", logging.WARNING)

    def add(self, record: SourceRecord, refused: Refused) -> None:
        """Keeps a record of a source topic, and says where it came from and why it is here."""
        value = record.value
        headers = {
            "reason": refused.refusal.value,
            "field": refused.field or "",
            "detail": refused.detail,
            "source_topic": record.topic,
            "source_partition": str(record.partition),
            "source_offset": str(record.offset),
        }
        if value is not None and len(value) > self._room:
            headers |= {"length": str(len(value)), "sha256": hashlib.sha256(value).hexdigest()}
            value = value[: self._room]

        def delivered(error: object, _: Message) -> None:
            if error is not None:
                self._failed("dead-letter", error)

        hand_over(
            self._producer,
            self._topic,
            value,
            key=record.key,
            headers=[(name, text.encode()) for name, text in headers.items()],
            on_delivery=delivered,
        )
        self._figures.refused(refused.refusal.value)
        self._lines.say(
            lambda: {  # not the detail, which may quote what the record holds
                "reason": refused.refusal.value,
                "field": refused.field or "",
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
            }
        )
