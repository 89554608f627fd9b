"""What is in `dead-letter`: its records, those meant, and which were sent in again."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from confluent_kafka import Message

from sluicegate.errors import Problem
from sluicegate.settings import Settings
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.stretch import Stretch, StretchReader
from sluicegate.streaming.topics import Topics

REPLAYED: Final = "REPLAYED"
"""Reason of a marker: the dead letter at `replayed_offset` has been sent in again."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Letter:
    """One record of `dead-letter`."""

    offset: int
    at_ms: int
    """Kafka timestamp."""
    headers: dict[str, str]
    key: bytes | None
    value: bytes | None

    @property
    def reason(self) -> str:
        """The name of what was wrong."""
        return self.headers.get("reason", "")

    @property
    def source(self) -> str:
        """Where the original stands: topic[partition]@offset."""
        topic, partition, offset = (
            self.headers.get(f"source_{name}", "?") for name in ("topic", "partition", "offset")
        )
        return f"{topic}[{partition}]@{offset}"

    @property
    def is_cut(self) -> bool:
        """Whether the value is only the beginning of the original."""
        return "sha256" in self.headers


@dataclass(frozen=True, slots=True)
class Filters:
    """Which dead letters are meant; empty fields let all through."""

    reasons: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    """Not included."""
    limit: int | None = None
    """The newest of those that are left."""
    offsets: frozenset[int] = frozenset()

    @property
    def since_ms(self) -> int:
        """Milliseconds since the epoch; 0 without a beginning."""
        return 0 if self.since is None else round(self.since.timestamp() * 1000)

    def lets_through(self, letter: Letter) -> bool:
        """Whether it is among those meant, but for the limit."""
        return (
            (not self.offsets or letter.offset in self.offsets)
            and (not self.reasons or letter.reason in self.reasons)
            and letter.at_ms >= self.since_ms
            and (self.until is None or letter.at_ms < self.until.timestamp() * 1000)
        )


@dataclass
class Found:
    """What reading through `dead-letter` came to."""

    letters: deque[Letter]
    """Those meant, oldest first; their values only where asked for."""
    replayed: set[int] = field(default_factory=set)
    """Offsets that were sent in again before."""
    reasons: Counter[str] = field(default_factory=Counter)
    """How many there are of each reason in that time, those not meant included."""


class DeadLetterTopic:
    """Reads `dead-letter`; close it when done."""

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._reader = StretchReader(confluent_config(settings.broker, bootstrap))
        self._topic = Topics.of(settings).dead_letter

    def close(self) -> None:
        """Leaves the cluster."""
        self._reader.close()

    def find(
        self, filters: Filters, *, value_bytes: int = 0, progress: Progress | None = None
    ) -> Found:
        """The dead letters meant, with so many bytes of each value."""
        stretch = self._stretch(filters)
        found = Found(deque(maxlen=filters.limit))
        for letter in self._letters(stretch, progress):
            if letter.reason == REPLAYED:
                found.replayed.add(int(letter.headers.get("replayed_offset", -1)))
                continue
            found.reasons[letter.reason] += 1
            if filters.lets_through(letter):
                found.letters.append(_shortened(letter, value_bytes))
        return found

    def at(self, offset: int) -> Letter:
        """One record, whole.

        Raises:
            Problem: there is none at this offset.
        """
        whole = self._reader.whole(self._topic, 0)
        one = Stretch(self._topic, 0, offset, offset + 1)
        if whole.start <= offset < whole.end:
            for letter in self._letters(one, None):
                return letter
        raise Problem(
            f"{self._topic} has no record at {offset}",
            f"it holds {whole.start} up to, not including, {whole.end}",
            "`sluicegate dead-letter list` shows the positions",
        )

    def these(self, offsets: Collection[int], progress: Progress | None) -> Iterator[Letter]:
        """The records at these offsets, whole, in order."""
        if offsets:
            span = Stretch(self._topic, 0, min(offsets), max(offsets) + 1)
            yield from (one for one in self._letters(span, progress) if one.offset in offsets)

    def _stretch(self, filters: Filters) -> Stretch:
        """Where the letters meant and their markers are: a marker comes after its letter."""
        whole = self._reader.whole(self._topic, 0)
        if filters.since is not None and whole.start < whole.end:
            return self._reader.since(whole, filters.since_ms)
        if filters.offsets:
            start = min(whole.end, max(whole.start, min(filters.offsets)))
            return Stretch(self._topic, 0, start, whole.end)
        return whole

    def _letters(self, stretch: Stretch, progress: Progress | None) -> Iterator[Letter]:
        length = stretch.end - stretch.start

        def told(done: int) -> None:
            if progress is not None:
                progress(done, length)

        for message in self._reader.read(stretch, told):
            yield letter_of(message)


def letter_of(message: Message) -> Letter:
    """A record of `dead-letter` as a value."""
    pairs: Any = message.headers() or []
    headers = {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
        for name, value in (pairs.items() if isinstance(pairs, dict) else pairs)
    }
    return Letter(
        message.offset() or 0, message.timestamp()[1], headers, message.key(), message.value()
    )


def _shortened(letter: Letter, value_bytes: int) -> Letter:
    """Without most of the value: a topic full of long ones must fit in memory."""
    value = None if letter.value is None else letter.value[:value_bytes]
    return Letter(letter.offset, letter.at_ms, letter.headers, letter.key, value)
