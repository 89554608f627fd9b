"""The auditor's books: what the records of all topics say, and whether it adds up.

Pure: records in, books out; each partition in the order of its offsets, partitions in any order.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from sluicegate.simulation.formats import (
    FROM_ROUTER,
    FROM_WORKERS,
    NO_ARRIVAL_FOLLOWS,
    Flags,
    Hashes,
    Headers,
    LegsMessage,
    read_alert,
    read_legs,
    read_progress,
    read_refused,
    records_of,
)
from sluicegate.simulation.positions import (
    DEPARTED,
    FATES,
    SCORED,
    Finals,
    LegsPartition,
    SourcePartition,
    by_partition,
    fates_of,
)
from sluicegate.simulation.verdicts import Verdicts

_RATE_BIN_MS: Final = 100
_EXAMPLES: Final = 10


@dataclass(frozen=True, slots=True)
class Books:
    """What became of everything: `sent` is the sum of the five that follow it.

    Counts of transactions unless said otherwise; dictionaries by scenario of planted fraud.
    """

    sent: int
    scored: int
    repeats: int
    dead_lettered: int
    waiting: int
    """Not reached by the router, or departed and not applied to the end; 0 when final."""
    lost: int
    doubled: int
    """Scored twice, departed twice, or both departed and refused."""
    holes: int
    """Links of the chain that follow on nothing."""
    orphans: int
    """Arrivals whose departure is not in the logs."""
    unreadable: int
    """Messages of legs, progress and stop-payment in no known form."""
    alerts: int
    alerts_repeated: int
    planted: dict[str, int]
    caught: dict[str, int]
    missed: dict[str, int]
    false_alarms: int
    latency_ms: dict[str, float | None]
    rate_tx_s: float
    lost_examples: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For a report file."""
        return asdict(self)


