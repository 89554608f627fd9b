"""The router: from transactions to the ordered legs logs, one active at a time.

The member of the routers' group that owns the one partition of `progress` is active: it reads the
transactions in step by event time, and what is told of accounts, sends first legs and dead letters,
and commits the source offsets after both are acknowledged. Any delivery error ends the process
without a commit.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from sluicegate.domain.refusal import Refusal, Refused
from sluicegate.domain.transaction import Rules
from sluicegate.errors import Problem
from sluicegate.operations.garbage import look_seldom
from sluicegate.operations.metrics import Metrics
from sluicegate.settings import Settings
from sluicegate.streaming.blocks import Block, BlockReader
from sluicegate.streaming.clients import confluent_config
from sluicegate.streaming.committed import Committed, StoppedError
from sluicegate.streaming.decoder import Decoded, Decoder
from sluicegate.streaming.figures import RouterFigures
from sluicegate.streaming.identity import topic_identity
from sluicegate.streaming.lead import Lead
from sluicegate.streaming.offsets import Offsets
from sluicegate.streaming.places import pack_place, unpack_place
from sluicegate.streaming.producing import SAFE, hand_over, is_flushed
from sluicegate.streaming.progress import Progress
from sluicegate.streaming.refused import refused_among
from sluicegate.streaming.refusing import DeadLetters
from sluicegate.streaming.repeats import Repeats, Verdict
from sluicegate.streaming.routing import Chains, Ints, Places
from sluicegate.streaming.sources import SourceReader, open_readers, shares
from sluicegate.streaming.told import Told
from sluicegate.streaming.topics import Topics

log = logging.getLogger(__name__)

STAND_BY_SECONDS: Final = 0.05
"""How soon a router that stands by knows that it is the active one."""
COMMIT_SECONDS: Final = 1.0
"""How often the places reached are committed, and how long it may take that nothing is underway."""
CATCH_UP_SECONDS: Final = 0.05
"""How long records that are known to wait are waited for."""
GATHER_CALM: Final = 30
"""So many transactions may wait when gathering begins without being gathered for longer."""
GATHER_LONGER: Final = 2.0
"""So many times `router.gather_ms` they are gathered at most."""
HOLD_TURN_SECONDS: Final = 0.02
"""How long the workers' places are waited for before the producer is served again."""
FIRST_SECONDS: Final = 1.0
"""How long the first records of a partition are waited for."""
COMPLAIN_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 60.0
LEAVE_SECONDS: Final = 3.0
"""So long acknowledgements are waited for when the router is to end."""
GAPLESS: Final[dict[str, Any]] = {
    **SAFE,
    "enable.gapless.guarantee": True,  # a lost batch would be a hole
    "queue.buffering.max.messages": 1_000_000,
}


@dataclass(frozen=True, slots=True)
class Read:
    """Records of one source partition, read together."""

    reader: SourceReader
    block: Block


