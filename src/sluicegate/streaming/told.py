"""What banks and police tell, and patterns that are published, on the way into the legs logs.

The active router reads `accounts`, `directives` and `patterns` beside the transactions. What it
reads takes effect from there on: it is a record of the legs logs like a leg, in one order with
them, so that a replay decides the same.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition

from sluicegate.domain.directive import Action, Directive, parse_directive
from sluicegate.domain.fields import ACCOUNT_LENGTH, Rules
from sluicegate.domain.profile import Profile, parse_profile
from sluicegate.domain.refusal import Refusal, Refused
from sluicegate.errors import Problem
from sluicegate.judging.patterns import version_of
from sluicegate.memory.accounts import Records
from sluicegate.settings import Settings
from sluicegate.streaming.committed import Committed
from sluicegate.streaming.flagged import Flagged
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.legs import RecordType, Source
from sluicegate.streaming.places import pack_place, unpack_place
from sluicegate.streaming.records import record_of
from sluicegate.streaming.refusing import DeadLetters
from sluicegate.streaming.routing import Chains
from sluicegate.streaming.stretch import Stretch, StretchReader
from sluicegate.streaming.telling import (
    activation_record,
    directive_records,
    no_profile,
    profile_record,
)
from sluicegate.streaming.topics import Topics

AT_ONCE: Final = 2_000
FETCH: Final[dict[str, Any]] = {
    "group.id": "sluicegate-unused",  # librdkafka wants one; nothing is joined or committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 200,  # seldom anything comes, and then at once
}


@dataclass
class _Topic:
    """One of the topics, and how far it has been passed on."""

    name: str
    type: RecordType
    chains: Chains
    identity: str = ""
    next_offset: dict[int, int] = field(default_factory=dict)


class Told:
    """Reads what is told of accounts; close it when done."""

    def __init__(
        self, settings: Settings, config: dict[str, Any], committed: Committed, refused: DeadLetters
    ) -> None:
        self._config = config
        self._committed = committed
        self._refused = refused
        self._rules = Rules(max_bytes=settings.contract.max_bytes)
        self._utc_offset_s = round(settings.worker.utc_offset_hours * 3600)
        names, count = Topics.of(settings), settings.topics.partitions
        self._accounts = _Topic(names.accounts, RecordType.PROFILES, Chains(count, Source.ACCOUNTS))
        self._directives = _Topic(
            names.directives, RecordType.DIRECTIVES, Chains(count, Source.DIRECTIVES)
        )
        self._patterns = _Topic(
            names.patterns, RecordType.ACTIVATIONS, Chains(count, Source.PATTERNS)
        )
        self._topics = (self._accounts, self._directives, self._patterns)
        self._pairs: dict[tuple[str, str], str] = {}
        """The other account of each whitelisted pair, by account and id."""
        self.flagged = Flagged()

    def resume(self) -> None:
        """Goes on where the routers' group left off.

        Raises:
            Problem: a topic is not there, or is not the one that was read.
        """
        identities = topic_identity(self._config, *(topic.name for topic in self._topics))
        for topic in self._topics:
            topic.identity = identities[topic.name]
            self._find(topic)
        with closing(StretchReader(self._config)) as reader:
            for number, end in self._directives.next_offset.items():
                whole = reader.whole(self._directives.name, number)
                for message in reader.read(Stretch(whole.topic, number, whole.start, end)):
                    told = self._read_directive(message)
                    if not isinstance(told, Refused):
                        self.flagged.take(told)
        self._consumer = Consumer({**self._config, **FETCH})
        self._consumer.assign(
            [
                TopicPartition(topic.name, number, offset)
                for topic in self._topics
                for number, offset in topic.next_offset.items()
            ]
        )

    @property
    def consumer(self) -> Consumer:
        """What reads the topics."""
        return self._consumer

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Legs messages, as (partition, value), for what has come since the last time.

        Raises:
            Problem: the broker refuses to go on.
        """
        messages = self._consumer.consume(AT_ONCE, 0)
        for topic in self._topics:
            records = [
                told
                for message in messages
                if message.topic() == topic.name
                and (told := self._take(topic, message)) is not None
            ]
            if records:
                whole = np.concatenate(records)
                if topic is self._directives:
                    self.flagged.take(whole)
                everywhere = topic is self._patterns
                send = topic.chains.to_all if everywhere else topic.chains.told
                yield from send(topic.type, whole)

    def places(self) -> list[TopicPartition]:
        """The places reached, to be committed when all before them is acknowledged."""
        return [
            TopicPartition(
                topic.name,
                number,
                offset,
                pack_place(topic.identity, topic.chains.last(number), offset),
            )
            for topic in self._topics
            for number, offset in topic.next_offset.items()
        ]

    def _find(self, topic: _Topic) -> None:
        for place, low, high in self._committed.places(topic.name):
            start = low if place.offset < 0 else max(low, place.offset)
            if place.offset >= 0:
                topic.chains.sent[place.partition] = unpack_place(
                    place.metadata or "",
                    topic.name,
                    topic.identity,
                    place.offset,
                    topic.chains.partitions,
                )
            if start > high:
                raise Problem(
                    f"partition {place.partition} of {topic.name} is not where it was left",
                    f"read up to {start}, but the topic now ends at {high}",
                    "was the topic emptied? `sluicegate state rebuild` begins anew from it",
                )
            topic.next_offset[place.partition] = start

    def _take(self, topic: _Topic, message: Message) -> Records | None:
        error = message.error()
        if error is not None:
            raise Problem(
                f"partition {message.partition()} of {topic.name} cannot be read on",
                error.str(),
                "nothing was committed: start the router again and it goes on where it was",
            )
        topic.next_offset[message.partition() or 0] = (message.offset() or 0) + 1
        read = {
            RecordType.PROFILES: self._read_profile,
            RecordType.DIRECTIVES: self._read_directive,
            RecordType.ACTIVATIONS: _read_published,
        }
        told = read[topic.type](message)
        if isinstance(told, Refused):
            self._refused.add(record_of(message), told)
            return None
        return told

    def _read_profile(self, message: Message) -> Records | Refused:
        partition, offset = message.partition() or 0, message.offset() or 0
        value, key = message.value(), message.key()
        if value is None:
            if isinstance(key, bytes) and 0 < len(key) <= ACCOUNT_LENGTH and _is_printable(key):
                return no_profile(key.decode(), partition, offset)
            return Refused(Refusal.NULL_MESSAGE, None, "neither value nor account as its key")
        said = parse_profile(value, message.timestamp()[1], self._rules)
        if isinstance(said, Profile):
            return profile_record(said, partition, offset, self._utc_offset_s)
        return said

    def _read_directive(self, message: Message) -> Records | Refused:
        said = parse_directive(message.value(), message.timestamp()[1], self._rules)
        if not isinstance(said, Directive):
            return said
        key = said.account, said.id
        before = self._pairs.get(key)
        if said.action is Action.ADD and said.counterparty is not None:
            self._pairs[key] = said.counterparty
        else:
            self._pairs.pop(key, None)
        return directive_records(said, message.partition() or 0, message.offset() or 0, before)


def _read_published(message: Message) -> Records | Refused:
    """The activation of a published set, which was checked before it was sent."""
    version = version_of((message.value() or b"").decode(errors="replace"))
    if message.key() != version.encode():
        return Refused(Refusal.UNKNOWN_VALUE, None, "the key is not the hash of the pattern set")
    return activation_record(version, message.partition() or 0, message.offset() or 0)


def _is_printable(key: bytes) -> bool:
    return all(32 <= octet <= 126 for octet in key)