class Ledger:
    """Takes the records of each topic and balances the books."""

    def __init__(
        self, *, transactions_topic: str = "transactions", live_from_ms: int | None = None
    ) -> None:
        self.verdicts = Verdicts(live_from_ms)
        self.window_ms: tuple[int, int] | None = None
        """Over which the rate is measured; None: from the first to the last scored."""
        self._transactions_topic = transactions_topic
        self._bases: dict[int, int] = {}
        self._sources: dict[int, SourcePartition] = {}
        self._logs: defaultdict[int, LegsPartition] = defaultdict(LegsPartition)
        self._scored_in_bin: Counter[int] = Counter()
        self._holes = 0
        self._unreadable = 0

    def starts_at(self, partition: int, offset: int) -> None:
        """Say that a partition of transactions has nothing below this offset any more."""
        self._bases[partition] = offset

    def add_truth(self, lines: Iterable[bytes]) -> None:
        """Planted transactions, JSON, one a line (`Verdicts.add_truth`)."""
        self.verdicts.add_truth(lines)

    def add_transactions(
        self, partition: int, offsets: Sequence[int], values: Sequence[bytes | None]
    ) -> None:
        """Records of one partition of the transactions topic."""
        if values:
            self._source(partition).sent(np.asarray(offsets, dtype=np.int64), values)

    def add_progress(self, value: bytes | None) -> None:
        """A record of the progress topic: how far the legs partitions are applied."""
        applied = read_progress(value)
        self._unreadable += applied is None
        for partition, offset in (applied or {}).items():
            self._logs[partition].applied = max(self._logs[partition].applied, offset)

    def add_dead_letter(self, headers: Headers) -> None:
        """The headers of a dead letter; only refused transactions enter the books."""
        place = read_refused(headers, self._transactions_topic)
        if place:
            partition, offset = place
            self._source(partition).refused(offset)

    def add_alert(self, timestamp_ms: int, value: bytes | None) -> None:
        """A record of the stop-payment topic, with the time at which it was written."""
        alert = read_alert(value)
        if alert is None:
            self._unreadable += 1
        else:
            self.verdicts.add_alert(timestamp_ms, alert)

    def add_legs(
        self,
        partition: int,
        offsets: Sequence[int],
        timestamps_ms: Sequence[int],
        values: Sequence[bytes | None],
    ) -> None:
        """Records of one partition of the legs log."""
        read = [read_legs(*row) for row in zip(offsets, timestamps_ms, values, strict=True)]
        messages = [message for message in read if message is not None]
        self._unreadable += len(read) - len(messages)
        for kind in (FROM_ROUTER, FROM_WORKERS):
            same = [message for message in messages if message.record_type == kind]
            if same:
                self._enter(self._logs[partition], kind, same)

    def _enter(self, log: LegsPartition, kind: int, messages: Sequence[LegsMessage]) -> None:
        records = records_of(messages)
        rows = np.repeat(np.arange(len(messages)), [message.count for message in messages])
        self._holes += log.holes(messages)
        if kind == FROM_ROUTER:
            log.remember(messages, records)
        fresh = log.fresh(messages, rows, records)
        legs = Finals(
            log_offset=np.array([message.log_offset for message in messages])[rows],
            timestamp_ms=np.array([message.timestamp_ms for message in messages])[rows],
            partition=records["source_partition"].astype(np.int64),
            position=records["position"].astype(np.int64),
        )
        if kind == FROM_WORKERS:
            log.arrived.append(legs.take(fresh))
            return
        departed = legs.take(fresh)
        for source, chosen in by_partition(departed.partition):
            self._source(source).reached(departed.position[chosen], DEPARTED)
        ends = (records["side"] > 0) | ((records["flags"] & NO_ARRIVAL_FOLLOWS) != 0)
        log.final.append(legs.take(fresh & ends))

    def _source(self, partition: int) -> SourcePartition:
        if partition not in self._sources:
            self._sources[partition] = SourcePartition(self._bases.get(partition, 0))
        return self._sources[partition]

    def settle(self) -> None:
        """Enter the final legs that are applied and whose origin is known by now."""
        for log in self._logs.values():
            arrived, log.arrived = log.arrived, []
            for legs in arrived:
                self._trace(log, legs)
            final, log.final = log.final, []
            for legs in final:
                applied = legs.log_offset <= log.applied
                self._score(legs.take(applied))
                if not applied.all():
                    log.final.append(legs.take(~applied))

    def _trace(self, log: LegsPartition, legs: Finals) -> None:
        """From the departures that sent these arrivals on to the transactions."""
        for source, chosen in by_partition(legs.partition):
            mine = legs.take(chosen)
            partition, offset = self._logs_at(source).origin(mine.position)
            known = partition >= 0
            found = Finals(mine.log_offset, mine.timestamp_ms, partition, offset)
            log.final.append(found.take(known))
            if not known.all():
                log.arrived.append(mine.take(~known))

    def _logs_at(self, partition: int) -> LegsPartition:
        return self._logs.get(partition) or LegsPartition()

    def _score(self, legs: Finals) -> None:
        for source, chosen in by_partition(legs.partition):
            self._source(source).reached(legs.position[chosen], SCORED)
        bins, counts = np.unique(legs.timestamp_ms // _RATE_BIN_MS, return_counts=True)
        self._scored_in_bin.update(dict(zip(bins.tolist(), counts.tolist(), strict=True)))

    def balance(self, *, final: bool = False) -> Books:
        """The books as they stand; when final, what waits is lost."""
        self.settle()
        fates = {part: fates_of(source, final=final) for part, source in self._sources.items()}
        total = Counter[str]()
        for fate in fates.values():
            total.update({name: int(np.count_nonzero(found)) for name, found in fate.items()})
        verdict = self.verdicts.judged(self._sent_among)
        return Books(
            **{name: total[name] for name in FATES},
            holes=self._holes,
            orphans=sum(len(legs.position) for log in self._logs.values() for legs in log.arrived),
            unreadable=self._unreadable,
            alerts=len(self.verdicts),
            alerts_repeated=self.verdicts.repeated,
            planted=verdict.planted,
            caught=verdict.caught,
            missed=verdict.missed,
            false_alarms=verdict.false_alarms,
            latency_ms=self.verdicts.latency_ms(),
            rate_tx_s=self._rate(),
            lost_examples=tuple(self._examples(fates)),
        )

    def _examples(self, fates: dict[int, dict[str, Flags]]) -> Iterator[str]:
        for partition, fate in sorted(fates.items()):
            for row in np.nonzero(fate["lost"])[0][:_EXAMPLES].tolist():
                offset = self._bases.get(partition, 0) + row
                yield f"{self._transactions_topic}[{partition}]@{offset}"

    def _sent_among(self, wanted: Hashes) -> set[int]:
        return {
            int(found) for source in self._sources.values() for found in source.ids_among(wanted)
        }

    def _rate(self) -> float:
        """Transactions scored in a second, by the timestamps of their final legs."""
        if not self._scored_in_bin:
            return 0.0
        first, last = min(self._scored_in_bin), max(self._scored_in_bin) + 1
        if self.window_ms:
            first, last = (edge // _RATE_BIN_MS for edge in self.window_ms)
        scored = sum(many for at, many in self._scored_in_bin.items() if first <= at < last)
        return round(scored / max((last - first) * _RATE_BIN_MS / 1_000, 0.1), 1)