class Router:
    """One router process; `run` stands by, then routes, until `stop` is set."""

    def __init__(
        self, settings: Settings, bootstrap: str, metrics: Metrics, stop: threading.Event
    ) -> None:
        self._settings = settings
        self._topics = Topics.of(settings)
        self._config: dict[str, Any] = confluent_config(settings.broker, bootstrap)
        self._stop = stop
        contract = settings.contract
        self._decoder = Decoder(
            Rules(contract.base_currency, contract.max_ahead_seconds * 1000, contract.max_bytes)
        )
        self._producer = Producer(
            {**self._config, **GAPLESS, "linger.ms": settings.router.linger_ms}
        )
        self._figures = RouterFigures(metrics, settings.metrics.max_lag_seconds)
        self._dead_letters = DeadLetters(
            self._producer,
            self._topics.dead_letter,
            contract.max_bytes,
            self._figures,
            self._failed,
        )
        self._active = threading.Event()
        self._failure: Exception | None = None
        self._group = self._join()

    def run(self) -> None:
        """Routes while this router is the active one.

        Raises:
            Problem: a record could not be written, or the source is not where it was.
        """
        try:
            while not self._stop.is_set():
                self._follow_group(STAND_BY_SECONDS)
                if self._active.is_set():
                    with suppress(StoppedError):
                        self._route()
                else:
                    self._figures.stands_by()
        finally:
            _close([self._group])

    # The group: who is active.

    def _join(self) -> Consumer:
        router = self._settings.router
        group = Consumer(
            {
                **self._config,
                "group.id": f"{self._settings.topics.prefix}{router.group}",
                "group.instance.id": router.slot,
                "session.timeout.ms": round(router.session_timeout_seconds * 1000),
                "heartbeat.interval.ms": round(router.session_timeout_seconds * 200),
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": 100,
                "on_commit": _committed,
            }
        )

        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            if partitions:
                self._active.set()

        def lost(_: Consumer, partitions: list[TopicPartition]) -> None:
            if partitions:
                self._active.clear()

        group.subscribe([self._topics.progress], on_assign=assigned, on_revoke=lost, on_lost=lost)
        return group

    def _follow_group(self, seconds: float) -> list[Mapping[int, int]]:
        """Serves the group, and gives what workers published; waits so long if it is nothing."""
        messages = self._group.consume(1, seconds)
        if messages:
            messages += self._group.consume(100, 0)
        published: list[Mapping[int, int]] = []
        for message in messages:
            error = message.error()
            if error is None:
                published.append(Progress.read(message.value()).applied)
            elif error.fatal() or error.code() == KafkaError.FENCED_INSTANCE_ID:
                raise Problem(
                    f"the routers' group has no place any more for {self._settings.router.slot}",
                    str(error.str()),
                    "another router may run under this router.slot; else start it again",
                )
        return published

    # Routing.

    def _route(self) -> None:
        router = self._settings.router
        committed = Committed(self._group, Offsets(self._config), self._stop)
        readers, self._chains = self._resume(committed)
        self._told = Told(self._settings, self._config, committed, self._dead_letters)
        self._told.resume()
        self._repeats = {reader.partition: Repeats(router.repeat_reach) for reader in readers}
        self._lead = Lead(router.lead_transactions, round(router.lead_seconds * 1000))
        self._committed_at = time.monotonic()
        log.info("is the active router, reads %d partitions", len(readers))
        try:
            while self._active.is_set() and not self._stop.is_set():
                self._turn(readers)
            if self._active.is_set():
                self._commit(readers)
        finally:
            _close([self._told.consumer, *{reader.records for reader in readers}])

    def _turn(self, readers: Sequence[SourceReader]) -> None:
        """Reads once of all partitions: in step while there is a backlog, else all there is."""
        for published in self._follow_group(0):
            self._lead.applied(published)
        self._tell()
        most = self._settings.router.batch_transactions
        awaited = [reader for reader in readers if reader.is_awaited]
        catches_up = any(reader.lag() >= most for reader in awaited)
        if not catches_up:
            self._gather(readers)
        self._commit_if_due(readers)
        reads = self._catch_up(awaited, most) if catches_up else self._all_there_is(readers, most)
        reads = [read for read in reads if len(read.block)]
        if reads:
            self._pass(reads, holds=catches_up)
        self._producer.poll(0)
        if self._failure is not None:
            raise self._failure

    def _tell(self) -> None:
        """Passes on what is told of accounts."""

        def delivered(error: object, _: Message) -> None:
            if error is not None:
                self._failed("legs", error)

        for partition, value in self._told.read():
            hand_over(
                self._producer, self._topics.legs, value,
                partition=partition, on_delivery=delivered,
            )  # fmt: skip

    def _catch_up(self, awaited: Sequence[SourceReader], most: int) -> list[Read]:
        """What brings the partitions to the same moment in event time."""
        return [
            Read(reader, reader.read(min(count, reader.lag()), CATCH_UP_SECONDS))
            for reader, count in zip(awaited, shares(awaited, most), strict=True)
            if count
        ]

    def _gather(self, readers: Sequence[SourceReader]) -> None:
        """Gathers transactions for some milliseconds: a message costs the broker a quarter of one.

        The faster they come, the longer they are gathered, so that messages grow and not their
        number.
        """
        waited = sum(reader.lag() for reader in readers)
        longer = min(GATHER_LONGER, max(1.0, waited / GATHER_CALM))
        time.sleep(longer * self._settings.router.gather_ms / 1000)

    @staticmethod
    def _all_there_is(readers: Sequence[SourceReader], most: int) -> list[Read]:
        return [
            Read(reader, reader.read(reader.lag(), FIRST_SECONDS))
            if not reader.event_time_ms and reader.is_awaited
            else Read(reader, reader.read(most, 0))
            for reader in readers
        ]

    def _hold(self, event_time_ms: int) -> None:
        """Waits until the workers are near enough."""
        started = complained = time.monotonic()
        self._producer.poll(0)
        while not self._lead.allows(event_time_ms) and not self._stop.is_set():
            if not self._active.is_set() or self._failure is not None:
                break
            for published in self._follow_group(HOLD_TURN_SECONDS):
                self._lead.applied(published)
            self._producer.poll(0)
            if time.monotonic() - complained > COMPLAIN_SECONDS:
                complained = time.monotonic()
                log.warning(
                    "waits for the worker of legs partition %s: is one running?",
                    self._lead.slowest(),
                )
        self._figures.held.inc(time.monotonic() - started)

    def _pass(self, reads: Sequence[Read], *, holds: bool) -> None:
        """Decodes what was read and sends legs and dead letters on.

        It `holds` with the legs in hand, so that they go as soon as the workers are near enough.
        """
        started = time.monotonic()
        block = Block.joined([read.block for read in reads])
        decoded = self._decoder.decode(block.values, block.recorded_at_ms)
        taken = decoded.row_index
        places = Places(block.partitions[taken], block.offsets[taken], block.recorded_at_ms[taken])
        rows = self._in_step(reads, decoded, places)
        fresh = self._fresh(decoded, places, rows, block)
        for index, refused in decoded.refused:
            self._refuse(block, index, refused)
        messages = list(self._chains.messages(decoded, places, fresh, self._told.flagged.mark))
        seconds = time.monotonic() - started
        if len(fresh):
            event_time_ms = int(decoded.occurred_at_ms[fresh[0]])
            if holds:
                self._hold(event_time_ms)
            self._send(messages, len(fresh), event_time_ms)
        first_ms = float(block.recorded_at_ms[0])
        self._figures.passed(len(block), len(fresh), first_ms, seconds)

    def _in_step(self, reads: Sequence[Read], decoded: Decoded, places: Places) -> Ints:
        """Order of the rows: by event time, each source partition in its own order."""
        keys = np.minimum(decoded.occurred_at_ms, places.recorded_at_ms)
        for read in reads:
            own = np.flatnonzero(places.source_partition == read.reader.partition)
            running = np.maximum.accumulate(keys[own])
            keys[own] = np.maximum(running, read.reader.event_time_ms)
            if len(own):
                read.reader.advance(int(keys[own[0]]), int(keys[own[-1]]), len(own))
        if len(reads) == 1:
            return np.arange(len(keys))
        return np.argsort(keys, kind="stable")

    def _fresh(self, decoded: Decoded, places: Places, rows: Ints, block: Block) -> Ints:
        """The rows to send: not sent before, not the bank's own repeats."""
        verdicts = np.zeros(len(rows), np.uint8)
        before = places.position[rows] < self._resume_at(places)[rows]
        for partition in np.unique(places.source_partition).tolist():
            known = places.source_partition[rows] == partition
            if before.any():  # what was refused by the rules of then was never sent
                known &= ~np.isin(places.position[rows], self._refused[partition])
            own = np.flatnonzero(known)
            judged = self._repeats[partition].judge(decoded, places.position, rows[own])
            verdicts[own] = judged
        verdicts[before] = _BEFORE
        for row in rows[verdicts == Verdict.ID_REUSED].tolist():
            refused = Refused(Refusal.ID_REUSED, "id", "the same id came with other content")
            self._refuse(block, int(decoded.row_index[row]), refused)
        self._figures.repeats.inc(int(np.count_nonzero(verdicts == Verdict.REPEAT)))
        fresh: Ints = rows[verdicts == Verdict.NEW]
        return fresh

    def _resume_at(self, places: Places) -> Ints:
        """For each row, the offset from which its source partition is sent on."""
        starts = np.zeros(max(self._resumes) + 1, np.int64)
        for partition, offset in self._resumes.items():
            starts[partition] = offset
        chosen: Ints = starts[places.source_partition]
        return chosen

    def _send(
        self, messages: Sequence[tuple[int, bytes]], transactions: int, event_time_ms: int
    ) -> None:
        def delivered(error: object, message: Message) -> None:
            if error is not None:
                self._failed("legs", error)
            else:
                self._lead.acknowledged(message.partition() or 0, message.offset() or 0)

        self._lead.sent([partition for partition, _ in messages], transactions, event_time_ms)
        for partition, value in messages:
            hand_over(
                self._producer, self._topics.legs, value,
                partition=partition, on_delivery=delivered,
            )  # fmt: skip

    def _refuse(self, block: Block, index: int, refused: Refused) -> None:
        """To dead-letter, unless it is read again only to remember ids."""
        if block.offsets[index] >= self._resumes[int(block.partitions[index])]:
            self._dead_letters.add(block.record(self._topics.transactions, index), refused)

    def _failed(self, what: str, error: object) -> None:
        self._failure = self._failure or Problem(
            f"a record for {what} was not taken by the broker",
            str(error),
            "nothing was committed: start the router again and it goes on where it was",
        )

    # Where to go on.

    def _resume(self, committed: Committed) -> tuple[list[SourceReader], Chains]:
        """Readers of all source partitions, a stretch before where they were left, and chains."""
        topic = self._topics.transactions
        found = committed.places(topic)
        self._source_id = topic_identity(self._config, topic)[topic]
        chains = Chains(self._settings.topics.partitions)
        self._resumes: dict[int, int] = {}
        stretches: dict[int, tuple[int, int]] = {}
        for place, low, high in found:
            start = low if place.offset < 0 else place.offset
            if not low <= start <= high:
                raise Problem(
                    f"partition {place.partition} of {topic} is not where it was left",
                    f"routed up to {start}, but the topic now holds {low} to {high}",
                    "was the topic emptied? `sluicegate state rebuild` begins anew from it",
                )
            self._resumes[place.partition] = start
            if place.offset >= 0:
                said = place.metadata or ""
                sent = unpack_place(said, topic, self._source_id, start, chains.partitions)
                chains.sent[place.partition] = sent
            back = max(low, start - self._settings.router.repeat_reach)
            stretches[place.partition] = back, high
        readers = open_readers(self._config, topic, stretches)
        again = {
            each.partition: range(each.next_offset, self._resumes[each.partition])
            for each in readers
        }
        self._refused = refused_among(self._config, self._topics, again)
        return readers, chains

    def _is_flushed(self) -> bool:
        """Whether all that was sent is acknowledged; waited for, but not without end."""
        until = time.monotonic() + FLUSH_SECONDS

        def has_waited() -> bool:
            nonlocal until
            if self._stop.is_set():
                until = min(until, time.monotonic() + LEAVE_SECONDS)
            return time.monotonic() >= until

        flushed = is_flushed(self._producer, has_waited)
        if self._failure is not None:
            raise self._failure
        return flushed

    def _commit_if_due(self, readers: Sequence[SourceReader]) -> None:
        """Commits now and then, when nothing is underway; waits for that only if it has to."""
        self._producer.poll(0)
        overdue = time.monotonic() - self._committed_at - COMMIT_SECONDS
        if overdue > COMMIT_SECONDS or (overdue > 0 and not len(self._producer)):
            self._commit(readers, waits=False)
            self._committed_at = time.monotonic()

    def _commit(self, readers: Sequence[SourceReader], *, waits: bool = True) -> None:
        """Commits the places reached, after all that was sent is acknowledged."""
        if not self._is_flushed():
            return  # the broker is away: librdkafka goes on trying, nothing is committed
        places = [
            TopicPartition(
                self._topics.transactions,
                reader.partition,
                reader.next_offset,
                pack_place(
                    self._source_id, self._chains.last(reader.partition), reader.next_offset
                ),
            )
            for reader in readers
            if reader.next_offset >= self._resumes[reader.partition]
        ]
        places += self._told.places()
        try:
            if waits:
                self._group.commit(offsets=places, asynchronous=False)
            else:
                self._group.commit(offsets=places)
        except KafkaException as error:
            _committed(error.args[0], places)
        self._figures.state(readers, self._lead)


def _committed(error: KafkaError | None, _: list[TopicPartition]) -> None:
    if error is not None:
        log.warning("places were not committed: %s", error.str())


_BEFORE: Final = 255
"""Verdict on rows that were routed before this start: read again only to remember their ids."""


def _close(consumers: Sequence[Consumer | BlockReader]) -> None:
    """Closes them, but waits no longer than a router may take to end: a frozen broker holds them.

    In a thread, which the end of the process ends if need be.
    """

    def close() -> None:
        for consumer in consumers:
            consumer.close()

    closing = threading.Thread(target=close, name="closing", daemon=True)
    closing.start()
    closing.join(LEAVE_SECONDS)


def run_router(settings: Settings, bootstrap: str, metrics: Metrics, stop: threading.Event) -> None:
    """Runs one router until `stop` is set.

    Raises:
        Problem: it cannot start, or something failed.
    """
    router = Router(settings, bootstrap, metrics, stop)
    look_seldom()
    router.run()
