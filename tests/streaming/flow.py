"""The whole stream in memory, without Kafka: router, logs, workers, changelogs, and their deaths.

`Flow` moves only when it is told to, so that a test decides what overtakes what and who dies when.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tests.memory.legs import NOON_MS, scorer

from sluicegate.memory.accounts import AccountMemory
from sluicegate.memory.words import ACCOUNT_WORDS, TRANSACTION_WORDS, texts_words, words_text
from sluicegate.streaming.checkpoint import Restorer, chunks, claim
from sluicegate.streaming.decoder import Decoded
from sluicegate.streaming.partition import Applied, Outbox, Partition
from sluicegate.streaming.routing import Chains, Places

if TYPE_CHECKING:
    from collections.abc import Sequence

SCORER = scorer(threshold=0.4)
"""Judges by `above_a_thousand`: a hit is a leg of more than 1,000.00."""
CAPACITY = 200


class Payment(NamedTuple):
    """A transaction as the router has it; no payer or no payee is cash."""

    name: str
    payer: str | None
    payee: str | None
    minor: int = 1_000
    at_ms: int = NOON_MS


class Sighting(NamedTuple):
    """A leg as a log holds it; equal for a leg that was sent twice."""

    transaction: str
    account: str
    side: int


class Hit(NamedTuple):
    """What an alert would say of a leg."""

    leg: Sighting
    score: float
    strengths: tuple[float, ...]


def decoded_of(payments: Sequence[Payment]) -> Decoded:
    """The payments as the decoder gives them."""
    count = len(payments)
    return Decoded(
        row_index=np.arange(count),
        transaction=texts_words([each.name for each in payments], TRANSACTION_WORDS),
        payer=texts_words([each.payer for each in payments], ACCOUNT_WORDS),
        payee=texts_words([each.payee for each in payments], ACCOUNT_WORDS),
        amount_minor=np.array([each.minor for each in payments], np.int64),
        occurred_at_ms=np.array([each.at_ms for each in payments], np.int64),
        channel=np.full(count, 1, np.uint8),
        kind=np.zeros(count, np.uint8),
        refused=(),
        unsure=0,
    )


def messages_of(
    chains: Chains, payments: Sequence[Payment], sources: Sequence[int], positions: Sequence[int]
) -> list[tuple[int, bytes]]:
    """The legs messages of one batch of the router, as (legs partition, value)."""
    decoded = decoded_of(payments)
    places = Places(
        np.array(sources, np.int64), np.array(positions, np.int64), decoded.occurred_at_ms + 5
    )
    return list(chains.messages(decoded, places, np.arange(len(payments))))


def new_partition(number: int = 0) -> Partition:
    return Partition(number, AccountMemory(CAPACITY))


def sightings_of(applied: Applied) -> list[Sighting]:
    """The legs that were new, in order."""
    legs = applied.legs
    named = zip(
        words_text(legs["transaction"]), words_text(legs["account"]), legs["side"], strict=True
    )
    return [Sighting(name, account, int(side)) for name, account, side in named]


def hits_of(applied: Applied) -> list[Hit]:
    """The legs that would be alerts, in order."""
    legs, stepped = sightings_of(applied), applied.stepped
    return [
        Hit(legs[at], float(stepped.scores[at]), tuple(strengths.tolist()))
        for at, strengths in zip(stepped.hits, stepped.hit_strengths, strict=True)
    ]


class Replayed(NamedTuple):
    """What logs come to when each is applied from its first message to its last."""

    digests: list[str]
    places: list[tuple[dict[str, int], dict[int, int]]]
    sightings: list[Sighting]
    hits: list[Hit]


def replay(logs: Sequence[Sequence[bytes]]) -> Replayed:
    """The logs, applied offline; what the arrivals' chains come to is noted too."""
    digests, places, sightings, hits = [], [], [], []
    for number, log in enumerate(logs):
        partition, outbox = new_partition(number), Outbox(len(logs))
        for offset, value in enumerate(log):
            applied = partition.apply(offset, value, SCORER)
            assert applied is not None
            sightings += sightings_of(applied)
            hits += hits_of(applied)
            outbox.add(partition, applied.stepped.arrivals)
        list(outbox.drain())
        digests.append(partition.memory.digest())
        places.append((partition.place.sources, partition.place.sent))
    return Replayed(digests, places, sightings, hits)


