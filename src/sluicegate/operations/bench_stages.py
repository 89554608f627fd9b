"""Where the time of a transaction goes: each stage alone, in one process, on the bench's stream.

The stages call the functions that router and worker call, on batches of the same size, after a
warm-up that fills rings and caches. They are processor time of one core; what the processes use
beyond them is librdkafka, Faust and the event loop.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Final

import numpy as np
from pydantic_core import to_json

from sluicegate.domain.transaction import LATEST_MS, Rules
from sluicegate.memory.accounts import AccountMemory
from sluicegate.operations.bench_runs import ACCOUNTS, SEED
from sluicegate.settings import Settings
from sluicegate.simulation.city import bench_stream
from sluicegate.streaming.alerts import alerts_of
from sluicegate.streaming.checkpoint import chunks, new_owner
from sluicegate.streaming.decoder import Decoder
from sluicegate.streaming.partition import Outbox, Partition
from sluicegate.streaming.repeats import Repeats
from sluicegate.streaming.routing import Chains, Places
from sluicegate.streaming.scoring import Scoring, scoring_by, scoring_of

WARM_UP: Final = 300_000
MEASURED: Final = 300_000
REPEAT_REACH: Final = 200_000


class _Stopwatch:
    """Processor seconds by stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[stage] += time.process_time() - started


class _Flow:
    """Router and worker as plain calls, without Kafka between them."""

    def __init__(self, settings: Settings, scoring: Scoring) -> None:
        count = settings.topics.partitions
        self._settings = settings
        self._scoring = scoring
        self._decoder = Decoder(Rules())
        self._repeats = Repeats(REPEAT_REACH)
        self._chains = Chains(count)
        self.partitions = [Partition(n, AccountMemory(2 * ACCOUNTS)) for n in range(count)]
        self._outbox = Outbox(count)
        self._routed = 0
        self.watch = _Stopwatch()

    def pass_on(self, values: list[bytes]) -> None:
        """One batch of the router, and what the worker makes of it."""
        of, count = self.watch.of, len(values)
        with of("decode"):
            decoded = self._decoder.decode(values, np.full(count, LATEST_MS))
        rows = np.arange(len(decoded.row_index))
        positions = self._routed + decoded.row_index
        self._routed += count
        places = Places(np.zeros_like(positions), positions, decoded.occurred_at_ms)
        with of("repeats"):
            self._repeats.judge(decoded, positions, rows)
        with of("partition and pack"):
            departures = list(self._chains.messages(decoded, places, rows))
        self._apply(departures)
        with of("partition and pack"):
            arrivals = list(self._outbox.drain())
        self._apply(arrivals)

    def _apply(self, messages: list[tuple[int, bytes]]) -> None:
        currency = self._settings.contract.base_currency
        for number, value in messages:
            partition = self.partitions[number]
            with self.watch.of("kernel"):
                applied = partition.apply(partition.place.applied + 1, value, self._scoring.scorer)
            if applied is None:
                raise AssertionError("a message of its own was taken for a repeat")
            with self.watch.of("alerts"):
                for alert in alerts_of(applied, self._scoring.pattern_set, currency, 0):
                    to_json(alert)
            with self.watch.of("partition and pack"):
                self._outbox.add(partition, applied.stepped.arrivals)

    def checkpoint(self) -> None:
        """Takes all rows that changed, as the changelog gets them."""
        with self.watch.of("checkpoint"):
            for partition in self.partitions:
                for _ in chunks(partition.memory, partition.place, new_owner(), 1):
                    pass


def stages_us(settings: Settings) -> dict[str, float]:
    """Microseconds a transaction by stage; `patterns` is what the kernel takes because of them."""
    scoring = scoring_of(settings)
    full = _run(settings, scoring)
    bare = _run(settings, with_patterns(scoring, 0, settings))
    full["patterns"] = max(0.0, full["kernel"] - bare["kernel"])
    full["kernel"] -= full["patterns"]
    return {stage: round(us, 3) for stage, us in full.items()}


def with_patterns(scoring: Scoring, most: int, settings: Settings) -> Scoring:
    """The first so many patterns of a set."""
    patterns = scoring.pattern_set.patterns[:most]
    return scoring_by(replace(scoring.pattern_set, patterns=patterns), settings)


def _run(settings: Settings, scoring: Scoring) -> dict[str, float]:
    flow = _Flow(settings, scoring)
    for values in _batches(settings.router.batch_transactions, 0, WARM_UP):
        flow.pass_on(values)
    flow.checkpoint()
    flow.watch.seconds.clear()
    for values in _batches(settings.router.batch_transactions, WARM_UP, WARM_UP + MEASURED):
        flow.pass_on(values)
    flow.checkpoint()
    us = {stage: seconds / MEASURED * 1e6 for stage, seconds in flow.watch.seconds.items()}
    # A checkpoint is due after so many legs, and then takes the rows that changed since the last.
    us["checkpoint"] *= MEASURED * 2 / settings.worker.checkpoint_legs
    return us


def _batches(size: int, start: int, stop: int) -> Iterator[list[bytes]]:
    """Values of the bench's stream from one transaction to another, by batch."""
    every = (value for messages in bench_stream(SEED, stop, ACCOUNTS) for _, value in messages)
    chosen = islice(every, start, None)
    while batch := list(islice(chosen, size)):
        yield batch