@dataclass
class Flow:
    """Sources of payments, one router, and one worker that holds all partitions."""

    sources: list[list[Payment]]
    count: int
    logs: list[list[bytes]] = field(init=False)
    hits: set[Hit] = field(default_factory=set)
    """Every alert that was ever raised; a repeat of one must be equal."""

    def __post_init__(self) -> None:
        self.logs = [[] for _ in range(self.count)]
        self._changelogs: list[list[bytes]] = [[] for _ in range(self.count)]
        self._chains = Chains(self.count)
        self._read = [0] * len(self.sources)
        self._committed = (list(self._read), dict[int, list[int]]())
        self._owners = 0
        self.crash_worker()

    # The router.

    def route(self, counts: Sequence[int]) -> None:
        """Sends the next payments of each source as one batch, merged by turns."""
        taken = [
            (source, position)
            for source, count in enumerate(counts)
            for position in range(self._read[source], self._end(source, count))
        ]
        taken.sort(key=lambda place: place[1])
        if taken:
            sources, positions = zip(*taken, strict=True)
            payments = [self.sources[source][position] for source, position in taken]
            for target, value in messages_of(self._chains, payments, sources, positions):
                self.logs[target].append(value)
        self._read = [self._end(source, count) for source, count in enumerate(counts)]

    def _end(self, source: int, count: int) -> int:
        return min(self._read[source] + count, len(self.sources[source]))

    def commit(self) -> None:
        """Remembers the places that were reached, and the chains with them."""
        sent = {source: last.tolist() for source, last in self._chains.sent.items()}
        self._committed = (list(self._read), sent)

    def crash_router(self) -> None:
        """Goes on from the last commit: what was sent since is sent again."""
        read, sent = self._committed
        self._read = list(read)
        self._chains = Chains(self.count)
        self._chains.sent = {source: np.array(last) for source, last in sent.items()}

    # The worker.

    def apply(self, number: int, count: int) -> None:
        """Applies the next messages of one log."""
        partition = self.partitions[number]
        for offset in range(partition.place.applied + 1, partition.place.applied + 1 + count):
            if offset < len(self.logs[number]):
                self.apply_at(number, offset)

    def apply_at(self, number: int, offset: int) -> None:
        """Gives one message to its partition, next or not."""
        partition = self.partitions[number]
        applied = partition.apply(offset, self.logs[number][offset], SCORER)
        if applied is not None:
            self.hits.update(hits_of(applied))
            self._outbox.add(partition, applied.stepped.arrivals)

    def send(self) -> None:
        """Sends the gathered arrivals on."""
        for target, value in self._outbox.drain():
            self.logs[target].append(value)

    def checkpoint(self, number: int) -> None:
        """Writes what changed, after what was sent."""
        self.send()
        restorer, partition = self._restorers[number], self.partitions[number]
        restorer.number += 1
        owner = self._owner()
        written = chunks(partition.memory, partition.place, owner, restorer.number)
        self._changelogs[number].extend(written)

    def crash_worker(self) -> None:
        """The next owner of all partitions: restored from the changelogs, nothing gathered."""
        self._owners += 1
        self._outbox = Outbox(self.count)
        self._restorers = [Restorer(AccountMemory(CAPACITY)) for _ in range(self.count)]
        for restorer, changelog in zip(self._restorers, self._changelogs, strict=True):
            changelog.append(claim(self._owner(), "w0"))
            for value in changelog:
                restorer.feed(value)
        self.partitions = [
            Partition(number, restorer.memory, restorer.place)
            for number, restorer in enumerate(self._restorers)
        ]

    def _owner(self) -> bytes:
        return self._owners.to_bytes(16)

    def finish(self) -> None:
        """Routes, applies and sends on until nothing is left."""
        self.route([len(payments) for payments in self.sources])
        self.send()
        while any(
            partition.place.applied + 1 < len(log)
            for partition, log in zip(self.partitions, self.logs, strict=True)
        ):
            for number, log in enumerate(self.logs):
                self.apply(number, len(log))
            self.send()
